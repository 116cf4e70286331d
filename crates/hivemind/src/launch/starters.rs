//! Starters of others: what Open MPI, PMI, Slurm, torchrun and Kubernetes tell a process of its place.
//!
//! None is linked; each is recognised by its variables. Three things beyond rank and size are asked of each: a name that
//! no other job of the user has, so that two of them never meet; whether there are several hosts; and where drone 0 is.
//! `HIVEMIND_JOB` and `HIVEMIND_ROOT` win over what a starter knows, and are demanded where it knows nothing.
//! Deliberately elsewhere: which starter is asked first (`seat.rs`), at which ports drones meet (`meeting.rs`).

use super::meeting::{first_host, here, on_host};
use super::seat::{JOB, ROOT, SIZE, Seat, rank_and_size, told_job, told_root};
use super::{Environment, LaunchError, invalid, number};
use crate::settings::MAX_DRONES;

/// What a starter tells beyond rank and size.
struct Told {
    starter: &'static str,
    /// A name that only this job has.
    job: Option<String>,
    several_hosts: bool,
    /// The host on which drone 0 is, where there are several.
    first_host: Option<String>,
    /// How one sets variables for all drones.
    job_example: &'static str,
    root_example: &'static str,
}

/// Open MPI's `mpirun`. Asked before Slurm: inside sbatch both are set, and Slurm's mean the script.
pub(super) fn open_mpi(environment: &Environment<'_>) -> Result<Option<Seat>, LaunchError> {
    const SIZE: &str = "OMPI_COMM_WORLD_SIZE";
    let Some((rank, size)) = rank_and_size(environment, "OMPI_COMM_WORLD_RANK", SIZE)? else {
        return Ok(None);
    };
    // The first alone is a hash of 16 bits and a host in some versions; the second is random.
    let names = ["PMIX_NAMESPACE", "OMPI_MCA_orte_precondition_transports"];
    let names: Vec<String> = names
        .iter()
        .filter_map(|name| environment.text(name))
        .collect();
    let told = Told {
        starter: "Open MPI's mpirun",
        job: (!names.is_empty()).then(|| format!("mpirun {}", names.join(" "))),
        several_hosts: environment.several("OMPI_COMM_WORLD_LOCAL_SIZE", size)?,
        // In an allocation of Slurm mpirun fills the hosts in order. Its step is without the first of them, so the job's list.
        first_host: environment.first_host("SLURM_JOB_NODELIST")?,
        job_example: "as in `mpirun -x HIVEMIND_JOB=$(date +%s%N) …`",
        root_example: "as in `mpirun -x HIVEMIND_ROOT=a:7000 …` where a is the host of rank 0, or to a file that all \
                       hosts share: file:PATH",
    };
    told.seat(environment, rank, size).map(Some)
}

/// The process managers of MPICH, Intel MPI and others. That of Slurm's is `srun`'s, which knows more.
pub(super) fn pmi(environment: &Environment<'_>) -> Result<Option<Seat>, LaunchError> {
    const SIZE: &str = "PMI_SIZE";
    const JOBID: &str = "PMI_JOBID";
    let step = (
        environment.text("SLURM_JOB_ID"),
        environment.text("SLURM_STEP_ID"),
    );
    if let (Some(job), Some(step)) = step
        && environment.text(JOBID) == Some(format!("{job}.{step}"))
    {
        return Ok(None);
    }
    let Some((rank, size)) = rank_and_size(environment, "PMI_RANK", SIZE)? else {
        return Ok(None);
    };
    let names = [JOBID, "I_MPI_HYDRA_UUID"];
    let name = names.iter().find_map(|name| environment.text(name));
    let told = Told {
        starter: "a process manager by PMI",
        job: name.map(|name| format!("pmi {name}")),
        several_hosts: environment.several("MPI_LOCALNRANKS", size)?,
        first_host: None,
        job_example: "as in `mpiexec -genv HIVEMIND_JOB $(date +%s%N) …`",
        root_example: "as in `mpiexec -genv HIVEMIND_ROOT a:7000 …` where a is the host of rank 0, or to a file that all \
                       hosts share: file:PATH",
    };
    told.seat(environment, rank, size).map(Some)
}

/// `srun`. Without a step the variables are those of a batch script, which is no drone.
pub(super) fn srun(environment: &Environment<'_>) -> Result<Option<Seat>, LaunchError> {
    let Some(step) = environment.text("SLURM_STEP_ID") else {
        return Ok(None);
    };
    let place = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS");
    let Some((rank, size)) = rank_and_size(environment, place.0, place.1)? else {
        return Ok(None);
    };
    let job = environment.text("SLURM_JOB_ID");
    let cluster = environment.text("SLURM_CLUSTER_NAME").unwrap_or_default();
    let told = Told {
        starter: "srun",
        job: job.map(|job| format!("slurm {cluster} {job}.{step}")),
        several_hosts: environment
            .count("SLURM_STEP_NUM_NODES")?
            .is_none_or(|hosts| hosts > 1),
        first_host: environment.first_host("SLURM_STEP_NODELIST")?,
        job_example: "as in `HIVEMIND_JOB=$(date +%s%N) srun …`",
        root_example: "as in `HIVEMIND_ROOT=a:7000 srun …` where a is the host of task 0",
    };
    let seat = told.seat(environment, rank, size)?;
    let cores = environment.count("SLURM_CPUS_ON_NODE")?;
    Ok(Some(Seat { cores, ..seat }))
}

/// `torchrun`, and what sets the same variables. Drone 0 is where its store is, at other ports.
pub(super) fn torchrun(environment: &Environment<'_>) -> Result<Option<Seat>, LaunchError> {
    const ADDRESS: &str = "MASTER_ADDR";
    const PORT: &str = "MASTER_PORT";
    // RANK and WORLD_SIZE alone are words that anybody may use.
    let (Some(address), Some(port)) = (environment.text(ADDRESS), environment.get(PORT)) else {
        return Ok(None);
    };
    let Some((rank, size)) = rank_and_size(environment, "RANK", "WORLD_SIZE")? else {
        return Ok(None);
    };
    let port = number(
        PORT,
        &port,
        1..=u64::from(u16::MAX),
        "a port from 1 to 65535",
    )?;
    // Only one job at a time has a store there; the identifier that torchrun gives may be `none`.
    let identifier = environment.text("TORCHELASTIC_RUN_ID").unwrap_or_default();
    let restarts = environment
        .text("TORCHELASTIC_RESTART_COUNT")
        .unwrap_or_default();
    let told = Told {
        starter: "torchrun",
        job: Some(format!(
            "torchrun {identifier} at {address}:{port}, start {restarts}"
        )),
        several_hosts: environment.several("LOCAL_WORLD_SIZE", size)? && !is_loopback(&address),
        first_host: Some(address),
        job_example: "as in `HIVEMIND_JOB=name torchrun …`",
        root_example: "as in `HIVEMIND_ROOT=a:7000 torchrun …`",
    };
    told.seat(environment, rank, size).map(Some)
}

/// An indexed job of Kubernetes, which knows an index and no size.
pub(super) fn kubernetes(environment: &Environment<'_>) -> Result<Option<Seat>, LaunchError> {
    if !is_indexed(environment) {
        return Ok(None);
    }
    let Some((rank, size)) = rank_and_size(environment, INDEX, SIZE)? else {
        return Ok(None);
    };
    let told = Told {
        starter: "an indexed job of Kubernetes",
        job: None,
        several_hosts: true,
        first_host: None,
        job_example: "from the pod's label batch.kubernetes.io/controller-uid (examples/kubernetes.yaml)",
        root_example: "as in JOB-0.SERVICE:7000 with a headless service (examples/kubernetes.yaml)",
    };
    told.seat(environment, rank, size).map(Some)
}

const INDEX: &str = "JOB_COMPLETION_INDEX";

/// Whether this is a pod of an indexed job; its size is in our own variable.
pub(super) fn is_indexed(environment: &Environment<'_>) -> bool {
    environment.get(INDEX).is_some()
}

impl Told {
    fn seat(
        self,
        environment: &Environment<'_>,
        rank: u32,
        size: u32,
    ) -> Result<Seat, LaunchError> {
        if size == 1 {
            return Ok(Seat::alone());
        }
        let untold = |what, variable, how| LaunchError::Untold {
            starter: self.starter,
            what,
            variable,
            how,
        };
        let job = told_job(environment).or(self.job);
        let job =
            job.ok_or_else(|| untold("a name that no other job has", JOB, self.job_example))?;
        let root = match (told_root(environment)?, self.first_host) {
            (Some(root), _) => root,
            (None, _) if !self.several_hosts => here(&job),
            (None, Some(host)) => on_host(&host, &job),
            (None, None) => {
                return Err(untold("on which host drone 0 is", ROOT, self.root_example));
            }
        };
        Ok(Seat {
            rank,
            size,
            job,
            root,
            several_hosts: self.several_hosts,
            cores: None,
        })
    }
}

fn is_loopback(address: &str) -> bool {
    let bare = address.trim_matches(['[', ']']);
    let parsed = bare.parse::<std::net::IpAddr>();
    bare == "localhost" || parsed.is_ok_and(|address| address.is_loopback())
}

impl Environment<'_> {
    fn text(&self, variable: &str) -> Option<String> {
        let value = self.get(variable)?;
        Some(value.to_string_lossy().into_owned())
    }

    fn count(&self, variable: &'static str) -> Result<Option<u32>, LaunchError> {
        let Some(value) = self.get(variable) else {
            return Ok(None);
        };
        let allowed = "a number from 1 on";
        let count = number(variable, &value, 1..=u64::from(u32::MAX), allowed)?;
        Ok(Some(count as u32))
    }

    /// Whether there are several hosts, when this variable says how many drones are on this one. Where nothing says so
    /// there may be.
    fn several(&self, variable: &'static str, size: u32) -> Result<bool, LaunchError> {
        let Some(value) = self.get(variable) else {
            return Ok(true);
        };
        let allowed = format!("a number of drones from 1 to {size}, which is how many there are");
        let most = u64::from(size.min(MAX_DRONES));
        Ok(number(variable, &value, 1..=most, &allowed)? != u64::from(size))
    }

    fn first_host(&self, variable: &'static str) -> Result<Option<String>, LaunchError> {
        let Some(value) = self.get(variable) else {
            return Ok(None);
        };
        let first = value.to_str().and_then(first_host);
        let allowed = "a list of hosts as Slurm writes it, such as node[01-04],other";
        first
            .map(Some)
            .ok_or_else(|| invalid(variable, &value, allowed))
    }
}

#[cfg(test)]
mod tests;
