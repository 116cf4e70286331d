//! Runs programs under `hivemind run` for the tests beside this folder: finds the launcher and the simulator, bounds every
//! job in time, and keeps what it printed. What is expected of a program is said in the tests.
#![allow(dead_code, reason = "each test file uses a part of this")]

use hivemind::FaultEngine;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No job of these tests takes longer than seconds; on a busy machine it may take minutes.
const LONGEST_JOB: Duration = Duration::from_secs(240);

/// The numbers of drones on which every program must be right.
pub(crate) const DRONES: [usize; 5] = [1, 2, 3, 4, 8];

/// All ways to catch a page fault that this machine has, the best first.
pub(crate) fn engines() -> impl Iterator<Item = &'static str> {
    let works = |engine: &&FaultEngine| match &engine.refusal {
        None => true,
        Some(why) => {
            eprintln!("skipped: {why}");
            false
        }
    };
    all_engines()
        .iter()
        .filter(works)
        .map(|engine| engine.name.as_str())
}

fn all_engines() -> &'static [FaultEngine] {
    static ALL: OnceLock<Vec<FaultEngine>> = OnceLock::new();
    ALL.get_or_init(hivemind::fault_engines)
}

/// Who starts a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum User {
    /// Whoever runs the tests.
    Own,
    /// Somebody without any privilege.
    Nobody,
}

/// A job that has ended.
pub(crate) struct Ended {
    what: String,
    /// How the launcher ended.
    pub status: ExitStatus,
    /// What all drones printed on standard output, without prefixes.
    pub out: String,
    /// What was printed on standard error.
    pub err: String,
}

impl Ended {
    /// The exit status as a number.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Fails unless the job ended with 0.
    #[track_caller]
    pub(crate) fn right(self) -> Ended {
        assert_eq!(self.code(), Some(0), "{self}");
        self
    }

    /// Fails unless the program has compared its answer with the serial one and found them equal.
    #[track_caller]
    pub(crate) fn checked(self) -> Ended {
        let ended = self.right();
        let verdicts = ended
            .out
            .matches("check: equal to the serial answer")
            .count();
        assert_eq!(verdicts, 1, "{ended}");
        assert_eq!(ended.err, "", "{ended}");
        ended
    }

    /// What was printed but the times, which differ from run to run.
    pub(crate) fn answer(&self) -> String {
        self.out
            .lines()
            .filter(|line| !line.starts_with("shared "))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended {
            what,
            status,
            out,
            err,
        } = self;
        write!(
            f,
            "{what}\nended with {status}\n--- standard output\n{out}\n--- standard error\n{err}"
        )
    }
}

/// Runs a program on this many drones.
pub(crate) fn run(drones: usize, engine: &str, program: &str, arguments: &[&str]) -> Ended {
    run_with(User::Own, &[], drones, engine, program, arguments)
}

/// Runs a program on this many drones, as this user.
pub(crate) fn run_as(
    user: User,
    drones: usize,
    engine: &str,
    program: &str,
    arguments: &[&str],
) -> Ended {
    run_with(user, &[], drones, engine, program, arguments)
}

/// Runs a program with further options of the launcher.
pub(crate) fn run_with(
    user: User,
    options: &[&str],
    drones: usize,
    engine: &str,
    program: &str,
    arguments: &[&str],
) -> Ended {
    let mut command = match user {
        User::Own => Command::new(launcher()),
        User::Nobody => {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
                .arg(launcher());
            command
        }
    };
    let transport = transport(user, drones, engine);
    let drones = drones.to_string();
    command
        .args(["run", "--no-prefix", "-n", &drones, "--engine", engine])
        .args(["--transport", transport])
        .args(options);
    command.arg(program).args(arguments);
    end(command)
}

/// Each number of drones has both transports, by turns from engine to engine, and the other way round for another user: as
/// much as to run everything with both, in half the time.
fn transport(user: User, drones: usize, engine: &str) -> &'static str {
    let place = all_engines().iter().position(|one| one.name == engine);
    let odd = drones + place.unwrap_or(0) + usize::from(user == User::Nobody);
    if odd.is_multiple_of(2) {
        "shared"
    } else {
        "tcp"
    }
}

/// Runs a program alone, without the launcher.
pub(crate) fn run_alone(program: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new(folder().join(program));
    command.args(arguments);
    end(command)
}

/// Runs `hivemind trace` with these words.
pub(crate) fn trace(words: &[&str]) -> Ended {
    let mut command = Command::new(launcher());
    command.arg("trace").args(words);
    end(command)
}

/// Whether jobs can be started as nobody here; says so where they can't.
pub(crate) fn can_be_nobody() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        let started = command.arg(launcher()).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let can = started.is_ok_and(|status| status.success());
        if !can {
            println!("skipped: no jobs as an ordinary user (needs root, setpriv, and a build folder that all may read)");
        }
        can
    })
}

/// The users that jobs can be started as here.
pub(crate) fn users() -> Vec<User> {
    if can_be_nobody() {
        vec![User::Own, User::Nobody]
    } else {
        vec![User::Own]
    }
}

/// How often each torture program is run on each number of drones with each engine.
pub(crate) fn torture_rounds() -> usize {
    match std::env::var("HIVEMIND_TEST_ROUNDS") {
        Ok(rounds) => rounds
            .parse()
            .expect("HIVEMIND_TEST_ROUNDS is a number of rounds"),
        Err(_) => 1,
    }
}

const NOBODY: &str = "65534";

/// Where the programs of this build lie.
fn folder() -> &'static Path {
    let program = Path::new(env!("CARGO_BIN_EXE_pi"));
    program.parent().expect("a program lies in a folder")
}

/// The launcher of this build; it is built where it isn't there yet.
fn launcher() -> &'static Path {
    static LAUNCHER: OnceLock<PathBuf> = OnceLock::new();
    LAUNCHER.get_or_init(|| built("hivemind", "hivemind-cli"))
}

/// Runs `hivemind-sim model` with these words; it is built where it isn't there yet.
pub(crate) fn model(words: &[&str]) -> Ended {
    static SIMULATOR: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(SIMULATOR.get_or_init(|| built("hivemind-sim", "hivemind-sim")));
    command.arg("model").args(words);
    end(command)
}

/// A program of another package of this build.
fn built(name: &str, package: &str) -> PathBuf {
    let program = folder().join(name);
    if !program.exists() {
        build(package);
    }
    assert!(program.exists(), "there is no {}", program.display());
    program
}

fn build(package: &str) {
    let target = folder()
        .parent()
        .expect("a build folder lies in a target folder");
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--quiet", "--package", package, "--target-dir"])
        .arg(target);
    if folder().ends_with("release") {
        command.arg("--release");
    }
    let status = command.status().expect("cargo can be started");
    assert!(status.success(), "{package} can't be built: {status}");
}

fn end(mut command: Command) -> Ended {
    let what = format!("{command:?}");
    // What the machine's owner has set for their own jobs is none of these tests' business. A mutant is: it is set to be
    // found by them.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HIVEMIND_") && name != "HIVEMIND_MUTANT" {
            command.env_remove(name);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("can't start {what}: {error}"));
    let out = gather(child.stdout.take());
    let err = gather(child.stderr.take());
    let (status, in_time) = wait(&mut child);
    let text = |gathered: JoinHandle<Vec<u8>>| {
        let bytes = gathered.join().expect("reading a pipe doesn't panic");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let ended = Ended {
        what,
        status,
        out: text(out),
        err: text(err),
    };
    assert!(in_time, "killed after {LONGEST_JOB:?}: {ended}");
    ended
}

/// Waits for the end; kills the launcher, and the drones die with it, when it takes too long.
fn wait(child: &mut Child) -> (ExitStatus, bool) {
    let start = Instant::now();
    loop {
        match child.try_wait().expect("an own child can be waited for") {
            Some(status) => return (status, true),
            None if start.elapsed() > LONGEST_JOB => {
                child.kill().expect("an own child can be killed");
                return (child.wait().expect("an own child can be waited for"), false);
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn gather(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    let mut pipe = pipe.expect("the pipe was asked for");
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is all there is to show.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}
