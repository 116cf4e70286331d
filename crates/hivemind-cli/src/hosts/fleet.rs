//! All hosts of a job before it starts: they are reached, asked and supplied at once, and either all can take
//! part or nothing starts.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::boot::{Agent, Booted};
use super::link::Link;
use super::message::{Answer, Order, Program, Question, Word};
use super::ssh::Ssh;
use crate::ending::of_signal;
use crate::limits;
use crate::placement::Berth;
use crate::run::refused;
use crate::signals::{Request, Signals};
use crate::trouble::{HOSTS, Trouble};

/// How often somebody's wish to end is looked for while hosts are asked.
const LOOK: Duration = Duration::from_millis(20);

/// Hosts that an agent runs on.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) links: Vec<Link>,
    /// What came of booting each.
    pub(crate) booted: Vec<Booted>,
    patience: Duration,
    /// What didn't happen when a host can't take part.
    outcome: &'static str,
}

/// A program that hosts are to have.
#[derive(Debug)]
pub(crate) struct Cargo {
    /// Its file here.
    pub(crate) path: PathBuf,
    pub(crate) program: Program,
}

/// What hosts are to be asked, beyond what differs from one to the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs<'a> {
    pub(crate) cargo: &'a [Cargo],
    pub(crate) region_bytes: Option<u64>,
    /// Whether drones run at all.
    pub(crate) runs: bool,
}

impl Fleet {
    /// Starts an ssh to each host; nothing is awaited yet. `directory` is the launcher's own private one, `outcome` says
    /// what didn't happen when a host can't take part.
    ///
    /// To be called on a thread that lives as long as the launcher.
    ///
    /// # Errors
    /// The system's refusal.
    pub(crate) fn set_out(
        berths: Vec<Berth>,
        ssh: &Ssh,
        agent: &Agent,
        directory: &Path,
        patience: Duration,
        outcome: &'static str,
    ) -> Result<Self, Trouble> {
        limits::check_hosts(berths.len())?;
        let mut links = Vec::new();
        for berth in berths {
            let script = agent.script(berth.host.cache.as_deref())?;
            let link = Link::start(ssh, berth, &script, directory)
                .map_err(|error| refused("ssh", &error))?;
            links.push(link);
        }
        Ok(Self {
            links,
            booted: Vec::new(),
            patience,
            outcome,
        })
    }

    /// Gets an agent running on each host.
    ///
    /// # Errors
    /// All hosts that can't take part, each with its reason and a remedy.
    pub(crate) fn boot_all(&mut self, agent: &Agent, signals: &mut Signals) -> Result<(), Trouble> {
        let patience = self.patience;
        self.booted = self.each(signals, |_, link| link.boot(agent, patience))?;
        Ok(())
    }

    /// Gets an agent running on those hosts that can be reached, and leaves the others behind: gives them, each with its
    /// reason and a remedy.
    ///
    /// # Errors
    /// Somebody wants it all to end.
    pub(crate) fn boot_some(
        &mut self,
        agent: &Agent,
        signals: &mut Signals,
    ) -> Result<Vec<(String, String)>, Trouble> {
        let patience = self.patience;
        let tried = self.attempt(signals, |_, link| link.boot(agent, patience))?;
        let mut missing = Vec::new();
        for (link, tried) in std::mem::take(&mut self.links).into_iter().zip(tried) {
            match tried {
                Ok(booted) => {
                    self.booted.push(booted);
                    self.links.push(link);
                }
                Err(why) => {
                    missing.push((link.name.to_string(), why));
                    link.bury();
                }
            }
        }
        Ok(missing)
    }

    /// Asks all hosts whether the job could run there.
    ///
    /// # Errors
    /// All hosts where it couldn't, each with its reasons and remedies.
    pub(crate) fn check(
        &mut self,
        needs: Needs<'_>,
        signals: &mut Signals,
    ) -> Result<Vec<Answer>, Trouble> {
        let patience = self.patience;
        let several = self.links.len() > 1;
        let answers = self.each(signals, |_, link| {
            let address = match &link.berth.host.address {
                Some(address) => Some(resolve(address.as_str())?),
                None => None,
            };
            let question = Question {
                programs: needs
                    .cargo
                    .iter()
                    .map(|cargo| cargo.program.clone())
                    .collect(),
                drones: if needs.runs {
                    link.berth.ranks.len() as u32
                } else {
                    0
                },
                region_bytes: needs.region_bytes,
                address,
                ports: link.berth.host.ports,
                is_called: several && needs.runs,
                directory: link.berth.host.directory.clone().filter(|_| needs.runs),
            };
            link.wire.say(&Order::Check(question));
            match link.await_word(patience)? {
                Word::Checked(answer) if answer.complaints.is_empty() => Ok(answer),
                Word::Checked(answer) => Err(answer.complaints.join("; ")),
                _ => Err("its agent says something out of turn".into()),
            }
        })?;
        self.expect_meeting(&answers)?;
        for (link, answer) in self.links.iter().zip(&answers) {
            for warning in &answer.warnings {
                eprintln!("hivemind: warning: host {}: {warning}", link.name);
            }
        }
        Ok(answers)
    }

    /// A host that others would call at their own loopback is not reached.
    fn expect_meeting(&self, answers: &[Answer]) -> Result<(), Trouble> {
        let is_loopback =
            |answer: &&Answer| answer.address.is_some_and(|address| address.is_loopback());
        let loopbacks = answers.iter().filter(is_loopback).count();
        if loopbacks == 0 || loopbacks == answers.len() {
            return Ok(());
        }
        let failures = self.links.iter().zip(answers);
        let failures = failures
            .filter(|(_, answer)| is_loopback(answer))
            .map(|(link, _)| {
                let why = "ssh reaches it at its loopback, where no other host does; give it an `address` in a hive file, \
                           or call it by a name that the others know";
                (link.name.to_string(), why.to_owned())
            });
        Err(self.failed(failures.collect()))
    }

    /// Brings the programs to hosts that lack them, and has all hosts look whether they could run. Gives how many
    /// bytes went to each.
    ///
    /// # Errors
    /// All hosts where it didn't go well, each with its reasons and remedies.
    pub(crate) fn supply(
        &mut self,
        cargo: &[Cargo],
        answers: &[Answer],
        signals: &mut Signals,
    ) -> Result<Vec<u64>, Trouble> {
        let patience = self.patience;
        self.each(signals, |place, link| {
            let mut bytes = 0;
            for (number, Cargo { path, program }) in cargo.iter().enumerate() {
                if answers[place].missing.contains(&number) {
                    link.store(program, path, patience)?;
                    bytes += program.bytes;
                } else {
                    link.find(program, patience)?;
                }
            }
            Ok(bytes)
        })
    }

    /// Does something with all hosts at once.
    ///
    /// # Errors
    /// All hosts where it failed; or somebody wants it all to end.
    pub(crate) fn each<T: Send>(
        &mut self,
        signals: &mut Signals,
        work: impl Fn(usize, &mut Link) -> Result<T, String> + Sync,
    ) -> Result<Vec<T>, Trouble> {
        let mut good = Vec::new();
        let mut failures = Vec::new();
        for (place, result) in self.attempt(signals, work)?.into_iter().enumerate() {
            match result {
                Ok(result) => good.push(result),
                Err(why) => failures.push((self.links[place].name.to_string(), why)),
            }
        }
        if failures.is_empty() {
            Ok(good)
        } else {
            Err(self.failed(failures))
        }
    }

    /// The same, and gives what came of it at each.
    ///
    /// # Errors
    /// Somebody wants it all to end.
    pub(crate) fn attempt<T: Send>(
        &mut self,
        signals: &mut Signals,
        work: impl Fn(usize, &mut Link) -> Result<T, String> + Sync,
    ) -> Result<Vec<Result<T, String>>, Trouble> {
        let count = self.links.len();
        let processes: Vec<_> = self.links.iter().map(Link::ender).collect();
        let mut results: Vec<Option<Result<T, String>>> = (0..count).map(|_| None).collect();
        let mut interrupted = None;
        std::thread::scope(|scope| -> io::Result<()> {
            let (sender, receiver) = channel();
            for (place, link) in self.links.iter_mut().enumerate() {
                let (sender, work) = (sender.clone(), &work);
                std::thread::Builder::new()
                    .name("host".into())
                    .spawn_scoped(scope, move || {
                        // Nobody stops listening before all have spoken.
                        let _ = sender.send((place, work(place, link)));
                    })?;
            }
            drop(sender);
            loop {
                match receiver.recv_timeout(LOOK) {
                    Ok((place, result)) => results[place] = Some(result),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
                let wish = signals
                    .take()
                    .into_iter()
                    .find_map(|request| match request {
                        Request::End(signal) => Some(signal),
                        _ => None,
                    });
                if let Some(signal) = wish {
                    interrupted = Some(signal);
                    // The work ends with its connections.
                    processes.iter().for_each(|end| end());
                }
            }
        })
        .map_err(|error| refused("a thread for each host", &error))?;
        if let Some(signal) = interrupted {
            return Err(Trouble::new(
                of_signal(signal),
                "interrupted before anything started",
            ));
        }
        let results = results.into_iter();
        Ok(results
            .map(|result| result.unwrap_or_else(|| Err("nobody looked after it".into())))
            .collect())
    }

    fn failed(&self, failures: Vec<(String, String)>) -> Trouble {
        let lines: Vec<String> = failures
            .iter()
            .map(|(host, why)| format!("host {host}: {why}"))
            .collect();
        let message = match &lines[..] {
            [line] => format!("{line}; {}", self.outcome),
            lines => format!(
                "{} of {} hosts cannot take part; {}\n  {}",
                lines.len(),
                self.links.len(),
                self.outcome,
                lines.join("\n  ")
            ),
        };
        Trouble::new(HOSTS, message)
    }

    /// Ends all connections, and with them the agents.
    pub(crate) fn dismiss(mut self) {
        for link in &mut self.links {
            link.wire.say(&Order::Finish);
        }
        for link in self.links.drain(..) {
            link.await_end(Duration::from_secs(1));
            link.bury();
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for link in self.links.drain(..) {
            link.bury();
        }
    }
}

/// The address that a name stands for, as this machine knows it.
///
/// # Errors
/// The name is not known here.
pub(crate) fn resolve(name: &str) -> Result<IpAddr, String> {
    let found = (name, 0)
        .to_socket_addrs()
        .map_err(|error| format!("its address {name} is not known here: {error}"))?
        .next();
    found
        .map(|address| address.ip())
        .ok_or_else(|| format!("its address {name} stands for nothing"))
}
