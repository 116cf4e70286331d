//! How a host is reached: through the system's own `ssh`, with the user's keys, agent, jump hosts and known
//! hosts. Nothing here weakens how host keys are checked; a question that ssh would ask is a refusal.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::binding::Binding;
use crate::hive_file::HostEntry;
use crate::local::{self, Local};

/// How long ssh may take for a connection, in seconds.
const CONNECT_LIMIT_S: u64 = 15;
/// After so many of its own questions without an answer ssh calls a connection dead.
const UNANSWERED_MAX: u32 = 3;

/// The ssh to use.
#[derive(Clone, Debug)]
pub(crate) struct Ssh {
    /// The command and what stands behind it.
    words: Vec<String>,
    silence_limit: Duration,
}

/// A started ssh: its process, and its standard input, output and error.
pub(crate) type Started = (Local, OwnedFd, OwnedFd, OwnedFd);

impl Ssh {
    /// An ssh by its command line; words are parted by blanks.
    pub(crate) fn new(command: &str, silence_limit: Duration) -> Self {
        Self {
            words: command.split_whitespace().map(str::to_owned).collect(),
            silence_limit,
        }
    }

    /// The command line that runs a script at a host.
    pub(crate) fn command_line(&self, host: &HostEntry, script: &str) -> Vec<String> {
        let alive_s = (self.silence_limit.as_secs() / u64::from(UNANSWERED_MAX)).max(1);
        let options = [
            // Nobody is there to answer questions: what is unknown is refused.
            "BatchMode=yes".to_owned(),
            format!("ConnectTimeout={CONNECT_LIMIT_S}"),
            format!("ServerAliveInterval={alive_s}"),
            format!("ServerAliveCountMax={UNANSWERED_MAX}"),
            // A connection that the user shares is used; ours would outlive us.
            "ControlMaster=no".to_owned(),
            "ClearAllForwardings=yes".to_owned(),
            "RemoteCommand=none".to_owned(),
        ];
        let mut words = self.words.clone();
        words.extend(["-T", "-a", "-x"].map(str::to_owned));
        for option in options {
            words.extend(["-o".to_owned(), option]);
        }
        if let Some(user) = &host.ssh.user {
            words.extend(["-l".to_owned(), user.as_str().to_owned()]);
        }
        if let Some(port) = host.ssh.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        if let Some(key) = &host.ssh.key {
            words.extend(["-i".to_owned(), key.display().to_string()]);
            words.extend(["-o".to_owned(), "IdentitiesOnly=yes".to_owned()]);
        }
        words.extend(["--".to_owned(), host.name.to_string()]);
        // Single quotes mean the same to every shell, as long as none of them, no backslash and no line's end is inside.
        assert!(
            !script.contains(['\'', '\\', '\n']),
            "a script for any shell"
        );
        words.push(format!("exec sh -c '{script}'"));
        words
    }

    /// Starts it, bound to this process's life and to its keeper.
    ///
    /// To be called on a thread that lives as long as the launcher: with it the kernel ends ssh.
    ///
    /// # Errors
    /// The system's refusal to make pipes or a process.
    pub(crate) fn start(
        &self,
        host: &HostEntry,
        script: &str,
        directory: &Path,
    ) -> io::Result<Started> {
        let mut child = local::bound(directory, &Binding::default())
            .args(self.command_line(host, script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let pipe = "the pipe was asked for";
        let (input, output, error) = (
            child.stdin.take().expect(pipe).into(),
            child.stdout.take().expect(pipe).into(),
            child.stderr.take().expect(pipe).into(),
        );
        rustix::io::ioctl_fionbio(&error, true)?;
        Ok((Local::of(child), input, output, error))
    }
}

/// What ssh's complaint means, and what to do about it.
pub(crate) fn explain(host: &HostEntry, complaint: &str, status: Option<i32>) -> String {
    let name = &host.name;
    let has = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
    let remedy = if has(&["IDENTIFICATION HAS CHANGED"]) {
        format!(
            "its host key is not the one in known_hosts; if the host was set up anew, ask who runs it for its new \
             fingerprint, then `ssh-keygen -R {name}` and `ssh {name}` once by hand; if not, somebody may be in between"
        )
    } else if has(&["Host key verification failed", "No matching host key"]) {
        format!(
            "its host key is unknown here; `ssh {name}` once by hand, compare the fingerprint and accept it"
        )
    } else if has(&["Permission denied"]) {
        format!("it accepts none of your keys; `ssh-copy-id {name}` brings yours there")
    } else if has(&["Could not resolve hostname"]) {
        "nobody knows its name; look at its spelling, at `~/.ssh/config` and at DNS".to_owned()
    } else if has(&[
        "Connection refused",
        "timed out",
        "No route to host",
        "Network is unreachable",
    ]) {
        format!(
            "it cannot be reached; see whether it is up, whether sshd runs there, and whether `ssh {name}` works"
        )
    } else if has(&["GLIBC", "error while loading shared libraries"]) {
        "the command cannot run there; build it on the oldest of the hosts".to_owned()
    } else {
        match status {
            Some(255) => format!("ssh gave up; see whether `ssh {name}` works"),
            Some(status) => format!("its shell ended with status {status}"),
            None => "ssh was ended".to_owned(),
        }
    };
    match last_line(complaint) {
        Some(line) => format!("{remedy} ({line})"),
        None => remedy,
    }
}

/// The last line that says something.
fn last_line(text: &str) -> Option<&str> {
    text.lines()
        .map(str::trim)
        .rfind(|line| line.chars().any(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(word: &str) -> HostEntry {
        HostEntry::parse(word).expect("a right word")
    }

    #[test]
    fn ssh_asks_nothing_and_keeps_the_users_host_key_rules() {
        let mut host = entry("ada@node");
        host.ssh.port = Some(2222);
        host.ssh.key = Some("~/.ssh/hive".into());
        let ssh = Ssh::new("ssh -F my.config", Duration::from_secs(30));
        let words = ssh.command_line(&host, "echo hello");
        assert_eq!(words[..3], ["ssh", "-F", "my.config"]);
        let line = words.join(" ");
        for part in [
            "-o BatchMode=yes",
            "-l ada",
            "-p 2222",
            "-i ~/.ssh/hive -o IdentitiesOnly=yes",
            "-- node exec sh -c 'echo hello'",
        ] {
            assert!(line.contains(part), "{line} lacks {part}");
        }
        for part in ["StrictHostKeyChecking", "KnownHosts"] {
            assert!(!line.contains(part), "{line} has {part}");
        }
    }

    #[test]
    fn each_complaint_has_its_remedy() {
        for (complaint, remedy) in [
            ("Host key verification failed.", "compare the fingerprint"),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                "ssh-keygen -R node",
            ),
            (
                "ada@node: Permission denied (publickey).",
                "ssh-copy-id node",
            ),
            (
                "ssh: Could not resolve hostname node: Name or service not known",
                "DNS",
            ),
            (
                "ssh: connect to host node port 22: Connection refused",
                "cannot be reached",
            ),
            ("", "`ssh node` works"),
        ] {
            let said = explain(&entry("node"), complaint, Some(255));
            assert!(said.contains(remedy), "{complaint}: {said}");
        }
        let said = explain(&entry("node"), "bla\n\nlast words\n\n", Some(1));
        assert!(said.ends_with("status 1 (last words)"), "{said}");
    }
}
