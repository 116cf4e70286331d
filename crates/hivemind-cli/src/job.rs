//! The life of a job: starts the drones, passes on what they print, notices how they end, and ends them all
//! when one fails or when somebody wants it so.
//!
//! One thread waits for everything at once: pipes, signals, and the output that moves on. Who is to blame is
//! decided in `ending`, what lines look like in `lines`; only the order of events and the deadlines are here.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::process::Signal;
use signal_hook::consts::SIGPIPE;

use crate::console::{Console, ERROR, OUTPUT};
use crate::crew::{Crew, News, watch};
use crate::ending::{Culprit, Ending, Inquiry, Who, of_signal, sentence_of_signal};
use crate::options::Color;
use crate::run::refused;
use crate::signals::{Request, Signals, can_be_continued, stop_self};
use crate::trouble::{self, Trouble};

// All ends within two seconds: a failure is seen, the others get the grace and then SIGTERM, the stubborn
// SIGKILL, and what still hangs in the pipes is read.

/// How long others may say what they saw when a drone failed, and be found to be the cause.
const GRACE: Duration = Duration::from_millis(250);
/// How long after SIGTERM comes SIGKILL.
const PATIENCE: Duration = Duration::from_millis(1000);
/// How long what drones left running may go on printing after a good end, before it is ended.
const AFTERGLOW: Duration = Duration::from_millis(1000);
/// The same after a bad end, and for what escaped its process group.
const AFTERGLOW_SHORT: Duration = Duration::from_millis(100);
/// How long after an interruption the output may take that nobody reads.
const OUTPUT_WAIT: Duration = Duration::from_millis(300);

const SIGNALS: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;

/// A running job.
#[derive(Debug)]
pub(crate) struct Job {
    crew: Crew,
    /// The job's private directory.
    directory: PathBuf,
    /// Each drone of the crew, by its number.
    drones: Vec<Drone>,
    console: Console,
    signals: Signals,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    inquiry: Inquiry,
    phase: Phase,
    reason: Reason,
    /// The stream's pipes are not read for now: too much waits to be written.
    paused: [bool; 2],
    /// All drones have ended: when what they left behind is ended, or given up.
    leftovers: Option<Leftovers>,
}

#[derive(Clone, Copy, Debug)]
struct Drone {
    ending: Option<Ending>,
    /// Whether somebody still holds its streams.
    open: [bool; 2],
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Running,
    /// A drone failed; until then the others may end by themselves.
    Grace {
        until: Instant,
        told: bool,
    },
    /// SIGTERM was sent.
    Ending {
        kill_at: Instant,
    },
    /// SIGKILL was sent.
    Killing {
        give_up_at: Instant,
    },
    /// Nothing helps against a process that hangs in the kernel.
    GivenUp,
}

/// Why the job ends before its time; drones are known to the inquiry.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Reason {
    None,
    Signal(i32),
    Output { status: u8 },
    Start,
}

#[derive(Clone, Copy, Debug)]
struct Leftovers {
    until: Instant,
    killed: bool,
}

impl Job {
    /// Starts all drones. When one cannot be started, those begun are ended.
    ///
    /// # Errors
    /// Names the drone that could not be started and what to do.
    pub(crate) fn start(
        crew: Crew,
        drones: u32,
        directory: &Path,
        signals: Signals,
        color: Color,
        prefix: bool,
    ) -> Result<Self, Trouble> {
        let wait_set = || -> rustix::io::Result<(OwnedFd, OwnedFd)> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            watch(&epoll, &signals, SIGNALS)?;
            watch(&epoll, &wake, WAKE)?;
            Ok((epoll, wake))
        };
        let (epoll, wake) =
            wait_set().map_err(|error| refused("waiting for drones", &error.into()))?;
        let wake = Arc::new(wake);
        let console = Console::open(drones, prefix, color, &wake)
            .map_err(|error| refused("the output's threads", &error))?;
        let mut job = Self {
            crew,
            directory: directory.to_owned(),
            drones: Vec::new(),
            console,
            signals,
            epoll,
            wake,
            inquiry: Inquiry::default(),
            phase: Phase::Running,
            reason: Reason::None,
            paused: [false; 2],
            leftovers: None,
        };
        let started = job.crew.start(directory, &job.epoll);
        let begun = Drone {
            ending: None,
            open: [true; 2],
        };
        job.drones = vec![begun; job.crew.count() as usize];
        if let Err(trouble) = started {
            job.reason = Reason::Start;
            job.kill(Instant::now());
            job.watch();
            return Err(trouble);
        }
        Ok(job)
    }

    /// Looks after the drones until all have ended and all that they printed is read.
    pub(crate) fn watch(&mut self) {
        while !self.is_over() {
            let now = Instant::now();
            let unfinished = self.console.show_unfinished(now);
            self.console.send();
            self.balance_reading();
            let deadlines = [unfinished, self.deadline(), self.crew.deadline()];
            let deadline = deadlines.into_iter().flatten().min();
            for token in self.wait(deadline) {
                match token {
                    WAKE => self.clear_wake(),
                    SIGNALS => self.hear_signals(),
                    _ => self.listen(|crew, news| crew.hear(token, news)),
                }
            }
            self.look_after_output();
            let now = Instant::now();
            self.listen(|crew, news| crew.look_at_clock(now, news));
            self.advance(now);
        }
        for number in 0..self.drones.len() {
            self.finish_streams(number as u32);
        }
        self.console.finish_lines();
        self.console.send();
        self.crew.bury(&self.directory);
    }

    /// Prints lines of the launcher's own on standard error.
    pub(crate) fn print(&mut self, lines: &str) {
        self.console.print(lines);
        self.console.send();
    }

    /// Says that output which was asked for could not be written; a good job fails by that.
    pub(crate) fn fail_output(&mut self, sentence: &str) {
        self.console.say(sentence);
        self.console.send();
        if self.reason == Reason::None {
            self.reason = Reason::Output {
                status: trouble::OUTPUT,
            };
        }
    }

    /// Waits until everything is printed and gives the exit status.
    pub(crate) fn finish(mut self) -> u8 {
        let interrupted_until = match self.reason {
            Reason::Signal(_) => Some(Instant::now() + OUTPUT_WAIT),
            _ => None,
        };
        while !self.console.is_idle() {
            for token in self.wait(interrupted_until) {
                if token == WAKE {
                    self.clear_wake();
                }
            }
            self.look_after_output();
            let ended = self
                .signals
                .take()
                .into_iter()
                .find_map(|request| match request {
                    Request::End(signal) => Some(signal),
                    _ => None,
                });
            if let Some(signal) = ended {
                self.reason = Reason::Signal(signal);
                break;
            }
            if interrupted_until.is_some_and(|until| until <= Instant::now()) {
                break;
            }
        }
        self.status()
    }

    fn status(&self) -> u8 {
        match (self.reason, self.inquiry.culprit()) {
            (Reason::Signal(signal), _) => of_signal(signal),
            (_, Some(culprit)) => culprit.ending.status(),
            (Reason::Output { status }, None) => status,
            (Reason::Start, None) => trouble::MACHINE,
            (Reason::None, None) => 0,
        }
    }

    // What happens outside.

    fn wait(&self, deadline: Option<Instant>) -> Vec<u64> {
        let timeout = deadline.map(|deadline| {
            // Rounded up, or the last millisecond would be spent asking.
            let left =
                deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(500);
            Timespec::try_from(left).expect("deadlines are near")
        });
        let mut events = Vec::with_capacity(256);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("the kernel refuses to wait for drones: {error}"),
        }
        events
            .iter()
            .map(|event: &epoll::Event| event.data.u64())
            .collect()
    }

    fn clear_wake(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    /// Has the crew tell what is new, and takes it in.
    fn listen(&mut self, ask: impl FnOnce(&mut Crew, &mut Vec<News>)) {
        let mut news = Vec::new();
        ask(&mut self.crew, &mut news);
        for news in news {
            match news {
                News::Printed {
                    drone,
                    stream,
                    bytes,
                } => self.console.receive(drone, stream, &bytes, Instant::now()),
                News::Closed { drone, stream } => {
                    self.drones[drone as usize].open[stream] = false;
                    self.console.finish_stream(drone, stream);
                }
                News::Ended {
                    drone,
                    pid,
                    host,
                    ending,
                } => {
                    self.close(drone, ending);
                    self.blame(Who::Drone { drone, pid, host }, ending);
                }
                News::HostLost { host, why, drones } => {
                    for drone in drones {
                        self.drones[drone as usize].open = [false; 2];
                        self.close(drone, Ending::Lost);
                    }
                    self.blame(Who::Host { name: host, why }, Ending::Lost);
                }
                News::Said { who, line } => self.console.say(&format!("{who}: {line}")),
                News::StarterFailed { name, ending } => self.blame(Who::Starter { name }, ending),
            }
        }
    }

    /// Nothing more comes of this drone but what it left running. What it printed last stands before the sentence
    /// about its end.
    fn close(&mut self, drone: u32, ending: Ending) {
        self.drones[drone as usize].ending.get_or_insert(ending);
        self.finish_streams(drone);
    }

    /// Takes the end into account, unless we wanted it.
    fn blame(&mut self, who: Who, ending: Ending) {
        if matches!(self.phase, Phase::Running | Phase::Grace { .. }) {
            self.inquiry.hear(Culprit {
                who,
                ending,
                others: self.running(),
            });
        }
    }

    fn hear_signals(&mut self) {
        let mut requests = self.signals.take();
        // The drones' ends first: a job that is over needs no interruption.
        requests.sort_by_key(|request| *request != Request::Look);
        for request in requests {
            match request {
                Request::Look => self.listen(Crew::look_for_ends),
                Request::End(signal) => self.end_by_signal(signal),
                Request::Pause if can_be_continued() => {
                    self.crew.signal_all(Signal::STOP);
                    stop_self();
                    self.crew.signal_all(Signal::CONT);
                }
                Request::Pause => {}
            }
        }
    }

    fn finish_streams(&mut self, drone: u32) {
        self.console.finish_stream(drone, OUTPUT);
        self.console.finish_stream(drone, ERROR);
    }

    fn look_after_output(&mut self) {
        let Some((name, error)) = self.console.take_failure() else {
            return;
        };
        let closed = error.kind() == std::io::ErrorKind::BrokenPipe;
        let status = if closed {
            of_signal(SIGPIPE)
        } else {
            trouble::OUTPUT
        };
        let what = if closed {
            "nobody reads it any more".into()
        } else {
            error.to_string()
        };
        if self.reason == Reason::None {
            self.reason = Reason::Output { status };
        }
        let running = self.running();
        if running > 0 {
            self.console.say(&format!(
                "cannot write to {name}: {what}; ending {running} drones"
            ));
            self.terminate(Instant::now());
        } else {
            self.console.say(&format!("cannot write to {name}: {what}"));
        }
        self.console.send();
    }

    // What is done about it.

    fn running(&self) -> usize {
        self.drones
            .iter()
            .filter(|drone| drone.ending.is_none())
            .count()
    }

    fn deadline(&self) -> Option<Instant> {
        let of_phase = match self.phase {
            _ if self.running() == 0 => None,
            Phase::Grace { until, .. } => Some(until),
            Phase::Ending { kill_at } => Some(kill_at),
            Phase::Killing { give_up_at } => Some(give_up_at),
            Phase::Running | Phase::GivenUp => None,
        };
        let of_leftovers = self.leftovers.map(|leftovers| leftovers.until);
        [of_phase, of_leftovers].into_iter().flatten().min()
    }

    fn advance(&mut self, now: Instant) {
        if self.inquiry.culprit().is_some() && matches!(self.phase, Phase::Running) {
            self.phase = Phase::Grace {
                until: now + GRACE,
                told: false,
            };
        }
        let running = self.running();
        match self.phase {
            Phase::Grace { until, told } => {
                let over = now >= until || running == 0;
                if !told && (over || self.inquiry.is_sure()) {
                    self.phase = Phase::Grace { until, told: true };
                    self.tell_culprit();
                }
                if over {
                    self.terminate(now);
                }
            }
            Phase::Ending { kill_at } if now >= kill_at && running > 0 => self.kill(now),
            Phase::Killing { give_up_at } if now >= give_up_at && running > 0 => self.give_up(),
            _ => {}
        }
        if running == 0 {
            self.look_after_leftovers(now);
        }
    }

    fn tell_culprit(&mut self) {
        if let Some(sentence) = self.inquiry.sentence(self.drones.len()) {
            self.console.say(&sentence);
        }
    }

    fn end_by_signal(&mut self, signal: i32) {
        let now = Instant::now();
        let running = self.running();
        if running == 0 {
            // Only output is waited for, and that is not wanted any more.
            self.phase = Phase::GivenUp;
            self.reason = Reason::Signal(signal);
        } else if matches!(
            self.phase,
            Phase::Running | Phase::Grace { told: false, .. }
        ) {
            self.reason = Reason::Signal(signal);
            self.console.say(&sentence_of_signal(signal, running));
            self.terminate(now);
        } else {
            self.kill(now);
        }
    }

    fn terminate(&mut self, now: Instant) {
        self.crew.signal_all(Signal::TERM);
        // A stopped process would sleep through it.
        self.crew.signal_all(Signal::CONT);
        self.phase = Phase::Ending {
            kill_at: now + PATIENCE,
        };
    }

    fn kill(&mut self, now: Instant) {
        self.crew.signal_all(Signal::KILL);
        self.phase = Phase::Killing {
            give_up_at: now + self.crew.last_wait(),
        };
    }

    fn give_up(&mut self) {
        self.phase = Phase::GivenUp;
        let stuck: Vec<String> = self
            .drones
            .iter()
            .enumerate()
            .filter(|(_, drone)| drone.ending.is_none())
            .map(|(number, _)| self.crew.name(number as u32))
            .collect();
        let sentence = self.crew.sentence_of_stuck(&stuck.join(", "));
        self.console.say(&sentence);
    }

    /// Drones may leave processes behind that hold their pipes.
    fn look_after_leftovers(&mut self, now: Instant) {
        let bad_end = !matches!(self.phase, Phase::Running);
        let afterglow = if bad_end { AFTERGLOW_SHORT } else { AFTERGLOW };
        let leftovers = self.leftovers.get_or_insert(Leftovers {
            until: now + afterglow,
            killed: false,
        });
        if now < leftovers.until {
            return;
        }
        let waits_for_reader =
            self.paused != [false; 2] && !matches!(self.reason, Reason::Signal(_));
        if leftovers.killed && !waits_for_reader {
            self.phase = Phase::GivenUp;
        } else {
            *leftovers = Leftovers {
                until: now + AFTERGLOW_SHORT,
                killed: true,
            };
            self.crew.signal_all(Signal::KILL);
        }
    }

    fn is_over(&self) -> bool {
        let closed = self.drones.iter().all(|drone| drone.open == [false; 2]);
        matches!(self.phase, Phase::GivenUp)
            || (closed && self.running() == 0 && self.sentence_is_told())
    }

    /// A failure that was noticed is told before all is over.
    fn sentence_is_told(&self) -> bool {
        let failed = self.inquiry.culprit().is_some();
        !(failed
            && matches!(
                self.phase,
                Phase::Running | Phase::Grace { told: false, .. }
            ))
    }

    /// Lets drones wait whose output nobody takes, and go on when it is taken.
    fn balance_reading(&mut self) {
        for stream in [OUTPUT, ERROR] {
            let full = self.console.is_full(stream);
            if full == self.paused[stream] {
                continue;
            }
            self.paused[stream] = full;
            self.crew.pause(stream, full, &self.epoll);
        }
    }
}
