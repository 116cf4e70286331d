//! The examination of one machine, by itself: its kernel and fault engines, memory, limits, places to write, and ports.
//! The agent does it on other hosts, `hivemind doctor` here.
//!
//! What keeps a run from starting is asked of the very checks that a run makes (`limits`, `agent::check`).

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::num::NonZero;
use std::path::Path;
use std::thread::available_parallelism;

use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

use super::finding::{Finding, State};
use crate::agent::check::{address_complaint, kernel_complaint};
use crate::hive_file::Ports;
use crate::hosts::digest::{Machine, machine_of};
use crate::limits;
use crate::local;
use crate::plan;
use crate::scratch::Scratch;
use crate::units::show_bytes;

/// What a job would want of the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wish {
    pub(crate) drones: u32,
    pub(crate) region_bytes: u64,
    /// The engine that was asked for; none: the best there is.
    pub(crate) engine: Option<String>,
    /// Where others would reach it; none: nobody would.
    pub(crate) address: Option<IpAddr>,
    pub(crate) ports: Option<Ports>,
}

/// With fewer mappings than this, a large region in pieces does not fit where every page may be one.
const MAPPINGS_ENOUGH: u64 = 262_144;

/// Looks at everything.
pub(crate) fn examine(wish: &Wish) -> Vec<Finding> {
    let mut findings = vec![kernel(), processor(wish.drones)];
    let engine = engines(wish, &mut findings);
    findings.push(memory(wish));
    findings.extend(overcommit());
    findings.push(drones(wish.drones));
    findings.extend(mappings(engine.as_deref()));
    findings.extend(processor_time());
    findings.push(private_place());
    findings.extend(own_key());
    findings.push(ports(wish));
    findings
}

fn kernel() -> Finding {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    match kernel_complaint(&release) {
        Some(complaint) => Finding::complaint("kernel", State::Failure, &complaint),
        None => Finding::ok("kernel", format!("Linux {release}")),
    }
}

fn processor(drones: u32) -> Finding {
    let kind =
        machine_of(Path::new(local::COMMAND)).map_or("unknown type".to_owned(), Machine::name);
    let cores = available_parallelism().map_or(1, NonZero::get);
    let fact = format!("{kind}, {cores} cores for this process");
    if drones as usize > cores {
        let remedy =
            "start a drone a core at most: more wait for each other, and a wait costs a wake-up";
        return Finding::new(
            "processor",
            State::Note,
            format!("{fact}, {drones} drones"),
            remedy,
        );
    }
    Finding::ok("processor", fact)
}

/// Tries the engines. Gives the one that a job would have.
fn engines(wish: &Wish, findings: &mut Vec<Finding>) -> Option<String> {
    let tried = hivemind::fault_engines();
    let works = |name: &str| {
        tried
            .iter()
            .any(|engine| engine.name == name && engine.refusal.is_none())
    };
    let best = tried
        .iter()
        .find(|engine| engine.refusal.is_none())
        .map(|engine| engine.name.clone());
    let taken = match &wish.engine {
        Some(asked) if works(asked) => Some(asked.clone()),
        Some(_) => None,
        None => best,
    };
    for (place, engine) in tried.iter().enumerate() {
        let finding = match &engine.refusal {
            None => Finding::ok("page faults", format!("{} works", engine.name)),
            Some(refusal) => {
                let asked = wish.engine.as_deref() == Some(engine.name.as_str());
                let state = match &taken {
                    None if asked || wish.engine.is_none() => State::Failure,
                    Some(_) if place == 0 && wish.engine.is_none() => State::Warning,
                    _ => State::Note,
                };
                Finding::complaint("page faults", state, &refusal.to_string())
            }
        };
        findings.push(finding);
    }
    taken
}

fn memory(wish: &Wish) -> Finding {
    let total =
        limits::memory_bytes().map_or("unknown".to_owned(), |bytes| show_bytes(bytes as f64));
    let free = limits::available_bytes().map_or(String::new(), |bytes| {
        format!(", {} free now", show_bytes(bytes as f64))
    });
    let fact = format!("{total}{free}");
    match limits::check_region(wish.region_bytes, wish.drones) {
        Err(trouble) => Finding::complaint("memory", State::Failure, &trouble.to_string()),
        Ok(Some(warning)) => Finding::new(
            "memory",
            State::Warning,
            format!("{fact}: {warning}"),
            "ask for a smaller --region",
        ),
        Ok(None) => Finding::ok(
            "memory",
            format!(
                "{fact}; a region of {} fits",
                show_bytes(wish.region_bytes as f64)
            ),
        ),
    }
}

fn overcommit() -> Option<Finding> {
    (limits::read_number("/proc/sys/vm/overcommit_memory")? == 2).then(|| {
        let fact = "the kernel promises no more memory than there is (vm.overcommit_memory is 2), and a region is promised whole";
        Finding::new("promises", State::Warning, fact, "`sysctl vm.overcommit_memory=0`, or a --region not above what is free")
    })
}

fn drones(drones: u32) -> Finding {
    let files = getrlimit(Resource::Nofile).maximum;
    let files = files.map_or("any number of".to_owned(), |files| files.to_string());
    match limits::check_drones(drones) {
        Err(trouble) => Finding::complaint("limits", State::Failure, &trouble.to_string()),
        Ok(()) => Finding::ok(
            "limits",
            format!("{files} open files a process, enough for {drones} here"),
        ),
    }
}

fn mappings(engine: Option<&str>) -> Option<Finding> {
    let most = limits::read_number("/proc/sys/vm/max_map_count")?;
    (engine == Some("mprotect") && most < MAPPINGS_ENOUGH).then(|| {
        let fact = format!("a process may have {most} mappings, and with mprotect each run of pages of one kind is one");
        Finding::new("mappings", State::Warning, fact, format!("`sysctl vm.max_map_count={MAPPINGS_ENOUGH}`"))
    })
}

fn processor_time() -> Option<Finding> {
    let most = getrlimit(Resource::Cpu).current?;
    let fact = format!("a process is ended after {most} s of computing (`ulimit -t`)");
    Some(Finding::new(
        "time",
        State::Warning,
        fact,
        "raise it where a job takes longer",
    ))
}

fn private_place() -> Finding {
    match Scratch::create(&plan::job_name(), |_| {}) {
        Ok(scratch) => {
            let parent = scratch.path().parent().unwrap_or(Path::new("/"));
            Finding::ok("private files", format!("in {}", parent.display()))
        }
        Err(trouble) => Finding::complaint("private files", State::Failure, &trouble.to_string()),
    }
}

/// The user's own key, for jobs that no `hivemind run` starts.
fn own_key() -> Option<Finding> {
    let hivemind::KeyAtHand { path, refusal, .. } = hivemind::key_at_hand()?;
    Some(match refusal {
        None => {
            let path = path.display();
            Finding::ok(
                "own key",
                format!("{path}, for jobs that srun, mpirun or a shell starts"),
            )
        }
        Some(why) => Finding::complaint("own key", State::Warning, &why.to_string()),
    })
}

fn ports(wish: &Wish) -> Finding {
    let Some(address) = wish.address else {
        return match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
            Ok(_) => Finding::ok("ports", "drones can listen at the loopback"),
            Err(error) => {
                let fact = format!("drones cannot listen at the loopback: {error}");
                Finding::new("ports", State::Failure, fact, "`ip link set lo up`")
            }
        };
    };
    match address_complaint(Some(address), wish.ports, wish.drones) {
        Some(complaint) => Finding::complaint("ports", State::Failure, &complaint),
        None => {
            let ports = wish
                .ports
                .map_or("any free port".to_owned(), |ports| format!("ports {ports}"));
            Finding::ok("ports", format!("drones can listen at {address}, {ports}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        Wish {
            drones: 1,
            region_bytes: 1 << 20,
            engine: None,
            address: None,
            ports: None,
        }
    }

    fn of<'a>(findings: &'a [Finding], subject: &str) -> &'a Finding {
        let found = findings.iter().find(|finding| finding.subject == subject);
        found.unwrap_or_else(|| panic!("{subject} is not among {findings:?}"))
    }

    #[test]
    fn this_machine_can_run_a_small_hive() {
        let findings = examine(&wish());
        for subject in [
            "kernel",
            "processor",
            "page faults",
            "memory",
            "limits",
            "private files",
            "ports",
        ] {
            assert_ne!(of(&findings, subject).state, State::Failure, "{findings:?}");
        }
    }

    #[test]
    fn what_is_too_much_fails_and_says_what_to_do() {
        let large = Wish {
            region_bytes: 1 << 60,
            drones: 60_000,
            ..wish()
        };
        let findings = examine(&large);
        for subject in ["memory", "limits"] {
            let finding = of(&findings, subject);
            assert_eq!(finding.state, State::Failure, "{finding:?}");
            assert!(!finding.remedy.is_empty(), "{finding:?}");
        }
    }

    #[test]
    fn an_address_that_is_not_ours_fails() {
        let wrong = Wish {
            address: Some([192, 0, 2, 1].into()),
            ..wish()
        };
        assert_eq!(of(&examine(&wrong), "ports").state, State::Failure);
    }
}
