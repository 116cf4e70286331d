//! What a job is before anything starts: the program, the drones, and the environment that each of them
//! gets. These variables are the whole contract with the library; nothing else passes between the two.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hivemind::settings::show_time;
use serde::{Deserialize, Serialize};

use crate::key;
use crate::options::{Bind, Run};

/// The file in a job's private directory where drone 0 writes where it is met.
pub(crate) const ROOT_FILE: &str = "root";

/// A machine's part of a job, ready to be started or shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The program that every drone runs.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// The numbers of the drones of this machine.
    pub(crate) ranks: Vec<u32>,
    /// Whether each drone is bound to its share of the cores.
    pub(crate) binds: bool,
    /// Whether drones are asked for their statistics.
    reports: bool,
    /// The variables that are the same for all of them.
    common: Vec<(String, OsString)>,
}

/// Which part of a job a machine has.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The numbers of its drones.
    pub(crate) ranks: Vec<u32>,
    /// How many drones the job has in all.
    pub(crate) drones: u32,
    pub(crate) cores: usize,
    /// Threads a drone, where the machine has its own number.
    pub(crate) threads: Option<u32>,
    /// Where its drones listen, if not at the loopback.
    pub(crate) listen: Option<String>,
}

impl Plan {
    /// The plan that the options ask for. `terminal`: whether somebody watches.
    pub(crate) fn new(
        options: &Run,
        program: PathBuf,
        job: &str,
        terminal: bool,
        part: Part,
    ) -> Self {
        let cores_each = (part.cores / part.ranks.len().max(1)).max(1);
        let wanted_threads = part.threads.or(options.threads);
        let threads = wanted_threads.map_or(cores_each, |threads| threads as usize);
        let mut common = settings(options, job, terminal);
        let mut add = |name: &str, value: OsString| common.push((name.to_owned(), value));
        add("HIVEMIND_SIZE", part.drones.to_string().into());
        add("HIVEMIND_LOCAL_DRONES", part.ranks.len().to_string().into());
        add("HIVEMIND_LOCAL_CORES", part.cores.max(1).to_string().into());
        add("HIVEMIND_THREADS", threads.to_string().into());
        if let Some(listen) = part.listen {
            add("HIVEMIND_LISTEN", listen.into());
        }
        if wanted_threads.is_some() {
            add("RAYON_NUM_THREADS", threads.to_string().into());
        }
        Self {
            program,
            arguments: options.command[1..].to_vec(),
            ranks: part.ranks,
            binds: options.bind.unwrap_or_default() == Bind::Cores,
            reports: options.reports(),
            common,
        }
    }

    /// The directory for the drones' traces, which must be there before they start.
    pub(crate) fn trace(&self) -> Option<&Path> {
        let found = self
            .common
            .iter()
            .find(|(name, _)| name == "HIVEMIND_TRACE");
        found.map(|(_, directory)| Path::new(directory))
    }

    /// The variables of one drone, in the job with this private directory.
    pub(crate) fn environment(&self, drone: u32, directory: &Path) -> Vec<(String, OsString)> {
        let mut variables = self.common.clone();
        let mut add = |name: &str, value: OsString| variables.push((name.to_owned(), value));
        add("HIVEMIND_RANK", drone.to_string().into());
        let mut root = OsString::from("file:");
        root.push(directory.join(ROOT_FILE));
        add("HIVEMIND_ROOT", root);
        add("HIVEMIND_KEY_FILE", key::path(directory).into());
        if self.reports {
            add("HIVEMIND_REPORT", report_path(directory, drone).into());
        }
        variables
    }

    /// The plan to read, as `--dry-run` shows it.
    pub(crate) fn show(&self, directory: &Path) -> String {
        let mut text = String::new();
        let words: Vec<String> = std::iter::once(self.program.as_os_str())
            .chain(self.arguments.iter().map(OsString::as_os_str))
            .map(quoted)
            .collect();
        let _ = writeln!(text, "command    {}", words.join(" "));
        let _ = writeln!(text, "drones     {} on this machine", self.ranks.len());
        let _ = writeln!(
            text,
            "directory  {} (made at the start, removed at the end)",
            directory.display()
        );
        text += &self.show_environment(directory);
        text
    }

    /// What the drones of this machine get.
    pub(crate) fn show_environment(&self, directory: &Path) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "\nenvironment of all drones");
        for (name, value) in &self.common {
            let _ = writeln!(text, "  {name}={}", quoted(value));
        }
        for &drone in &self.ranks {
            let _ = writeln!(text, "\ndrone {drone}");
            for (name, value) in self
                .environment(drone, directory)
                .split_off(self.common.len())
            {
                let _ = writeln!(text, "  {name}={}", quoted(&value));
            }
        }
        text
    }
}

/// What the options say to every drone, wherever it is and whoever starts it.
pub(crate) fn settings(options: &Run, job: &str, terminal: bool) -> Vec<(String, OsString)> {
    let mut common: Vec<(&'static str, OsString)> = vec![
        ("HIVEMIND_JOB", job.into()),
        (
            "HIVEMIND_ENGINE",
            options.engine.unwrap_or_default().name().into(),
        ),
        (
            "HIVEMIND_ENCRYPT",
            options.encrypt.unwrap_or_default().name().into(),
        ),
        (
            "HIVEMIND_TRANSPORT",
            options.transport.unwrap_or_default().name().into(),
        ),
    ];
    if let Some(fan_out) = options.fan_out {
        common.push(("HIVEMIND_FAN_OUT", fan_out.to_string().into()));
    }
    if !options.without.is_empty() {
        let names: Vec<_> = options.without.iter().map(|one| one.name()).collect();
        common.push(("HIVEMIND_WITHOUT", names.join(",").into()));
    }
    if let Some(directory) = &options.trace {
        // The program may go elsewhere before it joins.
        let directory = std::path::absolute(directory).unwrap_or(directory.clone());
        common.push(("HIVEMIND_TRACE", directory.into()));
    }
    let sizes = [
        ("HIVEMIND_REGION", options.region),
        ("HIVEMIND_METADATA_LIMIT", options.metadata_limit),
        ("HIVEMIND_TRACE_LIMIT", options.trace_limit),
    ];
    let times = [
        ("HIVEMIND_WAIT_LIMIT", options.wait_limit),
        ("HIVEMIND_SILENCE_LIMIT", options.silence_limit),
        ("HIVEMIND_START_TIMEOUT", options.start_timeout),
    ];
    common.extend(
        sizes
            .into_iter()
            .filter_map(|(name, size)| Some((name, size?.to_string().into()))),
    );
    common.extend(
        times
            .into_iter()
            .filter_map(|(name, time)| Some((name, show_time(time?).into()))),
    );
    if terminal {
        common.push(("HIVEMIND_TERMINAL", "1".into()));
    }
    common
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Where a drone leaves its statistics.
pub(crate) fn report_path(directory: &Path, drone: u32) -> PathBuf {
    directory.join(format!("report-{drone}.json"))
}

/// A name for this job that no other job on this machine has. It is no secret.
pub(crate) fn job_name() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("{:x}-{}", now.as_micros(), std::process::id())
}

/// A word as a shell would want it.
pub(crate) fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,+@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Command, Options};
    use clap::Parser;

    /// The first machine of a job of three drones.
    fn part() -> Part {
        Part {
            ranks: vec![0, 1, 2],
            drones: 3,
            cores: 8,
            threads: None,
            listen: None,
        }
    }

    fn plan(words: &[&str]) -> Plan {
        let words = ["hivemind", "run"].iter().chain(words);
        let Command::Run(options) = Options::try_parse_from(words)
            .expect("a right command line")
            .command
        else {
            panic!("no run");
        };
        Plan::new(&options, "/bin/prog".into(), "job", false, part())
    }

    fn value(variables: &[(String, OsString)], name: &str) -> Option<String> {
        let found = variables.iter().find(|(found, _)| *found == name);
        found.map(|(_, value)| value.to_string_lossy().into_owned())
    }

    #[test]
    fn a_drone_learns_who_it_is_and_where_the_others_are() {
        let plan = plan(&[
            "-n3",
            "--engine",
            "mprotect",
            "--region=64M",
            "--silence-limit=1500ms",
            "--trace=/t",
            "--trace-limit=1M",
            "--encrypt=always",
            "--transport=tcp",
            "--fan-out=2",
            "--without=push,pages-on-grants",
            "prog",
        ]);
        let variables = plan.environment(2, Path::new("/place"));
        for (name, wanted) in [
            ("HIVEMIND_RANK", "2"),
            ("HIVEMIND_SIZE", "3"),
            ("HIVEMIND_JOB", "job"),
            ("HIVEMIND_ROOT", "file:/place/root"),
            ("HIVEMIND_KEY_FILE", "/place/key"),
            ("HIVEMIND_ENCRYPT", "always"),
            ("HIVEMIND_TRANSPORT", "tcp"),
            ("HIVEMIND_FAN_OUT", "2"),
            ("HIVEMIND_WITHOUT", "push,pages-on-grants"),
            ("HIVEMIND_ENGINE", "mprotect"),
            ("HIVEMIND_REGION", "67108864"),
            ("HIVEMIND_SILENCE_LIMIT", "1500ms"),
            ("HIVEMIND_TRACE", "/t"),
            ("HIVEMIND_TRACE_LIMIT", "1048576"),
        ] {
            assert_eq!(value(&variables, name).as_deref(), Some(wanted), "{name}");
        }
        for name in [
            "HIVEMIND_REPORT",
            "HIVEMIND_WAIT_LIMIT",
            "RAYON_NUM_THREADS",
            "HIVEMIND_TERMINAL",
        ] {
            assert_eq!(value(&variables, name), None, "{name}");
        }
    }

    #[test]
    fn threads_that_are_asked_for_bind_rayon_too() {
        let variables = plan(&["-n3", "--threads=5", "prog"]).environment(0, Path::new("/"));
        assert_eq!(value(&variables, "HIVEMIND_THREADS").as_deref(), Some("5"));
        assert_eq!(value(&variables, "RAYON_NUM_THREADS").as_deref(), Some("5"));
    }

    #[test]
    fn words_are_shown_as_a_shell_wants_them() {
        assert_eq!(quoted(OsStr::new("a-b/c=1")), "a-b/c=1");
        assert_eq!(quoted(OsStr::new("it's")), r"'it'\''s'");
        assert_eq!(quoted(OsStr::new("")), "''");
    }
}
