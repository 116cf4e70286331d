//! `hivemind deploy` and `hivemind clean`: what a run does with programs on hosts, by hand. Also the way to hosts for
//! whatever starts no job there.

use std::fmt::Write as _;
use std::path::Path;

use hivemind::settings::START_TIMEOUT;

use crate::hive_file::{HiveFile, HostEntry};
use crate::hosts::boot::Agent;
use crate::hosts::fleet::{Cargo, Fleet, Needs};
use crate::hosts::message::{Order, Word};
use crate::keeper::Keeper;
use crate::options::{Clean, Deploy, HostOptions};
use crate::placement::{self, Berth};
use crate::run::{self, refused};
use crate::scratch::Scratch;
use crate::signals::Signals;
use crate::trouble::{Trouble, USAGE};
use crate::units::show_bytes;
use crate::{local, plan};

/// Copies programs to all hosts, and says what was copied. Gives the exit status.
///
/// # Errors
/// All hosts where it didn't go well.
pub(crate) fn deploy(options: &Deploy) -> Result<u8, Trouble> {
    let cargo = options.programs.iter().map(|name| run::cargo(name, true));
    let cargo = cargo.collect::<Result<Vec<Cargo>, Trouble>>()?;
    let text = visit(&options.hosts, |fleet, signals| {
        let needs = Needs {
            cargo: &cargo,
            region_bytes: None,
            runs: false,
        };
        let answers = fleet.check(needs, signals)?;
        fleet.supply(&cargo, &answers, signals)?;
        let mut text = String::new();
        for ((link, answer), booted) in fleet.links.iter().zip(&answers).zip(&fleet.booted) {
            let _ = write!(text, "{}:", link.name);
            let own = ("hivemind", booted.copied_bytes, booted.copied_bytes == 0);
            let others = cargo.iter().enumerate().map(|(place, cargo)| {
                let is_there = !answer.missing.contains(&place);
                (cargo.program.name.as_str(), cargo.program.bytes, is_there)
            });
            let each: Vec<String> = std::iter::once(own)
                .chain(others)
                .map(|(name, bytes, is_there)| {
                    if is_there {
                        format!(" {name} was there")
                    } else {
                        format!(" {name} copied, {}", show_bytes(bytes as f64))
                    }
                })
                .collect();
            let _ = writeln!(text, "{}", each.join(";"));
        }
        Ok(text)
    })?;
    run::print(&text, "what was copied")
}

/// Removes copied programs and leftovers of dead jobs, and says what was removed. Gives the exit status.
///
/// # Errors
/// All hosts where it didn't go well.
pub(crate) fn clean(options: &Clean) -> Result<u8, Trouble> {
    let text = visit(&options.hosts, |fleet, signals| {
        let lines = fleet.each(signals, |_, link| {
            link.wire.say(&Order::Clean);
            match link.await_word(START_TIMEOUT)? {
                Word::Cleaned { files, bytes, jobs } => Ok(format!(
                    "{}: removed {files} programs, {}; and what {jobs} dead jobs left behind\n",
                    link.name,
                    show_bytes(bytes as f64)
                )),
                _ => Err("its agent says something out of turn".into()),
            }
        })?;
        Ok(lines.concat())
    })?;
    run::print(&text, "what was removed")
}

/// Does something with all hosts, on each of which an agent runs meanwhile.
fn visit(
    hosts: &HostOptions,
    work: impl FnOnce(&mut Fleet, &mut Signals) -> Result<String, Trouble>,
) -> Result<String, Trouble> {
    let file = hosts.expect()?;
    let berths = each_once(&file)?;
    let outcome = "what other hosts got stays there";
    with_fleet(&file, hosts, berths, outcome, |fleet, agent, signals| {
        fleet.boot_all(agent, signals)?;
        work(fleet, signals)
    })
}

/// Each host once, whatever number of drones it is for.
fn each_once(file: &HiveFile) -> Result<Vec<Berth>, Trouble> {
    let lone = |host: &HostEntry| HostEntry {
        drones: Some(1),
        ..host.clone()
    };
    let lone: Vec<HostEntry> = file.hosts.iter().map(lone).collect();
    placement::place(&lone, None).map_err(|why| Trouble::new(USAGE, why))
}

/// Does something with hosts to which an ssh has been started each; agents are the work's to boot, and end with it.
/// `outcome` says what didn't happen when a host can't take part.
///
/// # Errors
/// The work's, or what keeps anything from beginning.
pub(crate) fn with_fleet<T>(
    file: &HiveFile,
    hosts: &HostOptions,
    berths: Vec<Berth>,
    outcome: &'static str,
    work: impl FnOnce(&mut Fleet, &Agent, &mut Signals) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let agent = Agent::new(true)?;
    let ssh = hosts.ssh(file.timeouts.silence.map(|time| time.0));
    let mut signals = Signals::install().map_err(|error| refused("a signal handler", &error))?;
    let mut keeper = Keeper::start(Path::new(local::COMMAND), "launcher", "connection")
        .map_err(|error| refused("the keeper process", &error))?;
    let scratch = Scratch::create(&plan::job_name(), |directory| keeper.look_after(directory));
    let done = scratch.and_then(|scratch| {
        let directory = scratch.path();
        let mut fleet = Fleet::set_out(berths, &ssh, &agent, directory, START_TIMEOUT, outcome)?;
        let done = work(&mut fleet, &agent, &mut signals)?;
        fleet.dismiss();
        Ok(done)
    });
    keeper.dismiss();
    done
}
