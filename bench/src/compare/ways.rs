//! The ways to run a program, as commands, and what they need: this program itself, `hivemind run`, and Open MPI with its
//! compiler, for which the C programs of `bench/mpi` are built anew each time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::{Run, Said};
use crate::plan;

/// How a program is run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Way {
    HiveMind,
    Serial,
    Threads,
    MpiShared,
    MpiTcp,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::HiveMind,
        Self::Serial,
        Self::Threads,
        Self::MpiShared,
        Self::MpiTcp,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HiveMind => "hivemind",
            Self::Serial => "serial",
            Self::Threads => "threads",
            Self::MpiShared => "mpi-shared",
            Self::MpiTcp => "mpi-tcp",
        }
    }

    pub(super) fn what(self) -> &'static str {
        match self {
            Self::HiveMind => "two drones with one thread each; floor: itself",
            Self::Serial => "two drones with one thread each; floor: one core, on private memory",
            Self::Threads => {
                "two drones with one thread each; floor: two threads of one process, on private memory"
            }
            Self::MpiShared => {
                "two drones with one thread each; floor: two processes of MPI in C, over shared memory"
            }
            Self::MpiTcp => {
                "two drones with one thread each; floor: two processes of MPI in C, over TCP"
            }
        }
    }

    fn is_mpi(self) -> bool {
        matches!(self, Self::MpiShared | Self::MpiTcp)
    }
}

/// All that is needed to run.
pub(crate) struct Ways {
    program: PathBuf,
    hivemind: PathBuf,
    /// Where the C programs are built; none where there is no Open MPI.
    yardsticks: Option<PathBuf>,
}

/// The yardsticks: file, program.
const YARDSTICKS: [(&str, &str); 4] = [
    ("pi.c", "pi"),
    ("jacobi.c", "jacobi"),
    ("matmul.c", "matmul"),
    ("intsort.c", "intsort"),
];

impl Ways {
    /// Finds everything and builds the yardsticks. Without Open MPI says so, and what to install.
    pub(super) fn prepare() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program itself")?;
        let hivemind = plan::command(&program)?;
        let yardsticks = match build(&program) {
            Ok(place) => Some(place),
            Err(why) => {
                eprintln!(
                    "hivemind bench: without MPI, {why:#}; Debian: apt-get install openmpi-bin libopenmpi-dev gcc"
                );
                None
            }
        };
        Ok(Self {
            program,
            hivemind,
            yardsticks,
        })
    }

    /// The ways that there are here to run this program.
    pub(super) fn here(&self, run: Run) -> impl Iterator<Item = Way> {
        let name = run.words().swap_remove(0);
        let is_written = YARDSTICKS.iter().any(|(_, program)| *program == name);
        let has_mpi = self.yardsticks.is_some() && is_written;
        Way::ALL
            .into_iter()
            .filter(move |way| has_mpi || !way.is_mpi())
    }

    /// Runs a program one way.
    pub(super) fn run(&self, way: Way, run: Run, region: &str) -> anyhow::Result<Said> {
        let mut command = self.command(way, run, region);
        let done = command.stdin(Stdio::null()).stderr(Stdio::piped()).output();
        let done = done.with_context(|| format!("cannot start {command:?}"))?;
        ensure!(
            done.status.success(),
            "{} ended with {}: {}",
            way.name(),
            done.status,
            String::from_utf8_lossy(&done.stderr)
        );
        Said::read(&done.stdout, way.name())
    }

    fn command(&self, way: Way, run: Run, region: &str) -> Command {
        let words = run.words();
        let itself = |what: &str| {
            let mut command = Command::new(&self.program);
            command.args(["--program", what]).args(&words);
            command
        };
        match way {
            Way::Serial => itself("serial"),
            Way::Threads => itself("threads"),
            Way::HiveMind => {
                let mut command = plan::run_here(&self.hivemind, 2);
                command
                    .args(["--threads", "1", "--region", region])
                    .arg(&self.program)
                    .args(["--program", "drone"])
                    .args(&words);
                command
            }
            Way::MpiShared | Way::MpiTcp => {
                let place = self.yardsticks.as_deref().expect("MPI is here");
                let transport = if way == Way::MpiTcp {
                    "self,tcp"
                } else {
                    "self,vader"
                };
                let mut command = Command::new("mpirun");
                command
                    .args([
                        "-n",
                        "2",
                        "--bind-to",
                        "core:overload-allowed",
                        "--mca",
                        "btl",
                        transport,
                    ])
                    .args(["--mca", "pml", "ob1", "--mca", "btl_tcp_if_include", "lo"])
                    .arg(place.join(&words[0]))
                    .args(&words[1..])
                    .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
                    .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
                    .env("OMPI_MCA_rmaps_base_oversubscribe", "1");
                command
            }
        }
    }
}

/// Builds the C programs beside this one.
fn build(program: &Path) -> anyhow::Result<PathBuf> {
    let place = program.with_file_name("mpi-yardsticks");
    std::fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("mpi");
    for (source, name) in YARDSTICKS {
        let built = Command::new("mpicc")
            .args(["-O3", "-march=native", "-std=c11", "-Wall", "-Wextra", "-o"])
            .arg(place.join(name))
            .arg(sources.join(source))
            .output()
            .context("there is no mpicc")?;
        ensure!(
            built.status.success(),
            "mpicc fails at {source}: {}",
            String::from_utf8_lossy(&built.stderr)
        );
    }
    let found = Command::new("mpirun")
        .arg("--version")
        .output()
        .context("there is no mpirun")?;
    ensure!(
        String::from_utf8_lossy(&found.stdout).contains("Open MPI"),
        "mpirun is not Open MPI's"
    );
    Ok(place)
}
