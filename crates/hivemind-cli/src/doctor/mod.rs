//! `hivemind doctor`: looks, before a job does, whether hosts can run one, and how good the way between them is. Each line
//! says what was found and what to do about it.
//!
//! What a machine finds out by itself is in `exam`, the way between two in `network`, what a finding is in `finding`,
//! how all is shown in `show`. Other hosts are examined by the agent, which is reached as by a run.

pub(crate) mod exam;
pub(crate) mod finding;
pub(crate) mod network;
mod show;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hivemind::settings::{REGION_BYTES, START_TIMEOUT};
use ring::rand::{SecureRandom, SystemRandom};

use crate::agent::check::library_complaint;
use crate::copies::with_fleet;
use crate::hive_file::HiveFile;
use crate::hosts::fleet::{Cargo, Fleet};
use crate::hosts::link::Link;
use crate::hosts::message::{Order, Word};
use crate::options::{Color, Doctor};
use crate::placement;
use crate::run;
use crate::signals::Signals;
use crate::trouble::{MACHINE, Trouble, USAGE};
use crate::units::{show_bytes, show_microseconds};
use exam::Wish;
use finding::{Chart, Finding, State};

/// Something doesn't stand as a job needs it.
const SICK: u8 = 1;

/// Clocks that differ by less are the same to a trace and a log.
const CLOCKS_APART: Duration = Duration::from_millis(500);
/// How often a host is asked for its time; the quickest answer counts.
const CLOCK_QUESTIONS: usize = 5;
/// A round trip that takes longer is no local network's.
const FAR_US: f64 = 2000.0;

/// Examines this machine or all hosts. Gives the exit status: 1 where a job would not run.
///
/// # Errors
/// What keeps it from looking at all.
pub(crate) fn run(options: &Doctor, color: Color) -> Result<u8, Trouble> {
    let cargo = options.programs.iter().map(|name| run::cargo(name, true));
    let cargo = cargo.collect::<Result<Vec<Cargo>, Trouble>>()?;
    let charts = match options.hosts.read()? {
        None => vec![here(options, &cargo)],
        Some(file) => there(options, &file, &cargo)?,
    };
    if let Some(path) = &options.json {
        show::write(&charts, path)?;
    }
    show::print(&charts, color)?;
    let is_sick = charts.iter().any(|chart| chart.state() == State::Failure);
    Ok(if is_sick { SICK } else { 0 })
}

fn here(options: &Doctor, cargo: &[Cargo]) -> Chart {
    let mut findings = vec![own_release()];
    findings.extend(exam::examine(&Wish {
        drones: options.drones.unwrap_or(1),
        region_bytes: options.region.unwrap_or(REGION_BYTES),
        engine: options.engine.and_then(asked),
        address: None,
        ports: None,
    }));
    findings.push(ssh(&options.hosts.ssh, State::Note));
    for cargo in cargo {
        findings.push(program(&cargo.program.name, library_complaint(&cargo.path)));
    }
    Chart {
        host: "this machine".to_owned(),
        findings,
    }
}

fn own_release() -> Finding {
    Finding::ok("hivemind", env!("CARGO_PKG_VERSION"))
}

/// `auto` asks for none in particular.
fn asked(engine: crate::options::Engine) -> Option<String> {
    (engine != crate::options::Engine::Auto).then(|| engine.name().to_owned())
}

fn program(name: &str, complaint: Option<String>) -> Finding {
    match complaint {
        Some(complaint) => {
            Finding::complaint("program", State::Failure, &format!("{name}: {complaint}"))
        }
        None => Finding::ok("program", format!("{name} and its libraries are there")),
    }
}

/// Whether there is an ssh, by its own word. `missing`: how bad it is where there is none.
fn ssh(command: &str, missing: State) -> Finding {
    let mut words = command.split_whitespace();
    let asked = Command::new(words.next().unwrap_or("ssh"))
        .arg("-V")
        .stdin(Stdio::null())
        .output();
    match asked {
        Ok(said) => {
            let text = [said.stdout, said.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            Finding::ok(
                "ssh",
                text.lines()
                    .next()
                    .unwrap_or("it says nothing of itself")
                    .trim(),
            )
        }
        Err(error) => {
            let fact = format!("there is no {command}: {error}");
            Finding::new(
                "ssh",
                missing,
                fact,
                "install it (Debian: openssh-client) to run on other hosts",
            )
        }
    }
}

/// Examines all hosts, and then the ways between them.
fn there(options: &Doctor, file: &HiveFile, cargo: &[Cargo]) -> Result<Vec<Chart>, Trouble> {
    let mut charts = vec![Chart {
        host: "this machine".to_owned(),
        findings: vec![own_release(), ssh(&options.hosts.ssh, State::Failure)],
    }];
    let berths = placement::place(&file.hosts, options.drones.or(file.drones))
        .map_err(|why| Trouble::new(USAGE, why))?;
    let outcome = "it is left out";
    with_fleet(
        file,
        &options.hosts,
        berths,
        outcome,
        |fleet, agent, signals| {
            for (host, why) in fleet.boot_some(agent, signals)? {
                let findings = vec![Finding::complaint("reached", State::Failure, &why)];
                charts.push(Chart { host, findings });
            }
            let several = fleet.links.len() > 1;
            let wishes: Vec<Wish> = fleet
                .links
                .iter()
                .map(|link| wish(options, file, link, several))
                .collect();
            let examined = fleet.attempt(signals, |place, link| {
                Ok(examine(link, &wishes[place], cargo))
            })?;
            let names: Vec<String> = fleet
                .links
                .iter()
                .map(|link| link.name.to_string())
                .collect();
            for (host, findings) in names.iter().zip(examined) {
                let unreached =
                    |why: String| vec![Finding::complaint("reached", State::Failure, &why)];
                charts.push(Chart {
                    host: host.clone(),
                    findings: findings.unwrap_or_else(unreached),
                });
            }
            if several && !options.no_network {
                charts.extend(ways(fleet, &wishes, &names, signals)?);
            }
            Ok(())
        },
    )?;
    Ok(charts)
}

fn wish(options: &Doctor, file: &HiveFile, link: &Link, several: bool) -> Wish {
    let host = &link.berth.host;
    let engine = options.engine.or(file.engine).and_then(asked);
    Wish {
        drones: link.berth.ranks.len() as u32,
        region_bytes: options
            .region
            .or(file.region.map(|size| size.0))
            .unwrap_or(REGION_BYTES),
        engine,
        // Without one the agent takes the address at which ssh reached it.
        address: host
            .address
            .as_ref()
            .and_then(|address| crate::hosts::fleet::resolve(address.as_str()).ok()),
        ports: host.ports.filter(|_| several),
    }
}

/// Everything about one host.
fn examine(link: &mut Link, wish: &Wish, cargo: &[Cargo]) -> Vec<Finding> {
    let release = env!("CARGO_PKG_VERSION");
    let mut findings = vec![Finding::ok(
        "reached",
        format!("by ssh, hivemind {release} there"),
    )];
    let clock = clock(link);
    link.wire.say(&Order::Examine(wish.clone()));
    match link.await_word(START_TIMEOUT) {
        Ok(Word::Examined(found)) => findings.extend(found),
        Ok(_) => findings.push(out_of_turn()),
        Err(why) => findings.push(Finding::complaint("reached", State::Failure, &why)),
    }
    findings.push(clock);
    for cargo in cargo {
        let brought = link.store(&cargo.program, &cargo.path, START_TIMEOUT);
        findings.push(program(&cargo.program.name, brought.err()));
    }
    findings
}

fn out_of_turn() -> Finding {
    Finding::new(
        "reached",
        State::Failure,
        "its agent says something out of turn",
        "install the same release there, or let it be copied",
    )
}

/// How far its clock is from ours: from the quickest of some answers, as right as half its round trip.
fn clock(link: &mut Link) -> Finding {
    let mut best: Option<(Duration, f64)> = None;
    for _ in 0..CLOCK_QUESTIONS {
        let (begin, ours) = (Instant::now(), now_s());
        link.wire.say(&Order::Clock);
        let theirs = match link.await_word(START_TIMEOUT) {
            Ok(Word::Clock { unix_s }) => unix_s,
            Ok(_) => return out_of_turn(),
            Err(why) => return Finding::complaint("clock", State::Failure, &why),
        };
        let took = begin.elapsed();
        if best.is_none_or(|(quickest, _)| took < quickest) {
            best = Some((took, theirs - (ours + took.as_secs_f64() / 2.0)));
        }
    }
    let (took, apart_s) = best.expect("it was asked more than once");
    let shown = show_microseconds(apart_s.abs() * 1e6);
    let about = show_microseconds(took.as_secs_f64() * 5e5);
    let way = if apart_s < 0.0 { "behind" } else { "ahead of" };
    let fact = format!("{shown} {way} ours, give or take {about}");
    if apart_s.abs() < CLOCKS_APART.as_secs_f64() + took.as_secs_f64() / 2.0 {
        return Finding::ok("clock", fact);
    }
    Finding::new(
        "clock",
        State::Warning,
        fact,
        "logs and traces are hard to compare; run an NTP client there (`timedatectl set-ntp true`)",
    )
}

fn now_s() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// Measures the way between each two hosts.
fn ways(
    fleet: &mut Fleet,
    wishes: &[Wish],
    names: &[String],
    signals: &mut Signals,
) -> Result<Vec<Chart>, Trouble> {
    let mut word: network::Word = [0; 32];
    SystemRandom::new()
        .fill(&mut word)
        .map_err(|_| Trouble::new(MACHINE, "the system gives no random numbers"))?;
    let mut charts = Vec::new();
    for turn in network::turns(names.len()) {
        let host_of = |place: usize| turn.iter().find(|pair| pair.1 == place);
        let guest_of = |place: usize| turn.iter().find(|pair| pair.0 == place);
        let doors = fleet.attempt(signals, |place, link| {
            if host_of(place).is_none() {
                return Ok(None);
            }
            link.wire.say(&Order::Open {
                ports: wishes[place].ports,
                address: wishes[place].address,
                word,
            });
            match link.await_word(START_TIMEOUT)? {
                Word::Opened { place } => place.map(Some),
                _ => Err("its agent says something out of turn".to_owned()),
            }
        })?;
        let measured = fleet.attempt(signals, |place, link| {
            let Some((_, host)) = guest_of(place) else {
                return Ok(None);
            };
            let door = match &doors[*host] {
                Ok(Some(door)) => *door,
                Ok(None) => return Err("nobody opened a door".to_owned()),
                Err(why) => return Err(why.clone()),
            };
            link.wire.say(&Order::Visit { place: door, word });
            match link.await_word(START_TIMEOUT)? {
                Word::Visited { way } => way.map(Some),
                _ => Err("its agent says something out of turn".to_owned()),
            }
        })?;
        for &(guest, host) in &turn {
            let finding = match &measured[guest] {
                Ok(Some(way)) => way_finding(*way),
                Ok(None) => continue,
                Err(why) => Finding::new(
                    "network",
                    State::Failure,
                    why.clone(),
                    "let them reach each other: routes, a firewall's open `ports`, the `address` in a hive file",
                ),
            };
            charts.push(Chart {
                host: format!("{} – {}", names[guest], names[host]),
                findings: vec![finding],
            });
        }
    }
    charts.sort_by(|one, other| one.host.cmp(&other.host));
    Ok(charts)
}

fn way_finding(way: network::Way) -> Finding {
    let fact = format!(
        "{} there and back, {}/s",
        show_microseconds(way.round_trip_us),
        show_bytes(way.bytes_per_second)
    );
    if way.round_trip_us > FAR_US {
        let remedy = "page faults take at least as long; put the drones of a hive on one network";
        return Finding::new("network", State::Warning, fact, remedy);
    }
    Finding::ok("network", fact)
}

/// What an agent finds out.
pub(crate) fn examine_host(wish: &Wish) -> Word {
    let address = wish.address.or_else(crate::agent::check::reached_at);
    Word::Examined(exam::examine(&Wish {
        address,
        ..wish.clone()
    }))
}

/// What an agent says of its clock.
pub(crate) fn tell_clock() -> Word {
    Word::Clock { unix_s: now_s() }
}

/// Opens a door at an agent's host.
pub(crate) fn open_door(
    address: Option<std::net::IpAddr>,
    ports: Option<crate::hive_file::Ports>,
    word: network::Word,
) -> Word {
    let address = address.or_else(crate::agent::check::reached_at);
    let place = match address {
        None => Err(
            "nobody knows where other hosts reach it; give it an `address` in a hive file"
                .to_owned(),
        ),
        Some(address) => network::open(address, ports, word)
            .map_err(|error| format!("it cannot listen at {address}: {error}")),
    };
    Word::Opened { place }
}

/// Goes through another host's door.
pub(crate) fn visit_door(place: std::net::SocketAddr, word: &network::Word) -> Word {
    let way = network::visit(place, word)
        .map_err(|error| format!("the way to {place} is closed: {error}"));
    Word::Visited { way }
}
