//! The logs of a run: finding and reading them, and putting their events on one time. Each drone counts its own time
//! from when its trace began, and says which time of day that was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hivemind_trace::{Breach, Entry, Happening, Located, Reading};

use crate::trouble::{OUTPUT, Trouble, USAGE};

/// A log as far as it can be read.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) events: Vec<Located>,
    pub(super) breach: Option<Breach>,
}

/// Reads files, and of directories the logs `d0.log`, `d1.log` … of the last run that was traced into them.
///
/// # Errors
/// No logs, or the system's refusal.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Log>, Trouble> {
    let mut logs = Vec::new();
    for path in paths {
        if path.is_dir() {
            logs.extend(of_last_run(read_directory(path)?));
        } else {
            logs.push(read_file(path)?);
        }
    }
    Ok(logs)
}

/// The events of all logs on one time and in one order.
pub(super) fn merge(logs: Vec<Log>) -> Vec<Entry> {
    let mut hosts: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
    let mut begins: BTreeMap<u32, i64> = BTreeMap::new();
    for log in logs {
        let alone = log.hosts() == 1;
        for Located { entry, .. } in log.events {
            // A log of several drones has been through here before: it is on one time.
            if alone && let Some(begin) = Happening::read(&entry.text).time_ns("wall_us") {
                begins.insert(entry.host, begin as i64);
            }
            hosts.entry(entry.host).or_default().push(entry);
        }
    }
    let first = begins.values().min().copied().unwrap_or(0);
    let mut offsets: BTreeMap<u32, i64> = hosts.keys().map(|host| (*host, 0)).collect();
    offsets.extend(begins.iter().map(|(host, begin)| (*host, begin - first)));
    mend(&mut offsets, &hosts);
    let on_one_time = |mut entry: Entry| {
        if let Some(own) = time(&entry) {
            let ns = own.saturating_add(offsets[&entry.host]);
            entry.text = Happening::read(&entry.text).moved_to(ns.max(0) as u64);
        }
        entry
    };
    let moved = hosts
        .into_values()
        .map(|entries| entries.into_iter().map(on_one_time).collect());
    hivemind_trace::merge(moved, |entry| time(entry).unwrap_or(0).max(0) as u64)
}

/// Clocks of machines differ: moves drones on until no message comes before it was sent, by as little as does it.
fn mend(offsets: &mut BTreeMap<u32, i64>, hosts: &BTreeMap<u32, Vec<Entry>>) {
    let least = least_offsets(hosts);
    let before = offsets.clone();
    for _ in 0..offsets.len() {
        for ((from, to), least) in &least {
            let wanted = offsets[from] + least;
            let offset = offsets.get_mut(to).expect("every host has one");
            *offset = (*offset).max(wanted);
        }
    }
    for (host, offset) in offsets {
        let moved_us = (*offset - before[host]) / 1000;
        if moved_us > 0 {
            eprintln!(
                "hivemind: the clock of drone {host} is behind: its times are moved on by {moved_us} us"
            );
        }
    }
}

/// For each link, by how much the receiver's time must be ahead of the sender's, so that every message takes some time.
fn least_offsets(hosts: &BTreeMap<u32, Vec<Entry>>) -> BTreeMap<(u32, u32), i64> {
    let mut sent: BTreeMap<(u32, u32, u64), i64> = BTreeMap::new();
    let mut least: BTreeMap<(u32, u32), i64> = BTreeMap::new();
    for entry in hosts.values().flatten() {
        if let Some((_, link, no)) = message(entry).filter(|message| message.0) {
            sent.insert((link.0, link.1, no), time(entry).unwrap_or(0));
        }
    }
    for entry in hosts.values().flatten() {
        let Some((_, link, no)) = message(entry).filter(|message| !message.0) else {
            continue;
        };
        if let Some(sent) = sent.get(&(link.0, link.1, no)) {
            let ahead = sent - time(entry).unwrap_or(0) + 1;
            let known = least.entry(link).or_insert(ahead);
            *known = (*known).max(ahead);
        }
    }
    least
}

/// A message's half: whether it is the sender's, its link, and its number.
pub(super) fn message(entry: &Entry) -> Option<(bool, (u32, u32), u64)> {
    let happening = Happening::read(&entry.text);
    let no = happening.number("no")?;
    match happening.kind() {
        "sends" => Some((true, (entry.host, happening.drone("to")?), no)),
        "gets" => Some((false, (happening.drone("from")?, entry.host), no)),
        _ => None,
    }
}

fn time(entry: &Entry) -> Option<i64> {
    i64::try_from(Happening::read(&entry.text).time_ns("at_us")?).ok()
}

impl Log {
    fn hosts(&self) -> usize {
        let mut hosts: Vec<u32> = self
            .events
            .iter()
            .map(|located| located.entry.host)
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts.len()
    }

    /// Its first event: which job it is of, how many drones that had, and when it began.
    fn begin(&self) -> Option<(&str, u64, u64)> {
        let begin = Happening::read(&self.events.first()?.entry.text);
        Some((
            begin.get("job")?,
            begin.number("drones")?,
            begin.time_ns("wall_us")?,
        ))
    }
}

/// A directory that was used before, for more drones, has logs that are not of the last run.
fn of_last_run(logs: Vec<Log>) -> Vec<Log> {
    let begins = logs.iter().filter_map(Log::begin);
    let Some((job, drones, _)) = begins.max_by_key(|begin| begin.2) else {
        return logs;
    };
    let job = job.to_owned();
    let is_of_it = |log: &Log| log.begin().is_none_or(|begin| begin.0 == job);
    let (logs, others): (Vec<Log>, Vec<Log>) = logs.into_iter().partition(is_of_it);
    for other in others {
        eprintln!(
            "hivemind: {} is of another run and left out",
            other.path.display()
        );
    }
    if (logs.len() as u64) < drones {
        eprintln!(
            "hivemind: {} logs of {drones} drones are here: what the others did is not known",
            logs.len()
        );
    }
    logs
}

fn read_directory(directory: &Path) -> Result<Vec<Log>, Trouble> {
    let refused = |error| {
        Trouble::new(
            OUTPUT,
            format!("cannot read {}: {error}", directory.display()),
        )
    };
    let mut drones: Vec<(u32, PathBuf)> = Vec::new();
    for found in std::fs::read_dir(directory).map_err(refused)? {
        let path = found.map_err(refused)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number =
            name.and_then(|name| name.strip_prefix('d')?.strip_suffix(".log")?.parse().ok());
        drones.extend(number.map(|number| (number, path)));
    }
    if drones.is_empty() {
        let what = format!(
            "there are no logs (d0.log, d1.log …) in {}; `hivemind run --trace {}` writes some",
            directory.display(),
            directory.display()
        );
        return Err(Trouble::new(USAGE, what));
    }
    drones.sort();
    drones.iter().map(|(_, path)| read_file(path)).collect()
}

fn read_file(path: &Path) -> Result<Log, Trouble> {
    let bytes = std::fs::read(path).map_err(|error| {
        Trouble::new(OUTPUT, format!("cannot read {}: {error}", path.display()))
    })?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let Reading { events, breach } = hivemind_trace::read(&text);
    Ok(Log {
        path: path.to_owned(),
        text,
        events,
        breach,
    })
}
