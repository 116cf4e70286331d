//! What launcher and agents do together, with a stand-in for ssh: it runs the command on this very machine, in a
//! home of its own for each host, and needs no privilege. The real ssh is tested in `tests/hosts`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{Ended, Hive, LIMIT, expect_gone, hive, hive_of, pids};

/// Hosts that are only directories.
struct Hosts {
    place: TempDir,
}

/// The last two words are the host and what its shell gets; what stands before them are ssh's options.
const SSH: &str = "#!/bin/sh
for word; do host=$script; script=$word; done
echo x >> $(dirname $0)/calls
mkdir -p $(dirname $0)/$host/run
export HOME=$(dirname $0)/$host XDG_RUNTIME_DIR=$(dirname $0)/$host/run SSH_CONNECTION='127.0.0.1 1 127.0.0.1 22'
unset XDG_CACHE_HOME
[ -f $(dirname $0)/greeting ] && cat $(dirname $0)/greeting
exec sh -c \"$script\"
";

impl Hosts {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let ssh = place.path().join("ssh");
        std::fs::write(&ssh, SSH).expect("it can be written");
        std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755))
            .expect("it can be executed");
        Self { place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn on(&self, hive: Hive) -> Hive {
        hive.env("HIVEMIND_SSH", self.path("ssh"))
    }

    fn hive(&self, words: &[&str]) -> Hive {
        self.on(hive(words))
    }

    fn script(&self, hosts: &str, options: &[&str], script: &str) -> Hive {
        let words = ["--hosts", hosts];
        let program = ["sh", "-c", script];
        self.hive(&[&words, options, &program].concat())
    }

    /// Everything in a host's home, but for the cache and the directory for private directories, which is empty.
    fn left_on(&self, host: &str) -> Vec<String> {
        let names = |path: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
            entries.map(name).collect()
        };
        let mut left = names(&self.path(host));
        left.retain(|name| name != ".cache" && name != "run");
        left.extend(names(&self.path(host).join("run")));
        left
    }
}

fn expect_good(ended: &Ended) {
    assert_eq!(ended.status, Some(0), "{}{}", ended.output, ended.error);
    assert_eq!(ended.error, "");
}

#[test]
fn drones_have_their_places_in_the_order_of_the_hosts() {
    let hosts = Hosts::new();
    let script = "echo $HIVEMIND_RANK of $HIVEMIND_SIZE, $HIVEMIND_LOCAL_DRONES at $HIVEMIND_LISTEN in ${HOME##*/}";
    let ended = hosts.script("a:2,b", &[], script).run();
    expect_good(&ended);
    let wanted = [
        "[0] 0 of 3, 2 at 127.0.0.1 in a",
        "[1] 1 of 3, 2 at 127.0.0.1 in a",
        "[2] 2 of 3, 1 at 127.0.0.1 in b",
    ];
    assert_eq!(ended.sorted(), wanted);
    for host in ["a", "b"] {
        assert_eq!(hosts.left_on(host), [""; 0], "on {host}");
    }
    assert!(ended.left_over.is_empty(), "{:?}", ended.left_over);
    let spread = hosts.script("a,b", &["-n", "3"], script).run();
    assert_eq!(spread.sorted(), wanted);
}

#[test]
fn the_address_of_drone_0_goes_to_all_hosts() {
    let hosts = Hosts::new();
    let script = "root=${HIVEMIND_ROOT#file:}
        [ $HIVEMIND_RANK = 0 ] && { echo 192.0.2.7:77 > $root.0; mv $root.0 $root; }
        while ! [ -e $root ]; do sleep 0.02; done; cat $root";
    let ended = hosts.script("a,b,c", &[], script).run();
    expect_good(&ended);
    assert_eq!(
        ended.sorted(),
        ["[0] 192.0.2.7:77", "[1] 192.0.2.7:77", "[2] 192.0.2.7:77"]
    );
}

#[test]
fn the_input_goes_to_drone_0_whole() {
    let hosts = Hosts::new();
    let text: String = (0..200_000).map(|line| format!("{line}\n")).collect();
    let ended = hosts
        .script("a,b", &["--no-prefix"], "cat")
        .input(&text)
        .run();
    expect_good(&ended);
    assert_eq!(ended.output.len(), text.len());
    assert!(ended.output == text, "something changed on the way");
}

#[test]
fn a_drone_that_reads_nothing_keeps_nobody_waiting() {
    let hosts = Hosts::new();
    let text = "x".repeat(1 << 20);
    let ended = hosts
        .script("a", &[], "exec 0<&-; sleep 0.2; echo done")
        .input(&text)
        .run();
    expect_good(&ended);
    assert_eq!(ended.output, "[0] done\n");
}

#[test]
fn output_of_all_hosts_arrives_whole_and_in_lines() {
    let hosts = Hosts::new();
    let script = "i=0; while [ $i -lt 20 ]; do head -c 99999 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done; echo end >&2";
    let ended = hosts.script("a:2,b:2", &[], script).run();
    assert_eq!(ended.status, Some(0), "{}", ended.error);
    let x = |line: &str| line.bytes().filter(|&byte| byte == b'x').count();
    assert_eq!(ended.output.lines().map(x).sum::<usize>(), 4 * 20 * 99_999);
    assert_eq!(ended.error.lines().count(), 4);
}

#[test]
fn what_a_login_shell_prints_is_no_harm() {
    let hosts = Hosts::new();
    std::fs::write(hosts.path("greeting"), "Welcome!\nYou have mail.\n")
        .expect("it can be written");
    let ended = hosts.script("a", &[], "echo fine").run();
    expect_good(&ended);
    assert_eq!(ended.output, "[0] fine\n");
}

#[test]
fn the_failing_drone_is_named_with_its_host() {
    let hosts = Hosts::new();
    let ended = hosts
        .script("a,b", &[], "[ $HIVEMIND_RANK = 1 ] && exit 42; sleep 1000")
        .run();
    assert_eq!(ended.status, Some(42));
    assert!(
        ended.error.starts_with("hivemind: drone 1 (pid "),
        "{}",
        ended.error
    );
    assert!(
        ended
            .error
            .ends_with(" on host b) exited with status 42; ending the other drone\n"),
        "{}",
        ended.error
    );
}

#[test]
fn a_second_interruption_kills_the_stubborn_at_once() {
    let hosts = Hosts::new();
    let script = "trap '' TERM INT HUP; echo pid $$; while :; do sleep 0.05; done";
    let mut job = hosts.script("a,b", &[], script).start();
    let drones = pids(&job.lines(2));
    job.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(100));
    job.signal(Signal::INT);
    let ended = job.end();
    assert_eq!(ended.status, Some(130));
    expect_gone(&drones, Duration::from_secs(2));
}

#[test]
fn a_short_stop_of_the_launcher_loses_no_host() {
    let hosts = Hosts::new();
    let mut job = hosts
        .script(
            "a,b",
            &["--silence-limit=1s"],
            "echo pid $$; while ! [ -e $HOME/go ]; do sleep 0.05; done",
        )
        .start();
    let drones = pids(&job.lines(2));
    let launcher = Pid::from_raw(job.pid()).expect("a process");
    // Nobody could continue a launcher of a test, so it takes no notice of SIGTSTP; stopped it is all the same.
    kill_process(launcher, Signal::STOP).expect("it runs");
    std::thread::sleep(Duration::from_millis(300));
    kill_process(launcher, Signal::CONT).expect("it runs");
    std::thread::sleep(Duration::from_millis(700));
    expect_running(&drones);
    for host in ["a", "b"] {
        std::fs::write(hosts.path(host).join("go"), "").expect("it can be written");
    }
    expect_good(&job.end());
}

fn expect_running(drones: &[i32]) {
    for &drone in drones {
        assert!(crate::harness::runs(drone), "drone process {drone} is gone");
    }
}

#[test]
fn a_launcher_that_falls_silent_is_noticed_by_the_hosts() {
    let hosts = Hosts::new();
    let mut job = hosts
        .script(
            "a,b",
            &["--silence-limit=900ms"],
            "echo pid $$; sleep 1000 & wait",
        )
        .start();
    let drones = pids(&job.lines(2));
    let launcher = Pid::from_raw(job.pid()).expect("a process");
    kill_process(launcher, Signal::STOP).expect("it runs");
    expect_gone(&drones, Duration::from_secs(10));
    kill_process(launcher, Signal::CONT).expect("it runs");
    let ended = job.end();
    assert_eq!(ended.status, Some(69), "{}", ended.error);
    assert!(ended.error.contains("was lost: "), "{}", ended.error);
}

#[test]
fn a_killed_launcher_takes_everything_along() {
    let hosts = Hosts::new();
    let script = "echo pid $$; sleep 1000 & echo pid $!; wait";
    let mut job = hosts.script("a:2,b", &[], script).start();
    let drones = pids(&job.lines(6));
    job.signal(Signal::KILL);
    let ended = job.end();
    assert_eq!(ended.status, None);
    expect_gone(&drones, Duration::from_secs(5));
    assert!(ended.left_over.is_empty(), "{:?}", ended.left_over);
    // The agents end on their own, and nobody is left who could wait for them.
    let start = Instant::now();
    while ["a", "b"]
        .iter()
        .any(|host| !hosts.left_on(host).is_empty())
    {
        assert!(start.elapsed() < LIMIT, "{:?}", hosts.left_on("a"));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_there_is_not_copied_again() {
    let hosts = Hosts::new();
    let binary = Path::new(env!("CARGO_BIN_EXE_hivemind"));
    let deploy = |words: &[&str]| {
        let words = [&["deploy", "--hosts", "a,b"], words].concat();
        hosts.on(crate::harness::command_of(binary, &words)).run()
    };
    let program = hosts.path("prog");
    std::fs::write(&program, "#!/bin/sh\necho one\n").expect("it can be written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
        .expect("it can be executed");
    let path = program.display().to_string();
    let first = deploy(&[&path]);
    expect_good(&first);
    assert_eq!(
        first.output.matches("prog copied, 19 B").count(),
        2,
        "{}",
        first.output
    );
    let second = deploy(&[&path]);
    assert_eq!(
        second.output.matches("was there").count(),
        4,
        "{}",
        second.output
    );
    // Another content is another program, and a spoilt copy is no copy.
    std::fs::write(&program, "#!/bin/sh\necho two\n").expect("it can be written");
    assert_eq!(deploy(&[&path]).output.matches("prog copied").count(), 2);
    let ended = hosts.hive(&["--hosts", "a,b", &path]).run();
    assert_eq!(ended.sorted(), ["[0] two", "[1] two"]);
    let cleaned = hosts
        .on(crate::harness::command_of(
            binary,
            &["clean", "--hosts", "a,b"],
        ))
        .run();
    expect_good(&cleaned);
    assert!(
        cleaned.output.contains("a: removed 3 programs"),
        "{}",
        cleaned.output
    );
    assert!(!hosts.path("a").join(".cache/hivemind").exists());
}

#[test]
fn a_spoilt_copy_of_the_command_is_replaced() {
    let hosts = Hosts::new();
    expect_good(&hosts.script("a", &[], "true").run());
    let cache = hosts.path("a").join(".cache/hivemind");
    let mut spoilt = 0;
    for entry in std::fs::read_dir(&cache).expect("a cache").flatten() {
        let path = entry.path().join("hivemind");
        if path.exists() {
            std::fs::write(&path, "#!/bin/sh\nexit 9\n").expect("it can be written");
            spoilt += 1;
        }
    }
    assert_eq!(spoilt, 1);
    expect_good(&hosts.script("a", &[], "true").run());
}

#[test]
fn a_dry_run_tells_the_commands_and_calls_nobody() {
    let hosts = Hosts::new();
    let ended = hosts
        .hive(&[
            "--hosts",
            "ada@a:2,b",
            "--dry-run",
            "sh",
            "-c",
            "touch $HOME/started",
        ])
        .run();
    expect_good(&ended);
    for part in [
        "host a: drones 0, 1",
        "host b: drones 2",
        "-l ada -- a 'exec sh -c",
        "BatchMode=yes",
        "sha256 ",
    ] {
        assert!(ended.output.contains(part), "{} lacks {part}", ended.output);
    }
    assert!(!hosts.path("calls").exists(), "somebody was called");
}

#[test]
fn a_hive_file_says_what_the_command_line_does_not() {
    let hosts = Hosts::new();
    let file = hosts.path("hive.json");
    let text = r#"{"hosts": ["a:2", {"name": "b", "threads": 7}], "threads": 5, "engine": "mprotect", "region": "64M",
                   "timeouts": {"start": "5s"}}"#;
    std::fs::write(&file, text).expect("it can be written");
    let file = file.display().to_string();
    let script = "echo $HIVEMIND_THREADS $HIVEMIND_ENGINE $HIVEMIND_REGION $HIVEMIND_START_TIMEOUT";
    let run = |options: &[&str]| {
        let words = [&["--hive", &file], options, &["sh", "-c", script]].concat();
        let ended = hosts.hive(&words).env("HIVEMIND_REGION", "32M").run();
        expect_good(&ended);
        let lines = ended.sorted();
        lines
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    let wanted = [
        "[0] 5 mprotect 33554432 5s",
        "[1] 5 mprotect 33554432 5s",
        "[2] 7 mprotect 33554432 5s",
    ];
    assert_eq!(run(&[]), wanted);
    assert_eq!(
        run(&["--hosts=b", "--threads=3", "--engine=auto"]),
        ["[0] 3 auto 33554432 5s"]
    );
}

#[test]
fn wrong_files_and_places_are_refused_before_anybody_is_called() {
    let hosts = Hosts::new();
    let file = hosts.path("hive.toml");
    std::fs::write(&file, "hosts = [{ name = \"a\", ports = \"9-8\" }]")
        .expect("it can be written");
    let file = file.display().to_string();
    for (words, part) in [
        (
            ["--hive", &file, "true"].as_slice(),
            "hive.toml: hosts[0].ports: ",
        ),
        (
            &["--hosts=a:2", "-n5", "true"],
            "5 drones have no place on hosts with 2 places",
        ),
        (&["--hosts=-x", "true"], "no name of a host"),
        (
            &["--hosts=a", "--cache=/a b", "true"],
            "the path /a b cannot be used on hosts",
        ),
        (
            &["true"],
            "say how many drones to start by -n N, or on which hosts",
        ),
    ] {
        let ended = hosts.hive(words).run();
        assert_eq!(ended.status, Some(2), "{words:?}: {}", ended.error);
        assert!(ended.error.contains(part), "{words:?}: {}", ended.error);
    }
    assert!(!hosts.path("calls").exists(), "somebody was called");
}

#[test]
fn a_command_that_moved_still_finds_itself() {
    let hosts = Hosts::new();
    let copy = hosts.path("copy");
    std::fs::copy(env!("CARGO_BIN_EXE_hivemind"), &copy).expect("it can be copied");
    let hive = hive_of(&copy, &["--hosts=a", "sh", "-c", "echo fine"]);
    let ended = hosts.on(hive).run();
    expect_good(&ended);
    assert_eq!(ended.output, "[0] fine\n");
}
