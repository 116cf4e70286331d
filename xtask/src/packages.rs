//! Debian packages that tests need: installed by the test command itself, as root, from the system's own archive.
//!
//! Where that can't be, nothing fails here: the tests that need them say so and are counted as skipped.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;

/// A package, known by a program that it brings.
#[derive(Debug)]
pub(crate) struct Package {
    name: &'static str,
    program: &'static str,
}

/// What the tests of the command on several hosts need.
pub(crate) const FOR_HOSTS: &[Package] = &[
    Package {
        name: "openssh-server",
        program: "sshd",
    },
    Package {
        name: "openssh-client",
        program: "ssh",
    },
    Package {
        name: "iproute2",
        program: "ip",
    },
];

/// What the tests of drones that others start need: a real Slurm and a real Open MPI.
pub(crate) const FOR_STARTERS: &[Package] = &[
    Package {
        name: "slurmctld",
        program: "slurmctld",
    },
    Package {
        name: "slurmd",
        program: "slurmd",
    },
    Package {
        name: "slurm-client",
        program: "srun",
    },
    Package {
        name: "munge",
        program: "munged",
    },
    Package {
        name: "openmpi-bin",
        program: "mpirun.openmpi",
    },
    // The compiler for the yardsticks of `bench/compare`.
    Package {
        name: "libopenmpi-dev",
        program: "mpicc",
    },
];

/// What the tests of the C library need: compilers, and what looks over a program's shoulder.
pub(crate) const FOR_C: &[Package] = &[
    Package {
        name: "gcc",
        program: "gcc",
    },
    Package {
        name: "g++",
        program: "g++",
    },
    Package {
        name: "gfortran",
        program: "gfortran",
    },
    Package {
        name: "pkg-config",
        program: "pkg-config",
    },
    Package {
        name: "valgrind",
        program: "valgrind",
    },
];

/// Where programs lie, whatever PATH says: an ordinary user's has no `sbin`.
const PLACES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// What Debian's packages ask before they start a service of theirs.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs the packages that are missing. Says what it does, or why it can't.
pub(crate) fn provide(packages: &[&[Package]]) {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .flatten()
        .filter(|package| !is_there(package))
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return;
    }
    println!("\n=== packages: {}", missing.join(" "));
    match install(&missing) {
        Ok(()) => println!("=== packages: good"),
        Err(why) => {
            println!("=== packages: not installed: {why}; tests that need them are skipped")
        }
    }
}

fn is_there(package: &Package) -> bool {
    PLACES
        .iter()
        .any(|place| Path::new(place).join(package.program).exists())
}

fn install(names: &[&str]) -> Result<(), String> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0);
    if !is_root {
        return Err("that needs root".into());
    }
    // A service that starts by being installed would listen where nobody asked for it.
    let _quiet = Quiet::begin();
    apt_get(&["update", "--quiet=2"])?;
    apt_get(
        &[
            &["install", "--quiet=2", "--yes", "--no-install-recommends"],
            names,
        ]
        .concat(),
    )
}

fn apt_get(words: &[&str]) -> Result<(), String> {
    let status = Command::new("apt-get")
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .map_err(|error| format!("cannot run apt-get: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`apt-get {}` failed: {status}", words.join(" ")))
    }
}

/// As long as it lives, no package starts a service. A policy that is there already stays as it is.
struct Quiet {
    is_ours: bool,
}

impl Quiet {
    fn begin() -> Self {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(POLICY)
            .and_then(|mut file| file.write_all(b"#!/bin/sh\nexit 101\n"));
        Self {
            is_ours: made.is_ok(),
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if self.is_ours {
            // Left behind it would keep services from starting later; there is nobody to tell.
            let _ = fs::remove_file(POLICY);
        }
    }
}
