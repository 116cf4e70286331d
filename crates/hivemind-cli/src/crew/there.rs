//! The drones of a job on other hosts, each host behind one connection to its agent.
//!
//! Everything that an agent says is passed on as news; what the job wants goes to all agents. A host of which
//! nothing is heard for too long, or whose connection ends, is lost with its drones. Flow of output: an agent
//! sends no more than a window's worth before it hears that something was passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use super::{News, TOKENS, watch};
use crate::ending::Ending;
use crate::hosts::frame::{Frame, PIECE_BYTES_MAX};
use crate::hosts::link::Link;
use crate::hosts::message::{Launch, Order, Word};
use crate::hosts::wire::{Silence, read_message};
use crate::local;
use crate::plan::report_path;

/// How much of the input may be on its way to drone 0.
const INPUT_WINDOW_BYTES: usize = 64 << 10;
/// Signs of life go out so many times within the limit of silence.
const BEATS: u32 = 4;
/// The longest pause between them.
const BEAT_MAX: Duration = Duration::from_secs(5);
/// How long the last words of a good end may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// The launcher's standard input, for the host of drone 0.
const INPUT: u64 = TOKENS - 1;
/// What can be waited for of one host: something comes, something can go, ssh complains.
const COMES: u64 = 0;
const GOES: u64 = 1;
const COMPLAINS: u64 = 2;
const KINDS: u64 = 4;

/// Drones of other hosts.
#[derive(Debug)]
pub(crate) struct There {
    hosts: Vec<Host>,
    /// What each host is to start, until it is started.
    launches: Vec<Launch>,
    drones: u32,
    silence_limit: Duration,
    /// The same wait set that the job waits with.
    epoll: Option<OwnedFd>,
    paused: [bool; 2],
    input: Option<OwnedFd>,
    input_on_its_way: usize,
    input_is_watched: bool,
}

#[derive(Debug)]
struct Host {
    link: Link,
    /// Its drones that have not ended.
    running: BTreeSet<u32>,
    pids: BTreeMap<u32, i32>,
    heard: Instant,
    said: Instant,
    goes_is_watched: bool,
    /// What was passed on of each stream and not yet told.
    owed: [usize; 2],
    /// The beginning of a line of complaint.
    complaint: Vec<u8>,
    lost: bool,
}

impl There {
    /// The drones that these hosts are to start, in a job of so many.
    pub(crate) fn new(
        links: Vec<Link>,
        launches: Vec<Launch>,
        drones: u32,
        silence_limit: Duration,
    ) -> Self {
        let now = Instant::now();
        let host = |link: Link| Host {
            running: link.berth.ranks.iter().copied().collect(),
            link,
            pids: BTreeMap::new(),
            heard: now,
            said: now,
            goes_is_watched: false,
            owed: [0; 2],
            complaint: Vec::new(),
            lost: false,
        };
        Self {
            hosts: links.into_iter().map(host).collect(),
            launches,
            drones,
            silence_limit,
            epoll: None,
            paused: [false; 2],
            input: None,
            input_on_its_way: 0,
            input_is_watched: false,
        }
    }

    /// How many drones there are, once they are started.
    pub(crate) fn count(&self) -> u32 {
        if self.launches.is_empty() {
            self.drones
        } else {
            0
        }
    }

    /// Has all hosts start their drones at once.
    ///
    /// # Errors
    /// The system's refusal of something to wait with.
    pub(crate) fn start(&mut self, epoll: &OwnedFd) -> io::Result<()> {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&from, true)?;
        local::pass_input_on(to);
        self.input = Some(from);
        self.epoll = Some(epoll.try_clone()?);
        for (place, host) in self.hosts.iter_mut().enumerate() {
            // What a host printed while it was asked, such as a greeting, is no news.
            host.link.read_complaint();
            watch(epoll, host.link.wire.input(), token(place, COMES))?;
            watch(epoll, &host.link.errors, token(place, COMPLAINS))?;
        }
        for (place, launch) in std::mem::take(&mut self.launches).into_iter().enumerate() {
            self.hosts[place].heard = Instant::now();
            self.say(place, &Order::Launch(Box::new(launch)));
        }
        self.balance_input();
        Ok(())
    }

    /// Something happened to what has this token.
    pub(crate) fn hear(&mut self, token: u64, news: &mut Vec<News>) {
        if token == INPUT {
            return self.pass_input();
        }
        let place = (token / KINDS) as usize;
        if self.hosts[place].lost {
            return;
        }
        match token % KINDS {
            COMES => self.listen(place, news),
            GOES => self.hosts[place].link.wire.flush(),
            _ => self.hosts[place].read_complaint(self.epoll.as_ref(), news),
        }
        self.balance_output(place);
    }

    fn listen(&mut self, place: usize, news: &mut Vec<News>) {
        self.hosts[place].link.wire.read();
        loop {
            let why = match self.hosts[place].link.wire.frame() {
                Ok(None) => return,
                Ok(Some(frame)) => {
                    self.hosts[place].heard = Instant::now();
                    match self.take_in(place, frame, news) {
                        Ok(()) => continue,
                        Err(why) => why,
                    }
                }
                Err(Silence::Nonsense(why)) => why,
                Err(_) => self.why_it_ended(place, news),
            };
            return self.lose(place, why, news);
        }
    }

    /// Takes in what an agent says.
    ///
    /// # Errors
    /// Why the host is lost by that.
    fn take_in(&mut self, place: usize, frame: Frame, news: &mut Vec<News>) -> Result<(), String> {
        let host = &mut self.hosts[place];
        match frame {
            Frame::Printed {
                drone,
                stream,
                bytes,
            } => {
                host.expect_own(drone)?;
                host.owed[stream] += bytes.len();
                news.push(News::Printed {
                    drone,
                    stream,
                    bytes,
                });
                self.pay(place);
                return Ok(());
            }
            Frame::Message(text) => match read_message(&text)? {
                Word::Closed { drone, stream } if stream <= 1 => {
                    host.expect_own(drone)?;
                    news.push(News::Closed { drone, stream });
                }
                Word::Ended { drone, pid, ending } => {
                    host.expect_own(drone)?;
                    if host.running.remove(&drone) {
                        news.push(News::Ended {
                            drone,
                            pid,
                            host: Some(host.link.name.clone()),
                            ending,
                        });
                    }
                }
                Word::Process { drone, pid } => {
                    host.expect_own(drone)?;
                    host.pids.insert(drone, pid);
                }
                Word::Root(address) if host.link.berth.ranks.contains(&0) => {
                    for other in 0..self.hosts.len() {
                        if other != place {
                            self.say(other, &Order::Root(address.clone()));
                        }
                    }
                }
                Word::InputTaken(bytes) => {
                    self.input_on_its_way = self.input_on_its_way.saturating_sub(bytes);
                    self.balance_input();
                }
                Word::Started | Word::Alive => {}
                Word::Refused(why) => return Err(why),
                _ => return Err("its agent says something out of turn".into()),
            },
            _ => return Err("its agent sends something out of turn".into()),
        }
        Ok(())
    }

    /// Tells an agent what was passed on of its output, but for streams that nobody takes.
    fn pay(&mut self, place: usize) {
        for stream in 0..2 {
            let bytes = self.hosts[place].owed[stream];
            if bytes > 0 && !self.paused[stream] {
                self.hosts[place].owed[stream] = 0;
                self.say(place, &Order::Passed { stream, bytes });
            }
        }
    }

    fn why_it_ended(&mut self, place: usize, news: &mut Vec<News>) -> String {
        let host = &mut self.hosts[place];
        let status = host.link.await_end(Duration::from_millis(200));
        host.read_complaint(self.epoll.as_ref(), news);
        match status {
            Some(Ending::Exited(255)) => "ssh lost the connection".into(),
            // As a shell tells a signal, and sshd one's own.
            Some(Ending::Exited(status)) if status > 128 => {
                format!("its agent was killed by signal {}", status - 128)
            }
            Some(Ending::Exited(status)) => format!("its agent ended with status {status}"),
            _ => "its connection ended".into(),
        }
    }

    /// The host is lost, and its drones with it: nobody can know more of them.
    fn lose(&mut self, place: usize, why: String, news: &mut Vec<News>) {
        let host = &mut self.hosts[place];
        host.lost = true;
        host.running.clear();
        host.link.end();
        if let Some(epoll) = &self.epoll {
            let _ = epoll::delete(epoll, host.link.wire.input());
            let _ = epoll::delete(epoll, &host.link.errors);
            if host.goes_is_watched {
                let _ = epoll::delete(epoll, host.link.wire.output());
            }
        }
        news.push(News::HostLost {
            host: host.link.name.clone(),
            why,
            drones: host.link.berth.ranks.clone(),
        });
    }

    /// When a sign of life is due, ours or a host's.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = |host: &Host| {
            let silent = host.heard + self.silence_limit;
            silent.min(host.said + self.beat())
        };
        self.hosts.iter().filter(|host| !host.lost).map(due).min()
    }

    /// Gives signs of life, and notices who gives none.
    pub(crate) fn look_at_clock(&mut self, now: Instant, news: &mut Vec<News>) {
        for place in 0..self.hosts.len() {
            let host = &self.hosts[place];
            if host.lost {
                continue;
            }
            if now >= host.heard + self.silence_limit {
                let why = format!("nothing is heard from it for {:.1?}", self.silence_limit);
                self.lose(place, why, news);
            } else if now >= host.said + self.beat() {
                self.say(place, &Order::Alive);
            }
        }
    }

    fn beat(&self) -> Duration {
        (self.silence_limit / BEATS).min(BEAT_MAX)
    }

    /// Sends a signal to all drones and all that they have started.
    pub(crate) fn signal_all(&mut self, signal: Signal) {
        for place in 0..self.hosts.len() {
            if signal == Signal::CONT {
                // We may have been stopped for long, and heard nobody.
                self.hosts[place].heard = Instant::now();
            }
            self.say(place, &Order::Signal(signal.as_raw()));
        }
    }

    /// Lets drones wait that write to this stream, or go on.
    pub(crate) fn pause(&mut self, stream: usize, pause: bool) {
        self.paused[stream] = pause;
        for place in 0..self.hosts.len() {
            self.pay(place);
        }
    }

    /// A drone as a sentence names it: its number, its process and its host.
    pub(crate) fn name(&self, drone: u32) -> String {
        let found = self
            .hosts
            .iter()
            .find(|host| host.link.berth.ranks.contains(&drone));
        found.map_or_else(
            || drone.to_string(),
            |host| match host.pids.get(&drone) {
                Some(pid) => format!("{drone} (pid {pid} on host {})", host.link.name),
                None => format!("{drone} (on host {})", host.link.name),
            },
        )
    }

    /// Has the agents bury their drones and end, and keeps what the drones counted.
    pub(crate) fn bury(&mut self, directory: &Path) {
        for place in 0..self.hosts.len() {
            self.say(place, &Order::Finish);
        }
        let until = Instant::now() + FAREWELL;
        for host in self.hosts.drain(..) {
            let mut link = host.link;
            if !host.lost {
                collect_reports(&mut link, directory, until);
                link.await_end(until.saturating_duration_since(Instant::now()));
            }
            link.bury();
        }
    }

    fn say(&mut self, place: usize, order: &Order) {
        let host = &mut self.hosts[place];
        if host.lost {
            return;
        }
        host.said = Instant::now();
        host.link.wire.say(order);
        self.balance_output(place);
    }

    /// Waits for a host to take what is queued for it, as long as something is.
    fn balance_output(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        let queued = host.link.wire.queued_bytes() > 0;
        let Some(epoll) = self
            .epoll
            .as_ref()
            .filter(|_| !host.lost && queued != host.goes_is_watched)
        else {
            return;
        };
        host.goes_is_watched = queued;
        let output = host.link.wire.output().as_fd();
        let changed = if queued {
            let data = epoll::EventData::new_u64(token(place, GOES));
            epoll::add(epoll, output, data, epoll::EventFlags::OUT)
        } else {
            epoll::delete(epoll, output)
        };
        changed.expect("an open pipe can be watched");
    }

    // The input of drone 0.

    /// Passes on what came, as much as may be on its way.
    fn pass_input(&mut self) {
        let Some(input) = &self.input else { return };
        let Some(place) = self
            .hosts
            .iter()
            .position(|host| host.link.berth.ranks.contains(&0))
        else {
            return;
        };
        let room = INPUT_WINDOW_BYTES.saturating_sub(self.input_on_its_way);
        let mut bytes = vec![0; room.min(PIECE_BYTES_MAX)];
        match rustix::io::read(input, &mut bytes) {
            Ok(length @ 1..) => {
                bytes.truncate(length);
                self.input_on_its_way += length;
                if !self.hosts[place].lost {
                    self.hosts[place].link.wire.send(&Frame::Input(bytes));
                    self.balance_output(place);
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(_) | Err(_) => {
                self.input = None;
                self.input_is_watched = false;
                self.say(place, &Order::InputEnds);
            }
        }
        self.balance_input();
    }

    fn balance_input(&mut self) {
        let (Some(input), Some(epoll)) = (&self.input, &self.epoll) else {
            return;
        };
        let wanted = self.input_on_its_way < INPUT_WINDOW_BYTES;
        if wanted == self.input_is_watched {
            return;
        }
        self.input_is_watched = wanted;
        let changed = if wanted {
            watch(epoll, input, INPUT)
        } else {
            epoll::delete(epoll, input)
        };
        changed.expect("an open pipe can be watched");
    }
}

impl Host {
    fn expect_own(&self, drone: u32) -> Result<(), String> {
        if self.link.berth.ranks.contains(&drone) {
            Ok(())
        } else {
            Err(format!(
                "its agent speaks for drone {drone}, which isn't there"
            ))
        }
    }

    /// Passes on whole lines of what ssh and the agent print.
    fn read_complaint(&mut self, epoll: Option<&OwnedFd>, news: &mut Vec<News>) {
        let (new, open) = self.link.read_complaint();
        if let Some(epoll) = epoll.filter(|_| !open) {
            // An end stays readable for ever.
            let _ = epoll::delete(epoll, &self.link.errors);
        }
        self.complaint.extend_from_slice(&new);
        while let Some(end) = self.complaint.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.complaint.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            if !line.is_empty() {
                news.push(News::Said {
                    who: format!("host {}", self.link.name).into(),
                    line,
                });
            }
        }
    }
}

/// Hears an agent's last words.
fn collect_reports(link: &mut Link, directory: &Path, until: Instant) {
    loop {
        match link.wire.await_frame(until) {
            Ok(Frame::Message(text)) => match read_message(&text) {
                Ok(Word::Report { drone, text }) if link.berth.ranks.contains(&drone) => {
                    // Without its report the drone is named as one that left none.
                    let _ = std::fs::write(report_path(directory, drone), text);
                }
                Ok(Word::Finished) | Err(_) => return,
                Ok(_) => {}
            },
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn token(place: usize, kind: u64) -> u64 {
    KINDS * place as u64 + kind
}
