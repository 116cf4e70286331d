//! What every program here does alike: reads its command line, joins the hive, lets drone 0 alone speak,
//! compares with the serial twin, and ends with the right exit status. What a program computes is in its
//! own module; bars and progress lines are in [`crate::progress`].

use crate::progress::Progress;
use clap::{CommandFactory, Parser};
use hivemind::Hive;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Why a program ends without an answer. The exit status says which kind it was.
#[derive(Debug)]
pub enum Failure {
    /// The shared memory failed; every drone says so for itself. Exit status 1.
    Hive(hivemind::Error),
    /// What the user asked for can't be done: arguments, a file. Drone 0 says so. Exit status 2.
    Refused(String),
    /// The answer is wrong. Drone 0 says so. Exit status 1.
    Wrong(String),
    /// The answer is wrong on this drone; whichever drone finds it says so. Exit status 1.
    WrongHere(String),
    /// Another drone has said why; this one ends with the same exit status.
    Elsewhere(u8),
}

impl From<hivemind::Error> for Failure {
    fn from(error: hivemind::Error) -> Failure {
        Failure::Hive(error)
    }
}

impl Failure {
    /// The exit status of a drone that ends with this failure.
    pub fn exit_status(&self) -> u8 {
        match self {
            Failure::Refused(_) => 2,
            Failure::Hive(_) | Failure::Wrong(_) | Failure::WrongHere(_) => 1,
            Failure::Elsewhere(status) => *status,
        }
    }
}

/// The console of one drone: only drone 0's console says anything.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    name: &'static str,
    speaks: bool,
}

impl Console {
    /// A console for the program `name`; it is silent unless `speaks`.
    pub fn new(name: &'static str, speaks: bool) -> Console {
        Console { name, speaks }
    }

    /// Prints a line of the answer on standard output. A reader that has gone away is no error.
    pub fn answer(&self, line: impl Display) {
        if self.speaks {
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }

    /// Prints a complaint on standard error, after the program's name.
    pub fn complain(&self, complaint: impl Display) {
        if self.speaks {
            let _ = writeln!(std::io::stderr(), "{}: {complaint}", self.name);
        }
    }

    /// Progress of `total` steps, each called a `unit`, for what may take longer than a second.
    pub fn progress(&self, unit: &'static str, total: u64) -> Progress {
        if self.speaks {
            Progress::new(self.name, unit, total)
        } else {
            Progress::silent()
        }
    }
}

/// Starts a program: parses the command line into `A`, joins the hive, runs `body`, leaves the hive.
///
/// A command line that can't be read is reported by drone 0 alone, and who is drone 0 is known only to
/// the hive: so every drone joins first, also for `--help`. All drones then end with the same status.
pub fn start<A: Parser>(body: fn(&A, &mut Hive, &Console) -> Result<(), Failure>) -> ExitCode {
    let name: &'static str = String::leak(<A as CommandFactory>::command().get_name().to_owned());
    let arguments = A::try_parse();
    let mut hive = match Hive::join() {
        Ok(hive) => hive,
        Err(error) => return end_without_hive(name, arguments.err(), &error),
    };
    let console = Console::new(name, hive.is_first());
    let outcome = match &arguments {
        Ok(arguments) => body(arguments, &mut hive, &console),
        Err(usage) => Err(show_usage(usage, &console)),
    };
    let outcome = match outcome {
        Ok(()) | Err(Failure::Elsewhere(0)) => hive.leave().map_err(Failure::Hive),
        // After these nobody can count on the others coming to a common end.
        Err(failure @ (Failure::Hive(_) | Failure::WrongHere(_))) => Err(failure),
        Err(failure) => {
            say(&console, name, &failure);
            let status = failure.exit_status();
            hive.leave()
                .map_err(Failure::Hive)
                .and(Err(Failure::Elsewhere(status)))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&console, name, &failure);
            ExitCode::from(failure.exit_status())
        }
    }
}

/// Lets drone 0 do what only one drone should do (read a file, run the serial twin) while the others wait;
/// collective. Drone 0 gets the result. Where it fails, every drone gets a failure with the same status.
pub fn first<R>(
    hive: &mut Hive,
    work: impl FnOnce(&Hive) -> Result<R, Failure>,
) -> Result<Option<R>, Failure> {
    let result = if hive.is_first() {
        Some(work(hive))
    } else {
        None
    };
    let status = match &result {
        Some(Err(failure)) => failure.exit_status(),
        _ => 0,
    };
    match (hive.broadcast(0, u64::from(status))? as u8, result) {
        (0, result) => result.transpose(),
        (_, Some(failed)) => failed.map(Some),
        (status, None) => Err(Failure::Elsewhere(status)),
    }
}

/// What a run of the serial twin gave: how long it took, and in what its answer differs.
pub struct Comparison {
    /// The time that the serial twin took for the same work as the shared one.
    pub serial: Duration,
    /// Empty where the answers agree, otherwise the difference in words.
    pub difference: Option<String>,
}

/// Prints the closing lines of a program; collective. With `check`, drone 0 runs the serial twin through
/// `compare` first, and a difference is a failure on every drone.
pub fn conclude(
    hive: &mut Hive,
    console: &Console,
    shared: Duration,
    check: bool,
    compare: impl FnOnce(&Hive) -> Comparison,
) -> Result<(), Failure> {
    if !check {
        console.answer(format_args!("shared {}", seconds(shared)));
        return Ok(());
    }
    first(hive, |hive| {
        let Comparison { serial, difference } = compare(hive);
        match &difference {
            None => console.answer("check: equal to the serial answer"),
            Some(difference) => {
                console.answer(format_args!("check: not the serial answer: {difference}"))
            }
        }
        console.answer(format_args!(
            "shared {}, serial {}, speed-up {:.2}",
            seconds(shared),
            seconds(serial),
            serial.as_secs_f64() / shared.as_secs_f64().max(1e-9),
        ));
        match difference {
            None => Ok(()),
            Some(_) => Err(Failure::Wrong(
                "the shared answer is not the serial one".to_owned(),
            )),
        }
    })?;
    Ok(())
}

/// Runs `work` and measures it.
pub fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// The threads of this drone, as many as the hive allows it. The calling thread is one of them, so a pool
/// of one costs no hop to another thread. One pool a thread: call it once and pass it on.
pub fn workers(hive: &Hive) -> Result<rayon::ThreadPool, Failure> {
    let threads = hive.threads().max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .use_current_thread()
        .build();
    pool.map_err(|error| {
        Failure::WrongHere(format!(
            "drone {} can't start {threads} threads: {error}; give it fewer with `hivemind run --threads`",
            hive.me()
        ))
    })
}

/// Reads a count as people write it: `5000000000`, `5_000_000_000` or `5e9`.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let plain = text.replace('_', "");
    let refused =
        || format!("'{text}' is no count; write it like 5000000000, 5_000_000_000 or 5e9");
    let (digits, zeros) = match plain.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<u32>().map_err(|_| refused())?),
        None => (plain.as_str(), 0),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    let digits: u64 = digits
        .parse()
        .map_err(|_| format!("'{text}' is more than fits into 64 bits"))?;
    let factor = 10_u64.checked_pow(zeros);
    let count = factor.and_then(|factor| digits.checked_mul(factor));
    count.ok_or_else(|| format!("'{text}' is more than fits into 64 bits"))
}

/// A duration for people: `2.31 s`, and `0.23 ms` for what is shorter than ten milliseconds.
pub fn seconds(time: Duration) -> String {
    let s = time.as_secs_f64();
    if s < 0.01 {
        format!("{:.2} ms", s * 1e3)
    } else {
        format!("{s:.2} s")
    }
}

fn say(console: &Console, name: &'static str, failure: &Failure) {
    match failure {
        Failure::Hive(error) => Console::new(name, true).complain(error),
        Failure::WrongHere(what) => Console::new(name, true).complain(what),
        Failure::Refused(what) | Failure::Wrong(what) => console.complain(what),
        Failure::Elsewhere(_) => {}
    }
}

fn show_usage(usage: &clap::Error, console: &Console) -> Failure {
    if console.speaks {
        // A reader that has gone away is no error.
        let _ = usage.print();
    }
    Failure::Elsewhere(u8::try_from(usage.exit_code()).unwrap_or(2))
}

fn end_without_hive(
    name: &'static str,
    usage: Option<clap::Error>,
    error: &hivemind::Error,
) -> ExitCode {
    let console = Console::new(name, true);
    match usage {
        Some(usage) => ExitCode::from(show_usage(&usage, &console).exit_status()),
        None => {
            console.complain(error);
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_people_write_them() {
        assert_eq!(parse_count("100000000"), Ok(100_000_000));
        assert_eq!(parse_count("5_000_000_000"), Ok(5_000_000_000));
        assert_eq!(parse_count("5e9"), Ok(5_000_000_000));
        assert_eq!(parse_count("0"), Ok(0));
    }

    #[test]
    fn what_is_no_count_is_refused_with_an_example() {
        for text in ["", "-1", "+1", "1.5", "1e", "e9", "ten", "1e-3"] {
            assert!(parse_count(text).unwrap_err().contains("5e9"), "{text}");
        }
        for text in ["18446744073709551616", "1e20", "99e19"] {
            assert!(parse_count(text).unwrap_err().contains("64 bits"), "{text}");
        }
    }

    #[test]
    fn short_times_are_told_in_milliseconds() {
        assert_eq!(seconds(Duration::from_millis(2310)), "2.31 s");
        assert_eq!(seconds(Duration::from_micros(230)), "0.23 ms");
    }
}
