//! Whether a job could run on this host: what keeps it from running, each with a remedy.

use std::net::{IpAddr, TcpListener};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

use rustix::fs::{Access, access, statvfs};

use super::cache::Cache;
use crate::hive_file::Ports;
use crate::hosts::digest::machine_of;
use crate::hosts::message::{Answer, Program, Question};
use crate::limits;
use crate::local;
use crate::units::show_bytes;

/// The oldest kernel with everything that the library calls without another way: memfd, fixed mappings that
/// replace nothing.
const KERNEL_MIN: (u32, u32) = (4, 17);
/// What is left free on a disk beside a program.
const SPARE_BYTES: u64 = 1 << 20;

/// Answers a question.
pub(crate) fn answer(cache: &Cache, question: &Question) -> Answer {
    let kernel = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut answer = Answer {
        cores: available_parallelism().map_or(1, NonZero::get),
        address: question.address.or_else(reached_at),
        missing: missing(cache, &question.programs),
        kernel,
        ..Answer::default()
    };
    answer.complaints.extend(kernel_complaint(&answer.kernel));
    answer
        .complaints
        .extend(disk_complaint(cache, question, &answer.missing));
    if question.drones > 0 {
        look_for_room(question, &mut answer);
    }
    if question.is_called {
        let complaint = address_complaint(answer.address, question.ports, question.drones);
        answer.complaints.extend(complaint);
    }
    answer
}

/// Why a program that is in its place couldn't run here.
pub(crate) fn complaint(cache: &Cache, program: &Program) -> Option<String> {
    let path = cache.path_of(program);
    let shown = path.display();
    if !path.is_file() {
        let remedy = if program.path.is_some() {
            "; leave --no-copy out and it is copied"
        } else {
            ""
        };
        return Some(format!("there is no {shown} there{remedy}"));
    }
    if access(&path, Access::EXEC_OK).is_err() {
        return Some(format!(
            "{shown} cannot be executed there; `chmod +x` it, and see that its file system isn't mounted noexec"
        ));
    }
    if program.path.is_some() && !cache.has(program) {
        return Some(format!(
            "{shown} is another program there than here; leave --no-copy out and it is copied"
        ));
    }
    library_complaint(&path)
}

/// The address at which ssh reached this host.
pub(crate) fn reached_at() -> Option<IpAddr> {
    let connection = std::env::var("SSH_CONNECTION").ok()?;
    let address = connection.split(' ').nth(2)?;
    // A zone behind a link-local address means nothing elsewhere.
    address.split('%').next()?.parse().ok()
}

fn missing(cache: &Cache, programs: &[Program]) -> Vec<usize> {
    let is_missing = |program: &Program| program.path.is_none() && !cache.has(program);
    (0..programs.len())
        .filter(|&place| is_missing(&programs[place]))
        .collect()
}

pub(crate) fn kernel_complaint(release: &str) -> Option<String> {
    let mut numbers = release.split(['.', '-']).map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return None;
    };
    let (least_major, least_minor) = KERNEL_MIN;
    ((major, minor) < KERNEL_MIN).then(|| {
        format!("its kernel is {release}; HiveMind needs {least_major}.{least_minor} or newer")
    })
}

fn disk_complaint(cache: &Cache, question: &Question, missing: &[usize]) -> Option<String> {
    let needed: u64 = missing
        .iter()
        .map(|&place| question.programs[place].bytes + SPARE_BYTES)
        .sum();
    // The cache may not be there yet; what it will be in is.
    let place = cache.path().ancestors().find(|place| place.exists())?;
    let found = statvfs(place).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    (needed > free).then(|| {
        format!(
            "{} has {} left, and the programs need {}; make room (`hivemind clean` removes old ones) or name another \
             place by --cache",
            place.display(),
            show_bytes(free as f64),
            show_bytes(needed as f64)
        )
    })
}

fn look_for_room(question: &Question, answer: &mut Answer) {
    if let Err(trouble) = limits::check_drones(question.drones) {
        answer.complaints.push(trouble.to_string());
    }
    let region = question.region_bytes;
    match region.map(|bytes| limits::check_region(bytes, question.drones)) {
        Some(Err(trouble)) => answer.complaints.push(trouble.to_string()),
        Some(Ok(Some(warning))) => answer.warnings.push(warning),
        _ => {}
    }
    if let Some(directory) = question.directory.as_ref().filter(|path| !path.is_dir()) {
        answer.complaints.push(format!(
            "there is no directory {} there; make it, or name another one by --directory",
            directory.display()
        ));
    }
}

pub(crate) fn address_complaint(
    address: Option<IpAddr>,
    ports: Option<Ports>,
    drones: u32,
) -> Option<String> {
    let Some(address) = address else {
        return Some(
            "nobody knows where other hosts reach it; give it an `address` in a hive file".into(),
        );
    };
    let bind = |port: u16| TcpListener::bind((address, port));
    if let Err(error) = bind(0) {
        return Some(format!(
            "its drones cannot listen at {address}: {error}; give it an `address` of its own in a hive file"
        ));
    }
    let ports = ports?;
    // The listeners are all held until the last one is counted.
    let free = (ports.first..=ports.last)
        .filter_map(|port| bind(port).ok())
        .take(drones as usize)
        .collect::<Vec<_>>()
        .len();
    (free < drones as usize).then(|| {
        format!("of its ports {ports} {free} are free, and {drones} drones need one each; allow more `ports`")
    })
}

/// What a program's libraries say, as the system's own loader finds them.
pub(crate) fn library_complaint(path: &Path) -> Option<String> {
    let machine = machine_of(path)?;
    if let Some(own) = machine_of(Path::new(local::COMMAND)).filter(|&own| own != machine) {
        return Some(format!(
            "the program is for machines of the type {}, and this host is one of the type {}; build it for that",
            machine.name(),
            own.name()
        ));
    }
    let output = Command::new("ldd")
        .arg(path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let mut missing: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| line.contains("not found"))
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return None;
    }
    Some(format!(
        "libraries of the program are missing there: {}; install them, or build the program on the oldest of the hosts",
        missing.join(", ")
    ))
}

/// The first directory of these that is there, or the user's home.
pub(crate) fn first_directory(directories: &[PathBuf]) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    directories
        .iter()
        .cloned()
        .chain(home)
        .find(|path| path.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_told() {
        assert_eq!(kernel_complaint("6.1.0-28-amd64"), None);
        assert_eq!(kernel_complaint("4.17.0"), None);
        let complaint = kernel_complaint("3.10.0-1160.el7.x86_64").expect("it is old");
        assert!(complaint.contains("needs 4.17"), "{complaint}");
        assert_eq!(kernel_complaint("odd"), None);
    }

    #[test]
    fn ports_that_are_taken_are_told() {
        let here: IpAddr = [127, 0, 0, 1].into();
        assert_eq!(address_complaint(Some(here), None, 4), None);
        let taken = TcpListener::bind((here, 0)).expect("a port");
        let port = taken.local_addr().expect("an address").port();
        let ports = Ports {
            first: port,
            last: port,
        };
        let complaint = address_complaint(Some(here), Some(ports), 1).expect("it is taken");
        assert!(complaint.contains("0 are free"), "{complaint}");
        let elsewhere: IpAddr = [192, 0, 2, 1].into();
        let complaint = address_complaint(Some(elsewhere), None, 1).expect("not our address");
        assert!(complaint.contains("192.0.2.1"), "{complaint}");
        assert!(address_complaint(None, None, 1).is_some());
    }

    #[test]
    fn a_program_of_another_machine_is_told() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("prog");
        let mut head = [0; 64];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = 243;
        std::fs::write(&path, head).expect("it can be written");
        let complaint = library_complaint(&path).expect("no machine here is one");
        assert!(complaint.contains("riscv64"), "{complaint}");
        assert_eq!(library_complaint(Path::new(local::COMMAND)), None);
        std::fs::write(&path, "#!/bin/sh\n").expect("it can be written");
        assert_eq!(library_complaint(&path), None);
    }
}
