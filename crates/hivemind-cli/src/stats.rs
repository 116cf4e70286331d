//! What the shared memory did: collects the reports that the drones left and shows them as tables, or
//! writes them as JSON. A report is one flat JSON object of names and numbers that the library writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use serde_json::{Map, Value, json};

use crate::job::Job;
use crate::options::Stats;
use crate::plan::report_path;
use crate::trouble::{OUTPUT, Trouble};
use crate::units::{show_bytes, show_count, show_microseconds};

/// What a report takes at most; room for this is made sure of before the start.
const REPORT_BYTES: u64 = 2048;

/// Where the statistics go.
#[derive(Debug)]
pub(crate) enum Destination {
    Nowhere,
    Table,
    File { path: PathBuf, file: File },
}

impl Destination {
    /// Opens the destination before anything starts, so that a wrong path or a full disk costs no run.
    ///
    /// # Errors
    /// The file cannot be written, or has no room.
    pub(crate) fn open(stats: Option<&Stats>, drones: u32) -> Result<Self, Trouble> {
        let path = match stats {
            None | Some(Stats::Off) => return Ok(Self::Nowhere),
            Some(Stats::Table) => return Ok(Self::Table),
            Some(Stats::Json(path)) => path.clone(),
        };
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = opened.and_then(|file| reserve(&file, u64::from(drones)).map(|()| file));
        match file {
            Ok(file) => Ok(Self::File { path, file }),
            Err(error) => Err(Trouble::new(OUTPUT, cannot_write(&path, &error))),
        }
    }

    /// Shows or writes what the drones of an ended job left in its directory.
    pub(crate) fn finish(self, drones: u32, directory: &Path, job: &mut Job) {
        let reports: Vec<Report> = match self {
            Self::Nowhere => return,
            _ => (0..drones)
                .filter_map(|drone| Report::read(directory, drone))
                .collect(),
        };
        if reports.len() < drones as usize {
            job.print(&missing(&reports, drones));
        }
        match self {
            Self::File { path, file } => {
                if let Err(error) = write_json(file, reports) {
                    job.fail_output(&cannot_write(&path, &error));
                }
            }
            _ if reports.is_empty() => {}
            _ => job.print(&tables(&reports)),
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write the statistics to {}: {error}", path.display())
}

/// Makes sure of the room on the disk. Files that know no such thing will tell when they are written.
fn reserve(file: &File, drones: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, drones * REPORT_BYTES) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
        _ => Ok(()),
    }
}

fn write_json(mut file: File, reports: Vec<Report>) -> io::Result<()> {
    let drones: Vec<Value> = reports
        .into_iter()
        .map(|report| Value::Object(report.values))
        .collect();
    let mut text = serde_json::to_vec_pretty(&json!({ "drones": drones }))?;
    text.push(b'\n');
    file.write_all(&text)?;
    if file.metadata()?.is_file() {
        file.set_len(text.len() as u64)?;
        file.sync_all()?;
    }
    Ok(())
}

fn missing(reports: &[Report], drones: u32) -> String {
    let silent: Vec<String> = (0..drones)
        .filter(|&drone| reports.iter().all(|report| report.drone != drone))
        .map(|drone| drone.to_string())
        .collect();
    let (word, verb) = if silent.len() == 1 {
        ("drone", "has")
    } else {
        ("drones", "have")
    };
    format!(
        "hivemind: {word} {} {verb} left no statistics (ended early, or no program of HiveMind)\n",
        silent.join(", ")
    )
}

/// What one drone counted.
#[derive(Clone, Debug)]
struct Report {
    drone: u32,
    values: Map<String, Value>,
}

impl Report {
    fn read(directory: &Path, drone: u32) -> Option<Self> {
        let text = std::fs::read(report_path(directory, drone)).ok()?;
        let mut values: Map<String, Value> = serde_json::from_slice(&text).ok()?;
        values.insert("drone".into(), drone.into());
        Some(Self { drone, values })
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.values.get(name)?.as_f64()
    }
}

/// How a column's values read, and how the last line sums them up.
#[derive(Clone, Copy)]
enum Kind {
    Count,
    /// What all drones do at once: the most counts.
    Common,
    Bytes,
    /// Microseconds that add up.
    Time,
    /// Microseconds that pass for all at once: the longest counts.
    Longest,
}

impl Kind {
    fn show(self, value: f64) -> String {
        match self {
            Self::Count | Self::Common => show_count(value),
            Self::Bytes => show_bytes(value),
            Self::Time | Self::Longest => show_microseconds(value),
        }
    }

    fn sum(self, values: impl Iterator<Item = f64>) -> Option<f64> {
        values.reduce(match self {
            Self::Longest | Self::Common => f64::max,
            _ => |one, other| one + other,
        })
    }
}

/// A column: what stands above it, the report's name for it, and how it reads.
type Column = (&'static str, &'static str, Kind);

const PAGES: (&str, &[Column]) = (
    "pages",
    &[
        ("read\nfaults", "read_faults", Kind::Count),
        ("write\nfaults", "write_faults", Kind::Count),
        ("pages\nfetched", "pages_fetched", Kind::Count),
        ("pre-\nfetched", "pages_prefetched", Kind::Count),
        ("pages\nserved", "pages_served", Kind::Count),
        ("twins", "twins", Kind::Count),
        ("diffs", "diffs_made", Kind::Count),
        ("diff\nbytes", "diff_bytes", Kind::Bytes),
        ("pages\ninvalid", "invalidations", Kind::Count),
        ("waited\nfor pages", "fault_wait_us", Kind::Time),
    ],
);

const LOCKS: (&str, &[Column]) = (
    "locks",
    &[
        ("locks\ntaken", "locks_acquired", Kind::Count),
        ("without a\nmessage", "locks_cached", Kind::Count),
        ("came\nin vain", "locks_unopened", Kind::Count),
        ("waited\nfor locks", "lock_wait_us", Kind::Time),
        ("tries", "locks_tried", Kind::Count),
        ("in vain", "locks_tried_in_vain", Kind::Count),
        ("waits for\nconditions", "condition_waits", Kind::Count),
        ("drones\nwoken", "condition_wakes", Kind::Count),
    ],
);

const MEETINGS: (&str, &[Column]) = (
    "barriers",
    &[
        ("barriers", "meetings", Kind::Common),
        ("waited\nat barriers", "barrier_wait_us", Kind::Time),
        ("collections", "collections", Kind::Common),
        ("time\nin all", "elapsed_us", Kind::Longest),
    ],
);

const TRAFFIC: (&str, &[Column]) = (
    "traffic and memory",
    &[
        ("messages\nsent", "messages_sent", Kind::Count),
        ("messages\nreceived", "messages_received", Kind::Count),
        ("bytes\nsent", "bytes_sent", Kind::Bytes),
        ("bytes\nreceived", "bytes_received", Kind::Bytes),
        ("shared\nlinks", "shared_links", Kind::Count),
        ("bookkeeping\nat most", "metadata_peak_bytes", Kind::Bytes),
        ("memory\nat most", "resident_peak_bytes", Kind::Bytes),
    ],
);

fn tables(reports: &[Report]) -> String {
    let engines: Vec<&str> = reports
        .iter()
        .filter_map(|report| report.values.get("engine")?.as_str())
        .collect();
    let mut text = String::new();
    if let Some(first) = engines.first() {
        let all_one = engines.iter().all(|engine| engine == first);
        let engines = if all_one {
            (*first).to_owned()
        } else {
            engines.join(", ")
        };
        text = format!("\nhivemind: what the shared memory did, with engine {engines}\n");
    }
    for (title, columns) in [PAGES, LOCKS, MEETINGS, TRAFFIC] {
        text += &format!("\n{title}\n");
        for line in table(reports, columns).lines() {
            text += line.trim_end();
            text.push('\n');
        }
    }
    text
}

fn table(reports: &[Report], columns: &[Column]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(std::iter::once("drone").chain(columns.iter().map(|column| column.0)));
    for report in reports {
        let cells = columns
            .iter()
            .map(|&(_, name, kind)| shown(report.number(name), kind));
        table.add_row(std::iter::once(report.drone.to_string()).chain(cells));
    }
    if reports.len() > 1 {
        let cells = columns.iter().map(|&(_, name, kind)| {
            let values = reports.iter().filter_map(|report| report.number(name));
            shown(kind.sum(values), kind)
        });
        table.add_row(std::iter::once("all".to_owned()).chain(cells));
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn shown(value: Option<f64>, kind: Kind) -> String {
    value.map_or_else(|| "-".into(), |value| kind.show(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report as large as they come.
    fn report(drone: u32) -> Report {
        let mut values = Map::new();
        values.insert("engine".into(), "mprotect".into());
        for (_, columns) in [PAGES, LOCKS, MEETINGS, TRAFFIC] {
            for &(_, name, _) in columns {
                values.insert(name.into(), 123_456_789_012_u64.into());
            }
        }
        values.insert("something_new".into(), 1.into());
        Report { drone, values }
    }

    #[test]
    fn the_widest_table_fits_a_hundred_columns() {
        let reports: Vec<Report> = (60..64).map(report).collect();
        for line in tables(&reports).lines() {
            assert!(
                line.chars().count() <= 100,
                "{} columns: {line}",
                line.chars().count()
            );
        }
    }

    #[test]
    fn every_drone_has_a_line_and_the_last_one_sums_up() {
        let mut reports: Vec<Report> = (0..3).map(report).collect();
        for report in &mut reports {
            report.values.insert("twins".into(), 7.into());
            report
                .values
                .insert("elapsed_us".into(), (1000 * (report.drone + 1)).into());
        }
        reports[1].values.remove("diffs_made");
        let text = tables(&reports);
        let all: Vec<&str> = text
            .lines()
            .filter(|line| line.trim_start().starts_with("all"))
            .collect();
        assert_eq!(all.len(), 4, "{text}");
        assert!(all[0].contains(" 21 "), "{text}");
        assert!(all[2].contains("3 ms"), "{text}");
        assert!(
            text.contains(" - "),
            "a value that is not there must show as a dash: {text}"
        );
    }

    #[test]
    fn json_has_all_that_the_drones_reported() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file()
            .write_all(&[b'x'; 100_000])
            .expect("old contents");
        let opened = OpenOptions::new()
            .write(true)
            .open(file.path())
            .expect("it opens");
        write_json(opened, vec![report(0), report(1)]).expect("it can be written");
        let text = std::fs::read(file.path()).expect("it can be read");
        let value: Value = serde_json::from_slice(&text).expect("it is JSON to its last byte");
        assert_eq!(value["drones"][1]["something_new"], 1);
    }

    #[test]
    fn those_who_left_nothing_are_named() {
        assert!(missing(&[report(1)], 3).contains("drones 0, 2 have"));
        assert!(missing(&[report(1)], 2).contains("drone 0 has"));
    }
}
