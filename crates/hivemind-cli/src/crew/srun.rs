//! The drones of a job that Slurm's `srun` has started: one process here, and what it says about its tasks.
//!
//! srun puts the number of its task in front of each line; that is the drone. How a task ended it says in a sentence, and
//! that is all that is known of it. Which srun it is stands in `batch.rs`.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::process::{Signal, getppid, kill_process, set_parent_process_death_signal};
use signal_hook::consts::{
    SIGABRT, SIGBUS, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSEGV, SIGTERM,
};

use super::{News, watch};
use crate::batch::{Batch, FOREIGN};
use crate::console::{ERROR, OUTPUT};
use crate::drone::become_program;
use crate::ending::Ending;
use crate::local::{self, Input, Local};
use crate::trouble::{MACHINE, USAGE};

/// The word by which the launcher calls the step before srun.
pub(crate) const SUBCOMMAND: &str = "__srun";

/// How much is read from a pipe at once.
const READ_BYTES: usize = 64 << 10;

/// Lines of srun's own that only say what follows from an end that has been told.
const CONSEQUENCES: [&str; 5] = [
    "Terminating StepId",
    "Force Terminated StepId",
    "forcing job termination",
    "Job step aborted",
    "CANCELLED AT",
];

/// What srun calls the ends by signals, as the C library does.
const SIGNALS: [(&str, i32); 11] = [
    ("Hangup", SIGHUP),
    ("Interrupt", SIGINT),
    ("Quit", SIGQUIT),
    ("Illegal instruction", SIGILL),
    ("Aborted", SIGABRT),
    ("Bus error", SIGBUS),
    ("Floating point exception", SIGFPE),
    ("Killed", SIGKILL),
    ("Segmentation fault", SIGSEGV),
    ("Broken pipe", SIGPIPE),
    ("Terminated", SIGTERM),
];

/// All drones of a step.
#[derive(Debug)]
pub(crate) struct Srun {
    batch: Batch,
    process: Option<Local>,
    /// None: its end was reached.
    pipes: [Option<OwnedFd>; 2],
    /// The stream's pipes are not read for now: too much waits to be written.
    paused: [bool; 2],
    /// What came after the last whole line.
    rest: [Vec<u8>; 2],
    /// The drones of which an end was told.
    ended: Vec<bool>,
    /// All ends from now on follow from one that has been told, or from us.
    is_ending: bool,
    is_over: bool,
}

impl Srun {
    /// A job that has not begun.
    pub(crate) fn new(batch: Batch) -> Self {
        Self {
            ended: vec![false; batch.drones as usize],
            batch,
            process: None,
            pipes: [None, None],
            paused: [false; 2],
            rest: [Vec::new(), Vec::new()],
            is_ending: false,
            is_over: false,
        }
    }

    /// Starts srun.
    ///
    /// # Errors
    /// The system's refusal to make pipes or a process.
    pub(crate) fn start(&mut self, epoll: &OwnedFd) -> io::Result<()> {
        let mut command = Command::new(local::COMMAND);
        command
            .arg0("hivemind")
            .arg(SUBCOMMAND)
            .arg(std::process::id().to_string())
            .args(&self.batch.command);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.envs(self.batch.environment.iter().cloned());
        let (process, pipes) = local::spawn(command, Input::Own)?;
        self.process = Some(process);
        for (stream, pipe) in pipes.iter().enumerate() {
            watch(epoll, pipe, stream as u64)?;
        }
        self.pipes = pipes.map(Some);
        Ok(())
    }

    /// How many drones there are.
    pub(crate) fn count(&self) -> u32 {
        self.batch.drones
    }

    /// Something can be read from the pipe with this token.
    pub(crate) fn hear(&mut self, token: u64, news: &mut Vec<News>) {
        self.read(token as usize, news);
    }

    /// Reads once from a pipe. Gives whether there may be more.
    fn read(&mut self, stream: usize, news: &mut Vec<News>) -> bool {
        let Some(pipe) = &self.pipes[stream] else {
            return false;
        };
        let mut bytes = vec![0; READ_BYTES];
        match rustix::io::read(pipe, &mut bytes[..]) {
            Ok(length @ 1..) => {
                self.take(stream, &bytes[..length], news);
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Ok(_) | Err(_) => {
                self.close(stream, news);
                false
            }
        }
    }

    fn close(&mut self, stream: usize, news: &mut Vec<News>) {
        self.pipes[stream] = None;
        let rest = std::mem::take(&mut self.rest[stream]);
        if !rest.is_empty() {
            self.take_line(stream, &rest, news);
        }
        for drone in 0..self.count() {
            news.push(News::Closed { drone, stream });
        }
    }

    fn take(&mut self, stream: usize, bytes: &[u8], news: &mut Vec<News>) {
        if self.batch.is_labelled() || stream == ERROR {
            self.rest[stream].extend_from_slice(bytes);
            while let Some(end) = self.rest[stream].iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest[stream].drain(..=end).collect();
                self.take_line(stream, &line, news);
            }
        } else {
            print(0, stream, bytes, news);
        }
    }

    fn take_line(&mut self, stream: usize, line: &[u8], news: &mut Vec<News>) {
        let (drone, text) = match self.batch.is_labelled().then(|| labelled(line)).flatten() {
            Some((drone, text)) if drone < self.count() => (Some(drone), text),
            _ => (None, line),
        };
        let is_slurms = stream == ERROR
            && (text.starts_with(b"slurmstepd") || drone.is_none() && text.starts_with(b"srun: "));
        if is_slurms {
            self.take_word(String::from_utf8_lossy(text).trim(), news);
        } else {
            print(drone.unwrap_or(0), stream, text, news);
        }
    }

    /// srun, or Slurm's daemon on a host, says something.
    fn take_word(&mut self, line: &str, news: &mut Vec<News>) {
        let Some((host, tasks, ending)) = end_of_tasks(line) else {
            let follows = CONSEQUENCES.iter().any(|word| line.contains(word));
            // A time limit that was reached is a reason.
            if !(self.is_ending && follows && !line.contains("DUE TO")) {
                let who = Arc::from("Slurm");
                news.push(News::Said {
                    who,
                    line: line.to_owned(),
                });
            }
            return;
        };
        let follows = std::mem::replace(&mut self.is_ending, true) && is_by_srun(ending);
        let ending = if follows { Ending::Exited(0) } else { ending };
        let host: Arc<str> = host.into();
        for drone in tasks {
            let Some(ended) = self.ended.get_mut(drone as usize) else {
                continue;
            };
            if !std::mem::replace(ended, true) {
                news.push(News::Ended {
                    drone,
                    pid: None,
                    host: Some(host.clone()),
                    ending,
                });
            }
        }
    }

    /// Looks whether srun has ended, and with it all of which nobody said so.
    pub(crate) fn look_for_ends(&mut self, news: &mut Vec<News>) {
        let ending = self.process.as_ref().and_then(Local::ending);
        let Some(ending) = ending.filter(|_| !self.is_over) else {
            return;
        };
        self.is_over = true;
        for stream in [OUTPUT, ERROR] {
            // A pipe holds no more than 1 MiB.
            let mut reads = (1 << 20) / READ_BYTES;
            while reads > 0 && !self.paused[stream] && self.read(stream, news) {
                reads -= 1;
            }
        }
        if ending.failed() && !self.is_ending {
            let name = Arc::from("srun");
            news.push(News::StarterFailed { name, ending });
        }
        for drone in 0..self.count() {
            if !std::mem::replace(&mut self.ended[drone as usize], true) {
                news.push(News::Ended {
                    drone,
                    pid: None,
                    host: None,
                    ending: Ending::Exited(0),
                });
            }
        }
    }

    /// Ends all drones. srun takes a polite signal for the order to kill them, and needs to live to do it; it can't be
    /// stopped, and let go on, for them.
    pub(crate) fn signal_all(&mut self, signal: Signal) {
        if matches!(signal, Signal::TERM | Signal::KILL) {
            self.is_ending = true;
            if let Some(process) = self.process.as_ref().filter(|_| !self.is_over) {
                let _ = kill_process(process.pid(), Signal::TERM);
            }
        }
    }

    /// Lets drones wait that write to this stream, or go on.
    pub(crate) fn pause(&mut self, stream: usize, pause: bool, epoll: &OwnedFd) {
        if self.paused[stream] == pause {
            return;
        }
        self.paused[stream] = pause;
        let Some(pipe) = &self.pipes[stream] else {
            return;
        };
        let changed = if pause {
            epoll::delete(epoll, pipe)
        } else {
            watch(epoll, pipe, stream as u64)
        };
        changed.expect("an open pipe can be watched");
    }

    /// All is over: frees srun's number.
    pub(crate) fn bury(&mut self) {
        if let Some(process) = self.process.take().filter(|_| self.is_over) {
            process.bury();
        }
    }
}

fn print(drone: u32, stream: usize, bytes: &[u8], news: &mut Vec<News>) {
    let bytes = bytes.to_vec();
    news.push(News::Printed {
        drone,
        stream,
        bytes,
    });
}

/// Whether this is how srun ends all others once a task has failed: then it is nobody's fault.
fn is_by_srun(ending: Ending) -> bool {
    matches!(
        ending,
        Ending::Killed {
            signal: SIGTERM | SIGKILL,
            ..
        }
    )
}

/// The task in front of a line, and the line without it: `3: text`.
fn labelled(line: &[u8]) -> Option<(u32, &[u8])> {
    let end = line.iter().position(|&byte| byte == b':')?;
    let text = line[end + 1..].strip_prefix(b" ")?;
    let label = str::from_utf8(&line[..end]).ok()?.trim_start();
    let is_number = !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    Some((label.parse().ok().filter(|_| is_number)?, text))
}

/// What srun says of the end of tasks: `srun: error: HOST: task 3: Killed`, `… tasks 0-1,3: Exited with exit code 3`.
fn end_of_tasks(line: &str) -> Option<(&str, Vec<u32>, Ending)> {
    let (host, rest) = line.strip_prefix("srun: error: ")?.split_once(": ")?;
    let tasks = rest
        .strip_prefix("task ")
        .or_else(|| rest.strip_prefix("tasks "))?;
    let (tasks, what) = tasks.split_once(": ")?;
    let ending = match what.strip_prefix("Exited with exit code ") {
        Some(status) => Ending::Exited(status.trim().parse().ok()?),
        None => {
            let (_, signal) = SIGNALS
                .into_iter()
                .find(|(word, _)| what.starts_with(word))?;
            let core_dumped = what.contains("core dumped");
            Ending::Killed {
                signal,
                core_dumped,
            }
        }
    };
    let mut found = Vec::new();
    for part in tasks.trim_matches(['[', ']']).split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        found.extend(first..=last.min(hivemind::settings::MAX_DRONES));
    }
    Some((host, found, ending))
}

/// `hivemind __srun LAUNCHER srun …`: binds srun's life to the launcher's and becomes it. Told that the launcher is gone,
/// srun ends its tasks before itself. Comes back only when it can't.
pub(crate) fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let launcher = arguments
        .next()
        .and_then(|word| word.to_str()?.parse::<i32>().ok());
    let (Some(launcher), Some(program)) = (launcher, arguments.next()) else {
        eprintln!("hivemind: `{SUBCOMMAND}` is what `hivemind run` calls; it is of no use by hand");
        return ExitCode::from(USAGE);
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        eprintln!("hivemind: the kernel refuses to end srun with its launcher: {error}");
        return ExitCode::from(MACHINE);
    }
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(launcher) {
        return ExitCode::from(MACHINE);
    }
    become_program(&program, arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_in_front_of_a_line_is_the_drone() {
        assert_eq!(labelled(b"3: text\n"), Some((3, &b"text\n"[..])));
        assert_eq!(labelled(b"007: : x\n"), Some((7, &b": x\n"[..])));
        assert_eq!(labelled(b" 7: x"), Some((7, &b"x"[..])));
        for line in [
            "srun: error",
            "12",
            "a: b",
            ": x",
            "+3: x",
            "3:x",
            "99999999999: x",
        ] {
            assert_eq!(labelled(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn how_tasks_ended_is_read_from_what_srun_says() {
        let killed = |signal, core_dumped| Ending::Killed {
            signal,
            core_dumped,
        };
        for (line, host, tasks, ending) in [
            (
                "srun: error: ann: task 2: Exited with exit code 3",
                "ann",
                vec![2],
                Ending::Exited(3),
            ),
            (
                "srun: error: bob: tasks 0-1,3: Killed",
                "bob",
                vec![0, 1, 3],
                killed(SIGKILL, false),
            ),
            (
                "srun: error: n-1: task 2: Segmentation fault (core dumped)",
                "n-1",
                vec![2],
                killed(SIGSEGV, true),
            ),
            (
                "srun: error: ann: tasks [4,6]: Aborted",
                "ann",
                vec![4, 6],
                killed(SIGABRT, false),
            ),
        ] {
            assert_eq!(end_of_tasks(line), Some((host, tasks, ending)), "{line}");
        }
        for line in [
            "srun: error: Unable to create step for job 4: More processors requested than permitted",
            "srun: error: ann: task 2: Well",
            "srun: error: ann: task x: Killed",
            "srun: error: ann: task 2: Exited with exit code many",
            "ann: task 2: Killed",
        ] {
            assert_eq!(end_of_tasks(line), None, "{line}");
        }
    }

    fn crew(words: &[&str]) -> Srun {
        Srun::new(Batch {
            drones: 4,
            command: words.iter().map(Into::into).collect(),
            environment: Vec::new(),
        })
    }

    fn heard(crew: &mut Srun, stream: usize, text: &str) -> Vec<String> {
        let mut news = Vec::new();
        for piece in text.as_bytes().chunks(7) {
            crew.take(stream, piece, &mut news);
        }
        let show = |news: News| match news {
            News::Printed { drone, bytes, .. } => {
                format!("{drone} {}", String::from_utf8_lossy(&bytes).trim_end())
            }
            News::Ended { drone, ending, .. } => format!("{drone} ended: {ending:?}"),
            News::Said { who, line } => format!("{who}: {line}"),
            other => format!("{other:?}"),
        };
        news.into_iter().map(show).collect()
    }

    #[test]
    fn lines_of_drones_and_of_slurm_are_told_apart() {
        let mut crew = crew(&["srun", "--label", "prog"]);
        let said = heard(
            &mut crew,
            ERROR,
            "1: srun: error: ann: task 0: Killed\n2: slurmstepd-bob: error: disk\nsrun: warning\n9: no drone\n",
        );
        let wanted = [
            "1 srun: error: ann: task 0: Killed",
            "Slurm: slurmstepd-bob: error: disk",
            "Slurm: srun: warning",
            "0 9: no drone",
        ];
        assert_eq!(said, wanted);
        assert_eq!(
            heard(&mut crew, OUTPUT, "3: a\n0: srun: b\n"),
            ["3 a", "0 srun: b"]
        );
    }

    #[test]
    fn an_end_is_told_once_and_what_follows_from_it_is_not_repeated() {
        let mut crew = crew(&["srun", "--label", "prog"]);
        let cancelled =
            "0: slurmstepd-ann: error: *** STEP 3.0 ON ann CANCELLED AT 2026-11-26 ***\n";
        assert_eq!(heard(&mut crew, ERROR, cancelled).len(), 1);
        let said = heard(
            &mut crew,
            ERROR,
            &format!(
                "srun: error: ann: task 2: Exited with exit code 3\n\
                 srun: launch/slurm: _step_signal: Terminating StepId=3.0\n{cancelled}\
                 srun: error: ann: tasks 1-2: Terminated\n\
                 srun: error: *** STEP 3.0 ON ann CANCELLED AT 2026-11-26 DUE TO TIME LIMIT ***\n"
            ),
        );
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[0], "2 ended: Exited(3)");
        assert_eq!(said[1], "1 ended: Exited(0)");
        assert!(said[2].contains("TIME LIMIT"), "{said:?}");
    }

    #[test]
    fn without_labels_bytes_pass_as_they_come() {
        let mut crew = crew(&["srun", "prog"]);
        assert_eq!(heard(&mut crew, OUTPUT, "3: a"), ["0 3: a"]);
    }
}
