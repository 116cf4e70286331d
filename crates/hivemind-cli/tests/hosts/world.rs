//! Four hosts and a desk on one machine. Each is a process with namespaces of its own (network, mounts, processes,
//! name); when that process ends, the kernel ends everything in it and takes the namespaces away.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No test waits longer than this for anything; a busy machine takes its time.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// The hosts' names.
pub(crate) const HOSTS: [&str; 4] = ["ann", "bob", "cid", "dot"];

/// Where the desk sees the folder of built programs.
pub(crate) const BINARIES: &str = "/mnt/bin";

/// One world at a time: the machine is small and the tests look at what is left behind.
static TURN: Mutex<()> = Mutex::new(());

/// The desk and the hosts.
pub(crate) struct World {
    pub(crate) desk: Place,
    hosts: BTreeMap<&'static str, Place>,
    _turn: MutexGuard<'static, ()>,
}

/// One machine of the world.
pub(crate) struct Place {
    /// `unshare`, which waits for the first process of the place and takes it along.
    parent: Child,
    /// That first process, as the test sees it.
    first: u32,
}

/// A command that runs at the desk.
pub(crate) struct Running {
    child: Child,
    texts: [Arc<Mutex<Vec<u8>>>; 2],
    readers: Vec<JoinHandle<()>>,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) output: String,
    pub(crate) error: String,
}

/// A world, or none where this machine forbids it; the reason is printed.
pub(crate) fn world(test: &str) -> Option<World> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(why) = is_possible() {
        println!("skipped: {test}: {why}");
        return None;
    }
    Some(World::new(turn))
}

fn is_possible() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("namespaces with a real sshd need root".into());
    }
    let found = |path: &str| Path::new(path).exists();
    for (program, package) in [
        (["/usr/sbin/sshd", "/sbin/sshd"], "openssh-server"),
        (["/usr/bin/ssh", "/bin/ssh"], "openssh-client"),
        (["/usr/sbin/ip", "/sbin/ip"], "iproute2"),
    ] {
        if !program.iter().any(|path| found(path)) {
            return Err(format!(
                "no {package} here; `cargo xtask test` as root installs it"
            ));
        }
    }
    let tried = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--fork",
            "--mount-proc",
        ])
        .args(["sh", "-c", "ip link add probe type bridge"])
        .output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "this machine forbids namespaces: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("no unshare here: {error}")),
    }
}

/// The folder of built programs. What isn't there yet is built.
fn folder() -> PathBuf {
    let command = Path::new(env!("CARGO_BIN_EXE_hivemind"));
    let folder = command.parent().expect("a program lies in a folder");
    if !folder.join("torture").exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--quiet",
            "--package",
            "apps",
            "--bins",
            "--target-dir",
        ]);
        cargo.arg(folder.parent().expect("in a target folder"));
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(
            cargo.status().expect("cargo starts").success(),
            "no programs"
        );
    }
    folder.to_owned()
}

impl World {
    fn new(turn: MutexGuard<'static, ()>) -> Self {
        let folder = folder();
        // The desk sees the programs; a host sees only what is brought to it.
        let desk = Place::new(&format!(
            "mount -t tmpfs none /mnt && mkdir {BINARIES} && mount --bind '{}' {BINARIES}",
            folder.display()
        ));
        desk.net("ip link add hive type bridge && ip address add 10.42.0.254/24 dev hive && ip link set hive up");
        desk.sh(
            "mkdir -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519",
        );
        let key = desk.sh("cat /root/.ssh/id_ed25519.pub");
        let mut hosts = BTreeMap::new();
        let (mut names, mut known) = (String::new(), String::new());
        for (number, name) in (1..).zip(HOSTS) {
            let host = Place::new(&format!("hostname {name}"));
            let address = format!("10.42.0.{number}");
            desk.net(&format!(
                "ip link add {name} type veth peer name eth0 netns {} && ip link set {name} master hive up",
                host.first
            ));
            host.net(&format!(
                "ip address add {address}/24 dev eth0 && ip link set eth0 up"
            ));
            host.write("/root/.ssh/authorized_keys", &key);
            host.write("/root/sshd_config", SSHD_CONFIG);
            host.sh("ssh-keygen -q -t ed25519 -N '' -f /root/host_key && /usr/sbin/sshd -f /root/sshd_config");
            let host_key = host.sh("cut -d' ' -f1,2 /root/host_key.pub");
            known += &format!("{name},{address} {host_key}");
            names += &format!("{address} {name}\n");
            hosts.insert(name, host);
        }
        // A name for which nobody answers.
        names += "10.42.0.99 nobody\n";
        desk.write("/root/.ssh/known_hosts", &known);
        desk.write("/mnt/hosts", &format!("127.0.0.1 localhost\n{names}"));
        desk.sh("mount --bind /mnt/hosts /etc/hosts");
        Self {
            desk,
            hosts,
            _turn: turn,
        }
    }

    /// One host.
    pub(crate) fn host(&self, name: &str) -> &Place {
        &self.hosts[name]
    }

    /// Has the command, these programs and one key of the user's everywhere, as on a shared file system, and all hosts
    /// know each other's names.
    pub(crate) fn share(&self, programs: &[&str]) {
        let folder = folder();
        self.desk.sh(
            "mkdir -p -m 700 /root/.config/hivemind && cd /root/.config/hivemind && umask 077 && \
                      od -An -vtx1 -N32 /dev/urandom | tr -d ' \\n' > key && echo >> key",
        );
        let key = self.desk.sh("cat /root/.config/hivemind/key");
        let names = self.desk.sh("cat /etc/hosts");
        for place in std::iter::once(&self.desk).chain(self.hosts.values()) {
            place.write("/root/.config/hivemind/key", &key);
            place.write("/root/hosts", &names);
            place.sh(
                "chmod 600 /root/.config/hivemind/key && mkdir -p /root/bin && mount --bind /root/hosts /etc/hosts",
            );
            for program in programs.iter().chain(&["hivemind"]) {
                let copy = format!("/proc/{}/root/root/bin/{program}", place.first);
                std::fs::copy(folder.join(program), copy).expect("a program can be copied");
            }
        }
    }

    /// Waits until no process is left anywhere whose command line has this word.
    pub(crate) fn expect_none_of(&self, word: &str) {
        let start = Instant::now();
        for place in std::iter::once(&self.desk).chain(self.hosts.values()) {
            while place.processes().iter().any(|line| line.contains(word)) {
                assert!(start.elapsed() < LIMIT, "{:?}", place.processes());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Runs `hivemind` with these words at the desk.
    pub(crate) fn hive(&self, words: &str) -> Ended {
        self.start(words).end()
    }

    /// Starts `hivemind` with these words at the desk.
    pub(crate) fn start(&self, words: &str) -> Running {
        self.desk.start(&format!(
            "cd /root; echo $$ >> /mnt/launchers; exec {BINARIES}/hivemind {words}"
        ))
    }

    /// Sends a signal to the launcher that was started last.
    pub(crate) fn signal_launcher(&self, signal: &str) {
        self.desk
            .sh(&format!("kill -{signal} $(tail -n 1 /mnt/launchers)"));
    }

    /// Cuts a host off.
    pub(crate) fn cut_off(&self, name: &str) {
        self.desk.net(&format!("ip link set {name} down"));
    }

    /// Waits until nothing of any job is left at the desk and on these hosts: no process, no file.
    pub(crate) fn expect_nothing_left(&self, hosts: &[&str]) {
        let hosts = hosts.iter().map(|&name| (name, self.host(name)));
        for (name, place) in std::iter::once(("the desk", &self.desk)).chain(hosts) {
            place.expect_nothing_left(name);
        }
    }
}

const SSHD_CONFIG: &str = "\
HostKey /root/host_key
AuthorizedKeysFile /root/.ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
MaxStartups 100
";

/// Lists processes that are not the place's own, one a line.
const PROCESSES: &str = "\
for p in /proc/[0-9]*; do
    case $(cat $p/stat 2>/dev/null) in ''|*') Z '*) continue;; esac
    line=$(tr '\\0' ' ' < $p/cmdline 2>/dev/null)
    case $line in
        ''|'sleep 1000000 '|*'[listener]'*|*'for p in /proc'*|*'# first process'*) ;;
        *) echo \"$line\";;
    esac
done";

/// Lists files that a job leaves while it runs.
const FILES: &str = "\
ls -d /dev/shm/hivemind-* /tmp/hivemind-* /run/hivemind-* 2>/dev/null
find /root/.cache/hivemind -name 'new.*' 2>/dev/null
true";

impl Place {
    /// A place with empty directories where a job could leave something. `setup` comes first.
    fn new(setup: &str) -> Self {
        let script = format!(
            "{setup} && for d in /root /tmp /run /dev/shm; do mount -t tmpfs -o mode=700 none $d || exit 1; done && \
             mkdir /run/sshd && ip link set lo up && echo ready; sleep 1000000 & wait # first process"
        );
        let mut parent = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "--ipc", "--pid", "--fork"])
            .args(["--kill-child=KILL", "--mount-proc", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut ready = [0; 6];
        let output = parent.stdout.as_mut().expect("a pipe");
        output.read_exact(&mut ready).expect("the place is set up");
        let children = format!("/proc/{0}/task/{0}/children", parent.id());
        let children = std::fs::read_to_string(children).expect("it has a child");
        let first = children.trim().parse().expect("one child");
        Self { parent, first }
    }

    /// Runs a script there, which must go well. Gives what it printed.
    pub(crate) fn sh(&self, script: &str) -> String {
        let ended = self.try_sh(script);
        assert_eq!(ended.status, Some(0), "{script}: {ended:?}");
        ended.output
    }

    /// Runs a script there.
    pub(crate) fn try_sh(&self, script: &str) -> Ended {
        self.start(script).end()
    }

    /// Starts a script there.
    pub(crate) fn start(&self, script: &str) -> Running {
        Running::new(self.enter(&["--all"], script))
    }

    /// Runs a script in its network, but with the processes of the test.
    fn net(&self, script: &str) {
        let ended = Running::new(self.enter(&["--net"], script)).end();
        assert_eq!(ended.status, Some(0), "{script}: {ended:?}");
    }

    /// Writes a file there.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let mut command = self.enter(
            &["--all"],
            &format!("mkdir -p -m 700 $(dirname {path}) && cat > {path}"),
        );
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(text.as_bytes()).expect("it is read");
        drop(input);
        assert!(child.wait().expect("it ends").success(), "{path}");
    }

    fn enter(&self, namespaces: &[&str], script: &str) -> Command {
        let mut command = Command::new("nsenter");
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("HIVEMIND_") || name.starts_with("XDG_") || name.starts_with("SSH_")
            {
                command.env_remove(name.as_ref());
            }
        }
        command
            .args(["--target", &self.first.to_string()])
            .args(namespaces)
            .args(["sh", "-c", script])
            .env("HOME", "/root")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        command
    }

    /// What runs there besides sshd.
    pub(crate) fn processes(&self) -> Vec<String> {
        self.sh(PROCESSES).lines().map(str::to_owned).collect()
    }

    /// Waits until neither a process nor a file of a job is there.
    pub(crate) fn expect_nothing_left(&self, name: &str) {
        let start = Instant::now();
        loop {
            let processes = self.processes();
            let files = self.sh(FILES);
            if processes.is_empty() && files.is_empty() {
                return;
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{name} still has {processes:?} and {files}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // With it the kernel ends the first process, and with that all others.
        let _ = self.parent.kill();
        let _ = self.parent.wait();
    }
}

impl Running {
    fn new(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nsenter starts");
        let (output, one) = collect(child.stdout.take().expect("a pipe"));
        let (error, other) = collect(child.stderr.take().expect("a pipe"));
        Self {
            child,
            texts: [output, error],
            readers: vec![one, other],
        }
    }

    /// Waits until so many lines stand on standard output, and gives them sorted.
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        let start = Instant::now();
        loop {
            let text = self.text(0);
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            if lines.len() >= count && text.ends_with('\n') {
                lines.sort_unstable();
                return lines;
            }
            assert!(start.elapsed() < LIMIT, "only {text}; {}", self.text(1));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end, which must come in time.
    pub(crate) fn end(mut self) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status.code();
            }
            if start.elapsed() > LIMIT {
                let _ = self.child.kill();
                panic!("it hangs, after {} and {}", self.text(0), self.text(1));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        while !self.readers.iter().all(JoinHandle::is_finished) {
            assert!(start.elapsed() < LIMIT, "somebody still holds its output");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ended {
            status,
            output: self.text(0),
            error: self.text(1),
        }
    }

    fn text(&self, stream: usize) -> String {
        String::from_utf8_lossy(&self.texts[stream].lock().expect("no reader panics")).into_owned()
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(Vec::new()));
    let growing = Arc::clone(&text);
    let reader = std::thread::spawn(move || {
        let mut piece = vec![0; 64 << 10];
        while let Ok(length @ 1..) = pipe.read(&mut piece) {
            let mut text = growing.lock().expect("no reader panics");
            text.extend_from_slice(&piece[..length]);
        }
    });
    (text, reader)
}
