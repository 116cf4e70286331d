//! The driver: joins the core to links, memory and the program's threads.
//!
//! The core sits behind one lock, and whoever has something for it drives it: the thread that faulted, the
//! thread that calls, or the service thread when a peer asks. What the core decides lives in
//! `hivemind-protocol`; what a program sees lives in `hive`; how a thread waits for its ticket, in `wait.rs`.

mod wait;

use crate::calls::Glances;
use crate::net::{Closed, Frame, Incoming, Links, Wakes};
use crate::parking::{Parking, Waiter};
use crate::patience::Patience;
use crate::primitive::{Arc, AtomicBool, Mutex, MutexGuard, Ordering, lock};
use crate::report::Times;
use crate::trace::Tracer;
use crate::{Error, Result};
use hivemind_memory::{FaultHandler, RegionMemory};
use hivemind_protocol::{
    AccessKind, Command, Core, DroneId, Effect, Event, Failure, Message, Mutant, Outcome,
    PAGE_SIZE, PAGES_A_MESSAGE_MOST, PAGES_PUSHED_MOST, PageId, Stats, Ticket, mutant,
};
use std::time::{Duration, Instant};

/// One drone of the hive, shared by the program's threads and the service thread.
pub(crate) struct Drone {
    pub(crate) me: DroneId,
    state: Mutex<State>,
    /// None in a hive of one.
    links: Option<Links>,
    parking: Parking<Done>,
    pub(crate) times: Times,
    pub(crate) glances: Glances,
    wait_limit: Duration,
    /// How long a waiting thread looks for messages itself before it sleeps.
    patience: Patience,
    stopping: AtomicBool,
}

/// What the lock protects.
struct State {
    core: Core<RegionMemory>,
    /// As many as the program has threads that wait.
    waiting: Vec<(Ticket, Arc<Waiter<Done>>)>,
    next_ticket: u64,
    effects: Vec<Effect>,
    /// Where messages are encoded, kept for its memory.
    frame: Frame,
    /// None where the hive does not trace.
    tracer: Option<Box<Tracer>>,
    /// How the first lost drone was lost.
    lost_how: String,
}

/// How a ticket ends.
type Done = std::result::Result<Outcome, Failure>;

/// Where a message of pages is encoded, with as much again for all that is not their bytes. It is there before the first message, as the
/// memory for the pages that are pushed to a drone, so that this one takes no longer than others.
const RESERVED_FRAME_BYTES: usize = 2 * PAGES_A_MESSAGE_MOST as usize * PAGE_SIZE;

/// The service thread looks after silent peers this often.
const TICK: Duration = Duration::from_secs(1);

/// How long a drone that leaves waits for the others' goodbye.
const FAREWELL: Duration = Duration::from_secs(10);

/// A drone whose fault can't be served ends with this status: it has no caller to tell.
const FAULT_FAILED_STATUS: i32 = 75;

impl Drone {
    pub(crate) fn new(
        me: DroneId,
        mut core: Core<RegionMemory>,
        links: Option<Links>,
        tracer: Option<Tracer>,
        wait_limit: Duration,
        may_spin: bool,
    ) -> Self {
        if tracer.is_some() {
            core.observe();
        }
        let mut frame_bytes = 0;
        if links.is_some() {
            core.reserve_pages(PAGES_PUSHED_MOST);
            frame_bytes = RESERVED_FRAME_BYTES;
        }
        Self {
            me,
            state: Mutex::new(State {
                core,
                waiting: Vec::new(),
                next_ticket: 0,
                effects: Vec::new(),
                frame: Frame::with_room(frame_bytes),
                tracer: tracer.map(Box::new),
                lost_how: String::new(),
            }),
            parking: Parking::new(links.is_some()),
            links,
            times: Times::default(),
            glances: Glances::new(),
            wait_limit,
            patience: Patience::new(may_spin),
            stopping: AtomicBool::new(false),
        }
    }

    /// Its program arrives at a barrier in two calls: from now on something may lie at a drone that computes, and wait for it
    /// to look.
    pub(crate) fn note_arrival(&self) {
        self.patience.note_arrival();
    }

    /// Carries a command out and waits for its end; adds up how long. `operation` says in an error what was going on.
    pub(crate) fn call(&self, command: Command, operation: &dyn Fn() -> String) -> Result<Outcome> {
        let timed = self.times.of(&command).map(|sum| (sum, Instant::now()));
        let waiter = {
            let mut state = self.state();
            let (ticket, waiter) = state.new_ticket();
            self.drive(
                &mut state,
                Event::Command { command, ticket },
                self.before_waiting(),
            );
            waiter
        };
        let outcome = self.wait(&waiter, operation);
        if let Some((sum, begin)) = timed {
            sum.add(begin.elapsed());
        }
        outcome
    }

    /// Makes a page accessible; blocks until it is.
    pub(crate) fn fetch(&self, page: PageId, kind: AccessKind) -> Result<()> {
        let begin = Instant::now();
        let waiter = {
            let mut state = self.state();
            let (ticket, waiter) = state.new_ticket();
            self.drive(
                &mut state,
                Event::Fault { page, kind, ticket },
                self.before_waiting(),
            );
            waiter
        };
        let outcome = self.wait(&waiter, &|| match kind {
            AccessKind::Read => format!("fetching {page} to read it"),
            AccessKind::Write => format!("fetching {page} to write it"),
        });
        self.times.faults.add(begin.elapsed());
        outcome.map(|_| ())
    }

    /// Takes what has come, if that can be seen at a glance. After a release: whoever asked for the lock meanwhile has it
    /// at once, and no sleeping thread need be woken first to give it away. Gives whether anything had come.
    pub(crate) fn glance(&self) -> bool {
        let Some(links) = self.links.as_ref().filter(|_| !self.patience.is_none()) else {
            return false;
        };
        // What goes wrong here does so again where somebody waits.
        let looked =
            links.try_poll(&mut |from, incoming| self.receive(from, incoming, Bell::AtOnce));
        matches!(looked, Some(Ok(1..)))
    }

    /// What the core and the links have counted.
    pub(crate) fn counts(&self) -> (Stats, crate::net::LinkStats) {
        let links = self.links.as_ref().map(Links::stats).unwrap_or_default();
        (self.state().core.stats(), links)
    }

    /// The service thread: serves peers while the program computes, and notices who falls silent.
    pub(crate) fn serve(&self) {
        let _broken = BrokenInvariant::ends_the_process();
        let Some(links) = &self.links else { return };
        let mut next_tick = Instant::now() + TICK;
        while !self.stopping.load(Ordering::Acquire) {
            let left = next_tick.saturating_duration_since(Instant::now());
            if let Err(error) = links.poll(Some(left), &mut |from, incoming| {
                self.receive(from, incoming, Bell::AtOnce)
            }) {
                self.end_process(&format!("cannot wait for messages: {error}"));
            }
            if Instant::now() >= next_tick {
                links.tick(&mut |from, incoming| self.receive(from, incoming, Bell::AtOnce));
                self.write_trace();
                next_tick = Instant::now() + TICK;
            }
        }
    }

    /// Ends the service thread's loop soon.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(links) = &self.links {
            links.wake();
        }
    }

    /// After the last meeting, with the service thread ended: sends all that is queued and takes nobody's
    /// last message along.
    pub(crate) fn say_goodbye(&self) -> Result<()> {
        let Some(links) = &self.links else {
            return Ok(());
        };
        let farewell = links.close(FAREWELL, &mut |from, incoming| {
            self.receive(from, incoming, Bell::AtOnce)
        });
        farewell.map_err(|error| Error::Farewell {
            me: self.me,
            why: error.to_string(),
        })
    }

    /// Ends the trace; nothing of this drone's life is to come.
    pub(crate) fn end_trace(&self) {
        if let Some(tracer) = &mut self.state().tracer {
            tracer.end();
        }
    }

    /// Writes what the trace has collected, so that a drone that is killed leaves all but its last second.
    fn write_trace(&self) {
        if let Some(tracer) = &mut self.state().tracer {
            tracer.flush();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in the core is a broken invariant: it has ended the process (see `BrokenInvariant`).
        lock(&self.state)
    }

    /// Hands an event to the core and does what it says. Sends happen under the lock, so that each link
    /// carries messages in the order of the core's effects; they never block.
    fn drive(&self, state: &mut State, event: Event, bell: Bell) {
        let _broken = BrokenInvariant::ends_the_process();
        if let Some(tracer) = &mut state.tracer {
            tracer.event(&event);
        }
        let mut effects = std::mem::take(&mut state.effects);
        let mut result = state.core.begin(event, &mut effects);
        while let Ok(true) = result {
            self.obey(state, &mut effects, bell);
            // The rest may take long, and who was told of the first part may sleep.
            self.ring_owed();
            result = state.core.go_on(&mut effects);
        }
        self.obey(state, &mut effects, bell);
        state.effects = effects;
        if let Err(misbehaviour) = result {
            self.lose(state, misbehaviour.peer, misbehaviour.to_string());
        }
    }

    /// Does what the core says.
    fn obey(&self, state: &mut State, effects: &mut Vec<Effect>, bell: Bell) {
        if let Some(tracer) = &mut state.tracer {
            tracer.take_notes(&mut state.core);
        }
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, message } => {
                    self.send(state, to, &message, bell);
                    state.core.take_back(message);
                }
                Effect::Complete { ticket, result } => {
                    if let Some(tracer) = &mut state.tracer {
                        tracer.complete(ticket, &result);
                    }
                    if let Some(waiter) = state.take_waiter(ticket) {
                        self.complete(&waiter, result);
                    }
                }
            }
        }
    }

    fn send(&self, state: &mut State, to: DroneId, message: &Message, bell: Bell) {
        if let Some(links) = &self.links {
            message.encode(state.frame.begin());
            if let Some(tracer) = &mut state.tracer {
                tracer.send(to, message, &mut state.frame);
            }
            let wakes = match state.core.can_wait(message) {
                true => Wakes::Awaited,
                false => Wakes::Anyone,
            };
            match bell {
                Bell::AtOnce => links.send(to, &mut state.frame, wakes),
                Bell::Owed => links.send_owing(to, &mut state.frame, wakes),
            }
        }
    }

    /// Takes what a link brings.
    fn receive(&self, from: DroneId, incoming: Incoming<'_>, bell: Bell) {
        let mut state = self.state();
        match incoming {
            Incoming::Frame(body) => match state.open(body) {
                Ok(message) => self.drive(&mut state, Event::Message { from, message }, bell),
                Err(error) => {
                    self.lose(&mut state, from, format!("{from} sent no message: {error}"))
                }
            },
            // Only who has met all others for the last time says goodbye; nobody waits for it any more.
            Incoming::Closed(Closed::Left) => {}
            Incoming::Closed(Closed::Lost(how)) => self.lose(&mut state, from, how),
        }
    }

    fn lose(&self, state: &mut State, drone: DroneId, how: String) {
        if state.lost_how.is_empty() {
            state.lost_how = how;
        }
        self.drive(state, Event::Lost { drone }, Bell::AtOnce);
    }

    fn complete(&self, waiter: &Waiter<Done>, result: Done) {
        if waiter.complete(result) {
            self.links().wake_watcher();
        }
    }

    fn ring_owed(&self) {
        if let Some(links) = &self.links {
            links.ring_owed();
        }
    }

    fn links(&self) -> &Links {
        let links = self.links.as_ref();
        links.expect("INV-13: without links nobody watches them")
    }

    /// For trouble that has no caller to go to: a fault, or the service thread's own.
    fn end_process(&self, why: &str) -> ! {
        eprintln!("hivemind: {}: {why}", self.me);
        self.end_trace();
        std::process::exit(FAULT_FAILED_STATUS)
    }
}

/// When a drone that sleeps is woken for what is sent to it through shared memory.
#[derive(Clone, Copy)]
enum Bell {
    AtOnce,
    /// When it has not found it by itself for a while, or the sender stops looking for the answer: it may well look before
    /// it has woken up, and a bell costs both more than a message does. The thread that sends sees to it.
    Owed,
}

/// A panic while it lives is a broken invariant of ours: whatever is half done then, nobody shall go on with, and peers
/// shall see at once that this drone is gone. The panic has been printed by then.
struct BrokenInvariant {
    /// A program's own panic may have led here: what drops while it unwinds releases locks.
    unwinds_already: bool,
}

impl BrokenInvariant {
    fn ends_the_process() -> Self {
        Self {
            unwinds_already: std::thread::panicking(),
        }
    }
}

impl Drop for BrokenInvariant {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.unwinds_already {
            std::process::abort();
        }
    }
}

impl FaultHandler for Drone {
    fn fault(&self, page: PageId, kind: AccessKind) {
        if let Err(error) = self.fetch(page, kind) {
            self.end_process(&error.to_string());
        }
    }
}

impl State {
    /// Reads a frame: a message, and where the hive traces its sender's clock behind it.
    fn open(&mut self, frame: &[u8]) -> std::result::Result<Message, String> {
        let message = match &mut self.tracer {
            None => frame,
            Some(tracer) => tracer.hear(frame)?,
        };
        let message = self.core.read_message(message);
        message.map_err(|error| error.to_string())
    }

    fn new_ticket(&mut self) -> (Ticket, Arc<Waiter<Done>>) {
        let ticket = Ticket(self.next_ticket);
        if !mutant(Mutant::OneTicketForAll) {
            self.next_ticket += 1;
        }
        let waiter = Arc::new(Waiter::new());
        self.waiting.push((ticket, Arc::clone(&waiter)));
        (ticket, waiter)
    }

    fn take_waiter(&mut self, ticket: Ticket) -> Option<Arc<Waiter<Done>>> {
        let at = self.waiting.iter().rposition(|(of, _)| *of == ticket)?;
        Some(self.waiting.swap_remove(at).1)
    }
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use super::*;
    use hivemind_memory::{BASES, EngineKind};
    use hivemind_protocol::{CoreConfig, Economies, FAN_OUT};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    /// Set for the process that shall end.
    const VICTIM: &str = "HIVEMIND_TEST_BROKEN_INVARIANT";

    #[test]
    fn a_broken_invariant_ends_the_process_even_where_the_panic_is_caught() {
        if std::env::var_os(VICTIM).is_some() {
            let _ = std::panic::catch_unwind(|| {
                let _broken = BrokenInvariant::ends_the_process();
                panic!("a test breaks it");
            });
            unreachable!("nobody goes on after a broken invariant");
        }
        let test =
            "drone::tests::a_broken_invariant_ends_the_process_even_where_the_panic_is_caught";
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(VICTIM, "1")
            .stdout(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(ended.status.signal(), Some(6), "{ended:?}");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(
            said.contains("a test breaks it") && !said.contains("nobody goes on"),
            "{said}"
        );
    }

    /// The drone of a hive of one, with a little memory that no fault handler serves.
    pub(crate) fn alone() -> Drone {
        let config = CoreConfig {
            me: DroneId(0),
            drones: 1,
            pages: 16,
            metadata_limit_bytes: 1 << 20,
            fan_out: FAN_OUT,
            economies: Economies::default(),
        };
        let bytes = config.pages * PAGE_SIZE as u64;
        // Other tests take places too, at the same time.
        let create = |base_index| RegionMemory::create(bytes, base_index, EngineKind::Mprotect);
        let memory = (0..BASES.len()).find_map(|index| create(index).ok());
        let core = Core::new(config, memory.expect("a place is free"));
        Drone::new(DroneId(0), core, None, None, Duration::from_secs(10), false)
    }

    #[test]
    fn every_thread_that_waits_has_a_ticket_of_its_own() {
        let drone = alone();
        let mut state = drone.state();
        let (one, first) = state.new_ticket();
        let (other, second) = state.new_ticket();
        assert_ne!(one, other);
        assert!(Arc::ptr_eq(&state.take_waiter(one).unwrap(), &first));
        assert!(Arc::ptr_eq(&state.take_waiter(other).unwrap(), &second));
        assert!(state.take_waiter(one).is_none());
    }

    #[test]
    fn a_programs_own_panic_is_no_broken_invariant() {
        struct Releases;
        impl Drop for Releases {
            fn drop(&mut self) {
                let _broken = BrokenInvariant::ends_the_process();
            }
        }
        let caught = std::panic::catch_unwind(|| {
            let _held = Releases;
            panic!("the program's own");
        });
        assert!(caught.is_err());
    }
}
