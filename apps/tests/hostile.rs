//! Jobs of real processes among strangers that mean harm: while a job starts and while it runs, thousands of hostile
//! connections come to every port of it. None gets a word, and the answer stays exact. How much slower the job was is
//! printed, not judged. And every wrong drone is told in a sentence what is wrong with it.
//!
//! The same on threads, kind by kind, is in the library (`join/hostile.rs`).

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No job of these tests takes longer than seconds; on a busy machine it may take minutes.
const PATIENCE: Duration = Duration::from_secs(240);

const RIGHT_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const OTHER_KEY: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100\n";

/// A job without a launcher, with a directory of its own.
struct Job {
    place: tempfile::TempDir,
    name: String,
    drones: u32,
    /// Where drone 0 is met; the others listen at the ports behind it.
    root: SocketAddr,
    encryption: &'static str,
}

impl Job {
    fn new(drones: u32, encryption: &'static str) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let root = free.local_addr().expect("it has an address");
        let job = Self {
            place,
            name: format!("hostile {}", root.port()),
            drones,
            root,
            encryption,
        };
        job.key("key", RIGHT_KEY, 0o600);
        job
    }

    fn key(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.place.path().join(name);
        fs::write(&path, text).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        path
    }

    /// The ports at which the others may listen.
    fn ports(&self) -> (u16, u16) {
        let first = self.root.port().saturating_add(1);
        (first, first.saturating_add(63))
    }

    fn drone(&self, rank: u32, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(folder().join(program));
        let (first, last) = self.ports();
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HIVEMIND_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .env("HIVEMIND_RANK", rank.to_string())
            .env("HIVEMIND_SIZE", self.drones.to_string())
            .env("HIVEMIND_LOCAL_DRONES", self.drones.to_string())
            .env("HIVEMIND_JOB", &self.name)
            .env("HIVEMIND_ROOT", self.root.to_string())
            .env("HIVEMIND_LISTEN", format!("127.0.0.1:{first}-{last}"))
            .env("HIVEMIND_KEY_FILE", self.place.path().join("key"))
            .env("HIVEMIND_ENCRYPT", self.encryption)
            .env("HIVEMIND_START_TIMEOUT", "120s")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, rank: u32, program: &str, arguments: &[&str]) -> Child {
        let mut command = self.drone(rank, program, arguments);
        command.spawn().expect("a drone can be started")
    }

    /// Waits until drone 0 takes calls.
    fn wait_for_root(&self) {
        let begin = Instant::now();
        while TcpStream::connect(self.root).is_err() {
            assert!(begin.elapsed() < PATIENCE, "drone 0 listens nowhere");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Where the programs of this build lie.
fn folder() -> &'static Path {
    let program = Path::new(env!("CARGO_BIN_EXE_pi"));
    program.parent().expect("a program lies in a folder")
}

fn end(child: Child) -> Output {
    child
        .wait_with_output()
        .expect("an own child can be waited for")
}

/// Ends a drone that waits for others who won't come.
fn give_up(mut child: Child) {
    child.kill().expect("an own child can be killed");
    let _ = child.wait();
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Strangers at all ports of a job, until told to stop.
struct Siege {
    over: Arc<AtomicBool>,
    toll: Arc<Toll>,
    strangers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Toll {
    /// Tries to connect.
    tries: AtomicUsize,
    /// Those that found a listener.
    calls: AtomicUsize,
    told_bytes: AtomicUsize,
}

const STRANGERS: usize = 48;

impl Siege {
    fn lay(job: &Job) -> Self {
        let (over, toll) = (Arc::<AtomicBool>::default(), Arc::<Toll>::default());
        let (first, last) = job.ports();
        let ports: Vec<u16> = [job.root.port(); 8]
            .into_iter()
            .chain(first..=last)
            .collect();
        let stranger = |number: usize| {
            let (over, toll, ports) = (Arc::clone(&over), Arc::clone(&toll), ports.clone());
            thread::spawn(move || {
                let mut turn = number;
                while !over.load(Ordering::Relaxed) {
                    let port = ports[turn % ports.len()];
                    harass(SocketAddr::from(([127, 0, 0, 1], port)), turn, &toll);
                    turn += 1;
                    // A running job listens nowhere: without a pause refusals alone would fill the machine.
                    thread::sleep(Duration::from_millis(1));
                }
            })
        };
        let strangers = (0..STRANGERS).map(stranger).collect();
        Self {
            over,
            toll,
            strangers,
        }
    }

    fn lift(self) -> Arc<Toll> {
        self.over.store(true, Ordering::Relaxed);
        for stranger in self.strangers {
            stranger.join().expect("a stranger doesn't panic");
        }
        self.toll
    }
}

/// One hostile connection. Which kind it is depends on the turn.
fn harass(address: SocketAddr, turn: usize, toll: &Toll) {
    toll.tries.fetch_add(1, Ordering::Relaxed);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return;
    };
    // At a port of the loopback where nobody listens a connection may meet itself, and would hear its own words.
    if stream.local_addr().ok() == Some(address) {
        return;
    }
    toll.calls.fetch_add(1, Ordering::Relaxed);
    let words = match turn / 7 % 4 {
        0 => Vec::new(),
        1 => b"GET / HTTP/1.1\r\nHost: drone\r\nAccept: everything\r\n\r\n".to_vec(),
        2 => vec![0xff; 70_000],
        _ => vec![0x42; 20],
    };
    let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
    let _ = stream.set_write_timeout(Some(Duration::from_millis(500)));
    let _ = stream.write_all(&words);
    let mut told = [0; 64];
    if let Ok(bytes) = stream.read(&mut told) {
        toll.told_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

const PROGRAM: (&str, [&str; 5]) = ("jacobi", ["--size", "515", "--steps", "1200", "--check"]);

/// Runs the program, among strangers from before its start to its end or alone. Gives how long it took.
fn run(encryption: &'static str, besieged: bool) -> (Duration, Option<Arc<Toll>>) {
    let (program, arguments) = PROGRAM;
    let job = Job::new(4, encryption);
    let mut drones = vec![job.start(0, program, &arguments)];
    job.wait_for_root();
    let siege = besieged.then(|| {
        let siege = Siege::lay(&job);
        let begin = Instant::now();
        while siege.toll.calls.load(Ordering::Relaxed) < 1000 {
            assert!(begin.elapsed() < PATIENCE, "strangers find no way");
            thread::sleep(Duration::from_millis(1));
        }
        siege
    });
    let begin = Instant::now();
    drones.extend((1..4).map(|rank| job.start(rank, program, &arguments)));
    let outputs: Vec<Output> = drones.into_iter().map(end).collect();
    let took = begin.elapsed();
    for output in &outputs {
        assert!(output.status.success(), "{}", text(output));
    }
    let verdict = text(&outputs[0]);
    assert!(
        verdict.contains("check: equal to the serial answer"),
        "{verdict}"
    );
    (took, siege.map(Siege::lift))
}

#[test]
fn a_job_among_thousands_of_strangers_gives_the_exact_answer() {
    for encryption in ["auto", "always"] {
        let (alone, _) = run(encryption, false);
        let (took, toll) = run(encryption, true);
        let toll = toll.expect("it was besieged");
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        println!(
            "jacobi on 4 drones, encryption {encryption}: {alone:?} alone, {took:?} among {} hostile tries of which \
             {} found a listener",
            count(&toll.tries),
            count(&toll.calls)
        );
        assert!(count(&toll.tries) >= 1000);
        assert_eq!(count(&toll.told_bytes), 0, "a stranger was told something");
    }
}

/// A wrong drone 1 is told `expected`, fails, and the job comes together with a right one after it.
fn wrong_drone_is_told(expected: &str, program: &str, change: impl FnOnce(&Job, &mut Command)) {
    let job = Job::new(2, "auto");
    let steps = ["--steps", "10007"];
    let first = job.start(0, "pi", &steps);
    job.wait_for_root();
    let arguments: &[&str] = if program == "pi" { &steps } else { &[] };
    let mut wrong = job.drone(1, program, arguments);
    change(&job, &mut wrong);
    let told = end(wrong.spawn().expect("a drone can be started"));
    let said = text(&told);
    if told.status.success() || !said.contains(expected) {
        give_up(first);
        panic!("{} and said: {said}", told.status);
    }
    assert!(
        !said.contains(OTHER_KEY.trim()) && !said.contains(RIGHT_KEY.trim()),
        "a key was printed: {said}"
    );
    let right = end(job.start(1, "pi", &steps));
    let first = end(first);
    assert!(right.status.success(), "{}", text(&right));
    assert!(first.status.success(), "{}", text(&first));
}

#[test]
fn a_drone_with_another_key_is_told_so() {
    wrong_drone_is_told("do not have the same key", "pi", |job, wrong| {
        wrong.env("HIVEMIND_KEY_FILE", job.key("other", OTHER_KEY, 0o600));
    });
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    wrong_drone_is_told("its mode 644 opens it to others", "pi", |job, wrong| {
        wrong.env("HIVEMIND_KEY_FILE", job.key("open", RIGHT_KEY, 0o644));
    });
}

#[test]
fn a_drone_of_another_job_is_told_so() {
    wrong_drone_is_told("belongs to job `another`", "pi", |_, wrong| {
        wrong.env("HIVEMIND_JOB", "another");
    });
}

#[test]
fn a_drone_of_another_program_is_told_so() {
    wrong_drone_is_told("the program of drone 1 is", "tour", |_, _| {});
}

#[test]
fn a_drone_that_wants_other_encryption_is_told_so() {
    wrong_drone_is_told(
        "the encryption of drone 1 is never, that of drone 0 is auto",
        "pi",
        |_, wrong| {
            wrong.env("HIVEMIND_ENCRYPT", "never");
        },
    );
}

#[test]
fn without_a_named_key_drones_make_one_and_agree_on_it() {
    let job = Job::new(3, "always");
    let settings = job.place.path().join("settings");
    let drones: Vec<Child> = (0..3)
        .map(|rank| {
            let mut drone = job.drone(rank, "pi", &["--steps", "10007"]);
            drone
                .env_remove("HIVEMIND_KEY_FILE")
                .env("XDG_CONFIG_HOME", &settings);
            drone.spawn().expect("a drone can be started")
        })
        .collect();
    for output in drones.into_iter().map(end) {
        assert!(output.status.success(), "{}", text(&output));
    }
    let key = fs::metadata(settings.join("hivemind/key")).expect("a key was made");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_key_is_in_no_argument_and_no_environment_of_a_running_job() {
    let job = Job::new(2, "auto");
    let mut waiting = job.start(0, "pi", &["--steps", "10007"]);
    job.wait_for_root();
    let process = PathBuf::from(format!("/proc/{}", waiting.id()));
    for file in ["environ", "cmdline"] {
        let seen = fs::read(process.join(file)).expect("it runs");
        let secret = RIGHT_KEY.trim().as_bytes();
        assert!(!seen.windows(secret.len()).any(|bytes| bytes == secret));
    }
    waiting.kill().expect("an own child can be killed");
    let _ = waiting.wait();
}
