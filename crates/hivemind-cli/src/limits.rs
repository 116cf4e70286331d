//! What this machine can bear: more drones than sense and regions larger than memory are told before
//! anything starts, with the bound that stands in the way and what to do about it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::trouble::{MACHINE, Trouble, USAGE};
use crate::units::show_bytes;

/// Files that a process has open besides its links: standard streams, memory, listeners, a program's own.
const FILES_BESIDES: u64 = 64;
/// Pipes of the launcher to one ssh.
const FILES_OF_A_HOST: u64 = 3;
/// Threads of one drone at least: the program's and the service thread's.
const THREADS_OF_A_DRONE: u64 = 2;
/// Threads of the launcher, and its keeper.
const THREADS_BESIDES: u64 = 5;
/// Memory that one drone needs at least, whatever it computes.
const BYTES_OF_A_DRONE: u64 = 2 << 20;
/// Kernel memory of one idle end of a link.
const BYTES_OF_A_LINK: u64 = 4 << 10;
/// The address space of a process is 128 TiB; the region is mapped twice and needs room around it.
const REGION_MAX: u64 = 32 << 40;

/// What the machine says of itself; a value of its own so that the rules can be tested.
#[derive(Clone, Debug)]
struct Machine {
    memory_bytes: Option<u64>,
    files_of_a_process: Option<u64>,
    files_in_all: Option<u64>,
    processes: Option<u64>,
    address_space_bytes: Option<u64>,
}

/// Refuses more drones than this machine bears, and raises the soft limit of open files where it must.
///
/// # Errors
/// Names the bound, how many drones would fit it, and what to do.
pub(crate) fn check_drones(drones: u32) -> Result<(), Trouble> {
    let machine = Machine::of_this();
    machine.check_drones(u64::from(drones))?;
    allow_files(files_of_launcher(u64::from(drones)))
}

/// Sees to it that the launcher may hold the connections to so many hosts.
///
/// # Errors
/// The hard limit stands in the way.
pub(crate) fn check_hosts(hosts: usize) -> Result<(), Trouble> {
    allow_files(FILES_OF_A_HOST * hosts as u64 + FILES_BESIDES)
}

/// Raises the soft limit of open files where it must.
fn allow_files(needed: u64) -> Result<(), Trouble> {
    let soft = getrlimit(Resource::Nofile);
    if soft.current.is_some_and(|current| current < needed) {
        let raised = Rlimit {
            current: soft.maximum,
            maximum: soft.maximum,
        };
        setrlimit(Resource::Nofile, raised).map_err(|error| {
            Trouble::new(
                MACHINE,
                format!("cannot raise the limit of open files to {needed}: {error}; try `ulimit -n {needed}`"),
            )
        })?;
    }
    Ok(())
}

/// Refuses a region that no address space holds. Gives a warning for one that is larger than memory.
///
/// # Errors
/// Names the bound and what to do.
pub(crate) fn check_region(region_bytes: u64, drones: u32) -> Result<Option<String>, Trouble> {
    Machine::of_this().check_region(region_bytes, u64::from(drones))
}

/// The launcher holds two pipes a drone, a drone one link a peer.
fn files_of_launcher(drones: u64) -> u64 {
    2 * drones + FILES_BESIDES
}

impl Machine {
    fn of_this() -> Self {
        let processes = if rustix::process::geteuid().is_root() {
            None
        } else {
            // What the user runs already counts too.
            let most = getrlimit(Resource::Nproc).current;
            most.map(|most| most.saturating_sub(threads_of_user()))
        };
        let pids = read_number("/proc/sys/kernel/pid_max");
        Self {
            memory_bytes: memory_bytes(),
            files_of_a_process: getrlimit(Resource::Nofile).maximum,
            files_in_all: read_number("/proc/sys/fs/file-max"),
            processes: [processes, pids].into_iter().flatten().min(),
            address_space_bytes: getrlimit(Resource::As).current,
        }
    }

    fn check_drones(&self, drones: u64) -> Result<(), Trouble> {
        let links = drones * (drones - 1);
        let bounds = [
            (
                self.files_of_a_process,
                files_of_launcher(drones),
                "open files in the launcher",
                "raise the hard limit (`ulimit -Hn`)",
            ),
            (
                self.files_in_all,
                links + files_of_launcher(drones),
                "links between them",
                "raise the kernel's fs.file-max",
            ),
            (
                self.processes,
                drones * THREADS_OF_A_DRONE + THREADS_BESIDES,
                "processes and threads",
                "raise the limit of processes (`ulimit -u`, kernel.pid_max)",
            ),
            (
                self.memory_bytes,
                drones * BYTES_OF_A_DRONE + links * BYTES_OF_A_LINK,
                "bytes of memory before they do anything",
                "take a machine with more memory",
            ),
        ];
        for (bound, needed, what, remedy) in bounds {
            if let Some(bound) = bound.filter(|&bound| needed > bound) {
                return Err(Trouble::new(
                    USAGE,
                    format!(
                        "{drones} drones are more than this machine bears: they need {needed} {what}, and \
                         {bound} are allowed; start fewer (a drone a core is enough), or {remedy}"
                    ),
                ));
            }
        }
        Ok(())
    }

    fn check_region(&self, region_bytes: u64, drones: u64) -> Result<Option<String>, Trouble> {
        let size = show_bytes(region_bytes as f64);
        let refuse = |bound: u64, whose: &str| {
            Err(Trouble::new(
                USAGE,
                format!(
                    "a region of {size} is larger than {whose} ({}); ask for a smaller --region",
                    show_bytes(bound as f64)
                ),
            ))
        };
        if region_bytes > REGION_MAX {
            return refuse(REGION_MAX, "the address space of a process has room for");
        }
        // The region is mapped twice in each drone.
        if let Some(bound) = self
            .address_space_bytes
            .filter(|bound| region_bytes > bound / 2)
        {
            return refuse(
                bound / 2,
                "half the limit of address space, `ulimit -v`, of this shell",
            );
        }
        let Some(memory) = self.memory_bytes.filter(|&memory| region_bytes > memory) else {
            return Ok(None);
        };
        Ok(Some(format!(
            "a region of {size} is larger than this machine's memory ({}); that is safe only as long as the \
             {drones} drones together touch less than that",
            show_bytes(memory as f64)
        )))
    }
}

/// The memory of the machine, or of the container when that has less.
pub(crate) fn memory_bytes() -> Option<u64> {
    let total = meminfo("MemTotal:")?;
    let container = read_number("/sys/fs/cgroup/memory.max");
    Some(container.map_or(total, |container| container.min(total)))
}

/// What of it could be had now.
pub(crate) fn available_bytes() -> Option<u64> {
    meminfo("MemAvailable:")
}

fn meminfo(name: &str) -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// How many threads this user has; some may be out of sight.
fn threads_of_user() -> u64 {
    let user = rustix::process::geteuid().as_raw();
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    let threads = |process: fs::DirEntry| {
        let is_own = process.metadata().ok()?.uid() == user;
        let status = is_own.then(|| fs::read_to_string(process.path().join("status")).ok())??;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Threads:"))?;
        line.trim().parse::<u64>().ok()
    };
    processes.flatten().filter_map(threads).sum()
}

/// A file of the kernel's that holds one number.
pub(crate) fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            memory_bytes: Some(16 << 30),
            files_of_a_process: Some(4096),
            files_in_all: Some(1 << 40),
            processes: Some(10_000),
            address_space_bytes: None,
        }
    }

    #[test]
    fn drones_that_fit_are_allowed() {
        for drones in [1, 2, 64, 500] {
            machine().check_drones(drones).expect("they fit");
        }
    }

    #[test]
    fn each_bound_is_named_with_a_remedy() {
        let refused = |machine: Machine, drones| {
            let trouble = machine.check_drones(drones).expect_err("too many");
            assert_eq!(trouble.status, USAGE);
            trouble.to_string()
        };
        assert!(refused(machine(), 4000).contains("open files"));
        let few_processes = Machine {
            processes: Some(100),
            ..machine()
        };
        assert!(refused(few_processes, 64).contains("ulimit -u"));
        let few_files = Machine {
            files_in_all: Some(1000),
            ..machine()
        };
        assert!(refused(few_files, 64).contains("fs.file-max"));
        let small = Machine {
            memory_bytes: Some(64 << 20),
            ..machine()
        };
        assert!(refused(small, 64).contains("memory"));
    }

    #[test]
    fn a_region_beyond_the_address_space_is_refused() {
        let trouble = machine().check_region(64 << 40, 2).expect_err("too large");
        assert!(trouble.to_string().contains("address space"), "{trouble}");
        let bounded = Machine {
            address_space_bytes: Some(4 << 30),
            ..machine()
        };
        let trouble = bounded.check_region(3 << 30, 2).expect_err("too large");
        assert!(trouble.to_string().contains("ulimit -v"), "{trouble}");
    }

    #[test]
    fn a_region_beyond_memory_is_allowed_with_a_warning() {
        let warning = machine().check_region(1 << 40, 2).expect("sparse is fine");
        assert!(warning.is_some_and(|warning| warning.contains("1 TiB")));
        assert_eq!(machine().check_region(1 << 30, 2).expect("it fits"), None);
    }
}
