//! A host's part of a running job: starts its drones, passes on what they print and how they end, does what the
//! launcher wants, and ends everything when the launcher is gone.
//!
//! It decides nothing: who is to blame and when all end is the launcher's business.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use super::cache::Cache;
use super::check::first_directory;
use crate::crew::here::Here;
use crate::crew::{News, TOKENS, watch};
use crate::hosts::frame::Frame;
use crate::hosts::message::{Launch, Order, Word};
use crate::hosts::wire::{Silence, Wire, read_message};
use crate::keeper::Keeper;
use crate::local::{self, Input};
use crate::plan::{Plan, report_path};
use crate::scratch::Scratch;
use crate::signals::{Request, Signals};

/// How much of a stream may be on its way to the launcher's console.
const WINDOW_BYTES: usize = 512 << 10;
/// The longest report of a drone.
const REPORT_BYTES_MAX: u64 = 64 << 10;
/// How long drones may take to be gone after SIGKILL.
const LAST_WAIT: Duration = Duration::from_millis(500);
/// How long last words may take.
const FAREWELL: Duration = Duration::from_secs(2);

const COMES: u64 = TOKENS;
const GOES: u64 = TOKENS + 1;
const SIGNALS: u64 = TOKENS + 2;
const FILES: u64 = TOKENS + 3;
const INPUT: u64 = TOKENS + 4;

/// A running job's part.
struct Life {
    wire: Wire,
    here: Here,
    epoll: OwnedFd,
    signals: Signals,
    scratch: Scratch,
    plan: Plan,
    /// What of each stream is on its way.
    on_its_way: [usize; 2],
    /// Tells when drone 0 writes where it is met.
    files: Option<OwnedFd>,
    input: Option<InputPipe>,
    goes_is_watched: bool,
    heard: Instant,
    silence_limit: Duration,
    /// The launcher said that it will be stopped for a while.
    launcher_sleeps: bool,
}

/// Drone 0's standard input.
struct InputPipe {
    pipe: OwnedFd,
    queue: Vec<u8>,
    ends: bool,
    is_watched: bool,
}

/// How it ended.
enum End {
    /// As the launcher wanted it.
    Finished,
    /// The launcher is gone, or can't be understood; why, if anybody should still hear it.
    Orphaned(Option<String>),
}

/// Lives a host's part of a job from start to end.
pub(crate) fn live(mut wire: Wire, cache: &Cache, launch: Launch) -> ExitCode {
    let mut keeper = match Keeper::start(Path::new(local::COMMAND), "agent", "drone") {
        Ok(keeper) => keeper,
        Err(error) => {
            return super::refuse(wire, &format!("cannot start the keeper process: {error}"));
        }
    };
    let scratch = Scratch::create(&launch.job, |directory| keeper.look_after(directory));
    let begun = scratch
        .map_err(|trouble| trouble.to_string())
        .and_then(|scratch| begin(scratch, cache, launch, &mut wire));
    let code = match begun {
        Ok(parts) => Life::new(wire, parts).run(),
        Err(why) => super::refuse(wire, &why),
    };
    keeper.dismiss();
    code
}

/// What a life begins with.
struct Parts {
    here: Here,
    epoll: OwnedFd,
    signals: Signals,
    scratch: Scratch,
    plan: Plan,
    files: Option<OwnedFd>,
    input: Option<InputPipe>,
    silence_limit: Duration,
}

/// Starts the drones.
fn begin(
    scratch: Scratch,
    cache: &Cache,
    launch: Launch,
    wire: &mut Wire,
) -> Result<Parts, String> {
    let Launch {
        mut plan,
        program,
        directories,
        key,
        silence_limit,
        ..
    } = launch;
    plan.program = cache.path_of(&program);
    if let Some(directory) = first_directory(&directories) {
        let entered = std::env::set_current_dir(&directory);
        entered.map_err(|error| format!("cannot enter {}: {error}", directory.display()))?;
    }
    let refused = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("cannot start {what}: {error}")
    };
    if let Some(directory) = plan.trace() {
        let made = fs::create_dir_all(directory);
        made.map_err(|error| {
            format!("cannot write a trace into {}: {error}", directory.display())
        })?;
    }
    crate::key::write(scratch.path(), &key)
        .map_err(refused("the job: its key cannot be written"))?;
    let signals = Signals::install().map_err(refused("a signal handler"))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
        .map_err(io::Error::from)
        .map_err(refused("waiting for drones"))?;
    let has_first = plan.ranks.contains(&0);
    let (input, drones_input) = if has_first {
        let (from, pipe) = InputPipe::open().map_err(refused("drone 0's input"))?;
        (Some(pipe), Input::Pipe(from))
    } else {
        (None, Input::Nothing)
    };
    let files = has_first
        .then(|| watch_files(scratch.path()))
        .transpose()
        .map_err(refused("waiting for drone 0"))?;
    let mut here = Here::new();
    if let Err((drone, error)) = here.start(&plan, scratch.path(), drones_input, &epoll) {
        here.signal_all(Signal::KILL);
        return Err(format!(
            "cannot start drone {drone}: {error}; look at `ulimit -a` there for limits of processes, files and memory"
        ));
    }
    wire.say(&Word::Started);
    for (drone, pid) in here.pids() {
        wire.say(&Word::Process { drone, pid });
    }
    Ok(Parts {
        here,
        epoll,
        signals,
        scratch,
        plan,
        files,
        input,
        silence_limit,
    })
}

fn watch_files(directory: &Path) -> io::Result<OwnedFd> {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let files = inotify::init(flags)?;
    inotify::add_watch(&files, directory, inotify::WatchFlags::MOVED_TO)?;
    Ok(files)
}

impl Life {
    fn new(wire: Wire, parts: Parts) -> Self {
        Self {
            wire,
            here: parts.here,
            epoll: parts.epoll,
            signals: parts.signals,
            scratch: parts.scratch,
            plan: parts.plan,
            on_its_way: [0; 2],
            files: parts.files,
            input: parts.input,
            goes_is_watched: false,
            heard: Instant::now(),
            silence_limit: parts.silence_limit,
            launcher_sleeps: false,
        }
    }

    fn run(mut self) -> ExitCode {
        let end = match self.watch_all() {
            Ok(()) => self.turns(),
            Err(error) => End::Orphaned(Some(format!("cannot wait for drones: {error}"))),
        };
        match end {
            End::Finished => {
                self.here.bury();
                self.report();
                self.wire.say(&Word::Finished);
                let _ = self.wire.drain_to(0, || Instant::now() + FAREWELL);
                ExitCode::SUCCESS
            }
            End::Orphaned(why) => {
                self.here.signal_all(Signal::KILL);
                self.await_deaths();
                self.here.bury();
                match why {
                    Some(why) => super::refuse(self.wire, &why),
                    None => ExitCode::FAILURE,
                }
            }
        }
    }

    fn watch_all(&mut self) -> rustix::io::Result<()> {
        watch(&self.epoll, self.wire.input(), COMES)?;
        watch(&self.epoll, &self.signals, SIGNALS)?;
        if let Some(files) = &self.files {
            watch(&self.epoll, files, FILES)?;
        }
        Ok(())
    }

    /// Until the end, one turn after the other.
    fn turns(&mut self) -> End {
        // The drones may have ended, and drone 0 may have written its address, before anybody waited for it.
        let mut tokens = vec![SIGNALS, FILES, COMES];
        let mut news = Vec::new();
        self.here.look_for_ends(&mut news);
        loop {
            for token in std::mem::take(&mut tokens) {
                match token {
                    COMES => {
                        if let Some(end) = self.hear_launcher() {
                            return end;
                        }
                    }
                    GOES => self.wire.flush(),
                    SIGNALS => {
                        if let Some(end) = self.hear_signals(&mut news) {
                            return end;
                        }
                    }
                    FILES => self.look_for_root(),
                    INPUT => self.pass_input(),
                    drones => self.here.hear(drones, &mut news),
                }
            }
            for news in news.drain(..) {
                self.tell(news);
            }
            self.balance();
            let silent_at = self.heard + self.silence_limit;
            if !self.launcher_sleeps && Instant::now() >= silent_at {
                return End::Orphaned(None);
            }
            tokens = self.wait(silent_at);
        }
    }

    fn wait(&self, deadline: Instant) -> Vec<u64> {
        let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let timeout = Timespec::try_from(left).expect("deadlines are near");
        // A launcher that sleeps is waited for as long as its connection lives.
        let timeout = Some(&timeout).filter(|_| !self.launcher_sleeps);
        let mut events = Vec::with_capacity(256);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            timeout,
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("the kernel refuses to wait for drones: {error}"),
        }
        events
            .iter()
            .map(|event: &epoll::Event| event.data.u64())
            .collect()
    }

    /// Tells the launcher what is new.
    fn tell(&mut self, news: News) {
        match news {
            News::Printed {
                drone,
                stream,
                bytes,
            } => {
                self.on_its_way[stream] += bytes.len();
                self.wire.send(&Frame::Printed {
                    drone,
                    stream,
                    bytes,
                });
            }
            News::Closed { drone, stream } => self.wire.say(&Word::Closed { drone, stream }),
            News::Ended {
                drone, pid, ending, ..
            } => self.wire.say(&Word::Ended { drone, pid, ending }),
            News::HostLost { .. } | News::Said { .. } | News::StarterFailed { .. } => {
                unreachable!("drones of this host tell of no other")
            }
        }
    }

    fn hear_launcher(&mut self) -> Option<End> {
        self.wire.read();
        loop {
            let frame = match self.wire.frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(Silence::Nonsense(why)) => return Some(End::Orphaned(Some(why))),
                Err(_) => return Some(End::Orphaned(None)),
            };
            self.heard = Instant::now();
            self.launcher_sleeps = false;
            match frame {
                Frame::Input(bytes) => {
                    if let Some(input) = &mut self.input {
                        input.queue.extend_from_slice(&bytes);
                        self.pass_input();
                    } else {
                        self.wire.say(&Word::InputTaken(bytes.len()));
                    }
                }
                Frame::Message(text) => match read_message(&text) {
                    Ok(order) => {
                        if let Some(end) = self.obey(order) {
                            return Some(end);
                        }
                    }
                    Err(why) => return Some(End::Orphaned(Some(why))),
                },
                _ => {
                    let why = "the launcher sends something out of turn";
                    return Some(End::Orphaned(Some(why.into())));
                }
            }
        }
    }

    fn obey(&mut self, order: Order) -> Option<End> {
        match order {
            Order::Alive => self.wire.say(&Word::Alive),
            Order::Root(address) => {
                if let Err(error) = publish_root(self.scratch.path(), &address) {
                    let why = format!("cannot tell the drones where drone 0 is: {error}");
                    return Some(End::Orphaned(Some(why)));
                }
            }
            Order::Signal(number) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    self.launcher_sleeps = signal == Signal::STOP;
                    self.here.signal_all(signal);
                }
            }
            Order::Passed { stream, bytes } if stream <= 1 => {
                self.on_its_way[stream] = self.on_its_way[stream].saturating_sub(bytes);
            }
            Order::InputEnds => {
                if let Some(input) = &mut self.input {
                    input.ends = true;
                }
                self.pass_input();
            }
            Order::Finish => return Some(End::Finished),
            _ => {
                let why = "the launcher wants something out of turn";
                return Some(End::Orphaned(Some(why.into())));
            }
        }
        None
    }

    fn hear_signals(&mut self, news: &mut Vec<News>) -> Option<End> {
        for request in self.signals.take() {
            match request {
                Request::Look => self.here.look_for_ends(news),
                Request::End(signal) => {
                    let why = format!("its agent was ended there by signal {signal}");
                    return Some(End::Orphaned(Some(why)));
                }
                Request::Pause => {}
            }
        }
        None
    }

    /// Tells where drone 0 is met, once it has said so.
    fn look_for_root(&mut self) {
        if self.files.is_none() {
            return;
        }
        if let Ok(address) = fs::read_to_string(root_path(self.scratch.path())) {
            self.wire.say(&Word::Root(address.trim().to_owned()));
            self.files = None;
        } else if let Some(files) = &self.files {
            let _ = rustix::io::read(files, &mut [0; 4096]);
        }
    }

    /// Lets wait who is ahead of the other side.
    fn balance(&mut self) {
        for stream in 0..2 {
            let full = self.on_its_way[stream] > WINDOW_BYTES;
            self.here.pause(stream, full, &self.epoll);
        }
        let queued = self.wire.queued_bytes() > 0;
        if queued != self.goes_is_watched {
            self.goes_is_watched = queued;
            set_goes(&self.epoll, self.wire.output(), GOES, queued);
        }
        if let Some(input) = &mut self.input {
            let queued = !input.queue.is_empty();
            if queued != input.is_watched {
                input.is_watched = queued;
                set_goes(&self.epoll, &input.pipe, INPUT, queued);
            }
        }
    }

    fn pass_input(&mut self) {
        let Some(input) = &mut self.input else { return };
        let mut taken = 0;
        let mut is_open = true;
        while is_open && taken < input.queue.len() {
            match rustix::io::write(&input.pipe, &input.queue[taken..]) {
                Ok(written) => taken += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    // Nobody reads it any more.
                    taken = input.queue.len();
                    is_open = false;
                }
            }
        }
        input.queue.drain(..taken);
        if !is_open || (input.ends && input.queue.is_empty()) {
            self.input = None;
        }
        if taken > 0 {
            self.wire.say(&Word::InputTaken(taken));
        }
    }

    fn await_deaths(&mut self) {
        let until = Instant::now() + LAST_WAIT;
        while self.here.running() > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
            self.here.look_for_ends(&mut Vec::new());
        }
    }

    /// Sends what the drones counted.
    fn report(&mut self) {
        for &drone in &self.plan.ranks {
            let path = report_path(self.scratch.path(), drone);
            let fits = fs::metadata(&path).is_ok_and(|found| found.len() <= REPORT_BYTES_MAX);
            if fits && let Ok(text) = fs::read_to_string(&path) {
                self.wire.say(&Word::Report { drone, text });
            }
        }
    }
}

impl InputPipe {
    /// A pipe for drone 0. Gives its other end too.
    fn open() -> io::Result<(OwnedFd, Self)> {
        let (from, pipe) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let pipe = Self {
            pipe,
            queue: Vec::new(),
            ends: false,
            is_watched: false,
        };
        Ok((from, pipe))
    }
}

/// Where drone 0 writes where it is met, and where the others look for it.
fn root_path(directory: &Path) -> std::path::PathBuf {
    directory.join(crate::plan::ROOT_FILE)
}

/// Writes where drone 0 is met, so that whoever finds the file finds all of it.
fn publish_root(directory: &Path, address: &str) -> io::Result<()> {
    let draft = directory.join("root.new");
    fs::write(&draft, format!("{address}\n"))?;
    fs::rename(&draft, root_path(directory))
}

fn set_goes(epoll: &OwnedFd, output: &OwnedFd, token: u64, wanted: bool) {
    let changed = if wanted {
        let data = epoll::EventData::new_u64(token);
        epoll::add(epoll, output, data, epoll::EventFlags::OUT)
    } else {
        epoll::delete(epoll, output)
    };
    changed.expect("an open pipe can be watched");
}
