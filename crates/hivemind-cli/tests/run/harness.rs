//! Runs the real command in a test: collects what it prints, bounds every wait, and looks at processes by
//! their number. What is tested stands in the files beside this folder.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// No test waits longer than this for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A job that is to be started.
pub(crate) struct Hive {
    command: Command,
    runtime: TempDir,
    input: Option<Vec<u8>>,
}

/// A job that runs.
pub(crate) struct Running {
    child: Child,
    runtime: TempDir,
    texts: [Arc<Mutex<Vec<u8>>>; 2],
    readers: Vec<JoinHandle<()>>,
}

/// A job that has ended.
pub(crate) struct Ended {
    /// The exit status; none when a signal killed the launcher.
    pub(crate) status: Option<i32>,
    /// What stood on standard output and standard error.
    pub(crate) output: String,
    pub(crate) error: String,
    /// What was left in the directory for private directories.
    pub(crate) left_over: Vec<String>,
}

/// `hivemind run` with these words; a shell script as program where `script` is given.
pub(crate) fn hive(words: &[&str]) -> Hive {
    hive_of(Path::new(env!("CARGO_BIN_EXE_hivemind")), words)
}

/// The same with another copy of the command.
pub(crate) fn hive_of(binary: &Path, words: &[&str]) -> Hive {
    command_of(binary, &[&["run"], words].concat())
}

/// Any subcommand.
pub(crate) fn command_of(binary: &Path, words: &[&str]) -> Hive {
    let runtime = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HIVEMIND_") {
            command.env_remove(name);
        }
    }
    command
        .args(words)
        .env("XDG_RUNTIME_DIR", runtime.path())
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE");
    Hive {
        command,
        runtime,
        input: None,
    }
}

/// `hivemind run -n DRONES OPTIONS… sh -c SCRIPT`.
pub(crate) fn script(drones: u32, options: &[&str], script: &str) -> Hive {
    let drones = drones.to_string();
    let words: Vec<&str> = ["-n", &drones]
        .into_iter()
        .chain(options.iter().copied())
        .chain(["sh", "-c", script])
        .collect();
    hive(&words)
}

impl Hive {
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn input(mut self, text: &str) -> Self {
        self.input = Some(text.as_bytes().to_vec());
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let stdin = if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut child = self
            .command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        if let (Some(text), Some(mut pipe)) = (self.input, child.stdin.take()) {
            // Nobody needs to read it all.
            let _ = pipe.write_all(&text);
        }
        let (stdout, stdout_reader) = collect(child.stdout.take().expect("a pipe"));
        let (stderr, stderr_reader) = collect(child.stderr.take().expect("a pipe"));
        Running {
            child,
            runtime: self.runtime,
            texts: [stdout, stderr],
            readers: vec![stdout_reader, stderr_reader],
        }
    }

    pub(crate) fn run(self) -> Ended {
        self.start().end()
    }
}

impl Running {
    /// The launcher's process.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the launcher runs");
    }

    /// Waits until so many lines stand on standard output, and gives them.
    pub(crate) fn lines(&mut self, count: usize) -> Vec<String> {
        let start = Instant::now();
        loop {
            let lines: Vec<String> = self.text(0).lines().map(str::to_owned).collect();
            if lines.len() >= count && self.text(0).ends_with('\n') {
                return lines;
            }
            assert!(
                start.elapsed() < LIMIT,
                "only these lines came: {lines:?}; {}",
                self.text(1)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end, which must come in time.
    pub(crate) fn end(mut self) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            if start.elapsed() > LIMIT {
                let _ = self.child.kill();
                panic!(
                    "the job hangs; it printed {} and {}",
                    self.text(0),
                    self.text(1)
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        // A process left behind would hold the pipes; then this waits, so it is bounded too.
        while !self.readers.iter().all(JoinHandle::is_finished) {
            assert!(
                start.elapsed() < LIMIT,
                "somebody still holds the launcher's output"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        let entries = std::fs::read_dir(self.runtime.path()).expect("the directory is there");
        Ended {
            status: status.code(),
            output: self.text(0),
            error: self.text(1),
            left_over: entries
                .map(|entry| {
                    entry
                        .expect("an entry")
                        .file_name()
                        .to_string_lossy()
                        .into_owned()
                })
                .collect(),
        }
    }

    fn text(&self, stream: usize) -> String {
        String::from_utf8_lossy(&self.texts[stream].lock().expect("no reader panics")).into_owned()
    }
}

impl Ended {
    /// The lines of standard output, sorted: drones print in any order.
    pub(crate) fn sorted(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = self.output.lines().collect();
        lines.sort_unstable();
        lines
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(Vec::new()));
    let growing = Arc::clone(&text);
    let reader = std::thread::spawn(move || {
        let mut piece = vec![0; 64 << 10];
        while let Ok(length @ 1..) = pipe.read(&mut piece) {
            growing
                .lock()
                .expect("no reader panics")
                .extend_from_slice(&piece[..length]);
        }
    });
    (text, reader)
}

/// Whether a process runs; one that is only not yet waited for does not.
pub(crate) fn runs(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            stat.rsplit_once(')')
                .map(|(_, rest)| rest.trim_start().to_owned())
        })
        .is_some_and(|rest| !rest.starts_with(['Z', 'X']))
}

/// Waits until none of these processes runs any more.
pub(crate) fn expect_gone(pids: &[i32], within: Duration) {
    let start = Instant::now();
    loop {
        let alive: Vec<i32> = pids.iter().copied().filter(|&pid| runs(pid)).collect();
        if alive.is_empty() {
            return;
        }
        assert!(
            start.elapsed() < within,
            "these processes still run: {alive:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The process numbers at the ends of these lines.
pub(crate) fn pids(lines: &[String]) -> Vec<i32> {
    let number = |line: &String| line.rsplit(' ').next().and_then(|word| word.parse().ok());
    lines
        .iter()
        .map(|line| number(line).unwrap_or_else(|| panic!("no process number in {line}")))
        .collect()
}
