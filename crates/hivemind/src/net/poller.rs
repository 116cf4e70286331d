//! Waiting: which links are ready, who sleeps until one is, and how a sleeper is woken.
//!
//! Two epoll sets, one inside the other. The *inner* one holds every link. The *outer* one holds the inner one and an
//! eventfd, and is where threads sleep. A thread that spins looks at the inner set alone, and while it does it mutes
//! the inner set in the outer one: otherwise each frame that the spinning thread takes would also wake a sleeping
//! thread that finds nothing to do, and that wake costs several times the round trip itself.
//!
//! The inner set is edge-triggered in the outer one, so that a frame wakes one sleeper (the kernel takes the one that
//! fell asleep last: a program thread rather than the service thread) and not all in turn. The price is a rule: who
//! stops reading before a link is dry says so with [`Poller::nudge`].
//!
//! Deliberately elsewhere: reading, writing, and who may read at a time (`mod.rs`).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use super::lock;

/// The longest single sleep; a longer wait sleeps several times. Keeps timeouts in the range every kernel takes.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

const LINKS: u64 = 0;
const WAKE: u64 = 1;

/// How the inner set stands in the outer one when it isn't muted.
const LISTEN: EventFlags = EventFlags::IN.union(EventFlags::ET);

/// What a link waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) reading: bool,
    pub(crate) writing: bool,
}

impl Interest {
    fn flags(self) -> Option<EventFlags> {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.reading);
        flags.set(EventFlags::OUT, self.writing);
        (!flags.is_empty()).then_some(flags)
    }
}

/// A link that has something: its token, and which way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) token: u32,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

impl From<Event> for Ready {
    fn from(event: Event) -> Self {
        let (flags, data) = (event.flags, event.data);
        let broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        Self {
            token: data.u64() as u32,
            readable: broken || flags.contains(EventFlags::IN),
            writable: broken || flags.contains(EventFlags::OUT),
        }
    }
}

/// How many ready links one look finds. The kernel turns through them, so none is passed over twice.
pub(crate) const LOOK_LINKS: usize = 32;

fn blank() -> Event {
    Event {
        flags: EventFlags::empty(),
        data: EventData::new_u64(0),
    }
}

/// Both sets, and who sleeps on them.
pub(crate) struct Poller {
    inner: OwnedFd,
    outer: OwnedFd,
    wake: OwnedFd,
    /// How many threads have the inner set muted.
    mutes: Mutex<usize>,
    sleepers: Mutex<Sleepers>,
}

/// Who sleeps, so that one wake ends the sleep of all who slept when it came, and of nobody else.
#[derive(Default)]
struct Sleepers {
    asleep: usize,
    /// How many wakes there have been.
    wakes: u64,
    /// How many of those asleep have still to notice a wake; the eventfd stays readable until they have.
    to_wake: usize,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let inner = epoll::create(CreateFlags::CLOEXEC)?;
        let outer = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&outer, &inner, EventData::new_u64(LINKS), LISTEN)?;
        epoll::add(&outer, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self {
            inner,
            outer,
            wake,
            mutes: Mutex::new(0),
            sleepers: Mutex::default(),
        })
    }

    /// Changes what a link waits for.
    pub(crate) fn change(
        &self,
        link: BorrowedFd<'_>,
        token: u32,
        from: Interest,
        to: Interest,
    ) -> io::Result<()> {
        let data = EventData::new_u64(u64::from(token));
        match (from.flags(), to.flags()) {
            (None, Some(flags)) => epoll::add(&self.inner, link, data, flags)?,
            (Some(before), Some(flags)) if before != flags => {
                epoll::modify(&self.inner, link, data, flags)?
            }
            (Some(_), None) => epoll::delete(&self.inner, link)?,
            _ => {}
        }
        if to.writing && !from.writing {
            // The kernel makes no edge of it when the link can be written to by now and was on its list already.
            self.nudge();
        }
        Ok(())
    }

    /// Looks at once which links are ready; finds up to [`LOOK_LINKS`] of them.
    pub(crate) fn look(&self, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut events = [blank(); LOOK_LINKS];
        let found = wait(&self.inner, &mut events, Some(Duration::ZERO))?;
        ready.clear();
        ready.extend(events[..found].iter().copied().map(Ready::from));
        Ok(())
    }

    /// Sleeps until a link is ready, a wake comes, or `timeout` is over. Returns at once when there has been a wake
    /// since `wakes_seen` (see [`wakes`](Self::wakes)).
    pub(crate) fn sleep(&self, wakes_seen: u64, timeout: Option<Duration>) -> io::Result<()> {
        let entered_at = {
            let mut sleepers = lock(&self.sleepers);
            if sleepers.wakes != wakes_seen {
                return Ok(());
            }
            sleepers.asleep += 1;
            sleepers.wakes
        };
        let timeout = timeout.map_or(LONGEST_SLEEP, |timeout| timeout.min(LONGEST_SLEEP));
        let slept = wait(&self.outer, &mut [blank(); 2], Some(timeout));
        let mut sleepers = lock(&self.sleepers);
        sleepers.asleep -= 1;
        if sleepers.wakes != entered_at {
            sleepers.to_wake -= 1;
            if sleepers.to_wake == 0 {
                let mut count = [0; 8];
                // Non-blocking; the value is of no interest.
                let _ = rustix::io::read(&self.wake, &mut count);
            }
        }
        slept.map(|_| ())
    }

    /// How many wakes there have been.
    pub(crate) fn wakes(&self) -> u64 {
        lock(&self.sleepers).wakes
    }

    /// Ends the sleep of every thread that sleeps now.
    pub(crate) fn wake(&self) {
        let mut sleepers = lock(&self.sleepers);
        sleepers.wakes += 1;
        if sleepers.asleep > 0 {
            sleepers.to_wake = sleepers.asleep;
            // Fails only when the counter is full, and then it is readable as well.
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }

    /// From now until [`unmute`](Self::unmute), ready links wake nobody who sleeps. Counted.
    pub(crate) fn mute(&self) {
        let mut mutes = lock(&self.mutes);
        *mutes += 1;
        if *mutes == 1 {
            self.listen_to_links(EventFlags::empty());
        }
    }

    /// Ends one [`mute`](Self::mute). Links that became ready meanwhile wake a sleeper then.
    pub(crate) fn unmute(&self) {
        let mut mutes = lock(&self.mutes);
        *mutes -= 1;
        if *mutes == 0 {
            self.listen_to_links(LISTEN);
        }
    }

    /// Something was left unread: wakes a sleeper for it, or the next to go to sleep.
    pub(crate) fn nudge(&self) {
        let mutes = lock(&self.mutes);
        if *mutes == 0 {
            self.listen_to_links(LISTEN);
        }
    }

    fn listen_to_links(&self, flags: EventFlags) {
        epoll::modify(&self.outer, &self.inner, EventData::new_u64(LINKS), flags)
            .expect("both sets are open and the one is in the other");
    }
}

/// `epoll_wait` that takes an interrupting signal for "nothing yet".
fn wait(set: &OwnedFd, events: &mut [Event], timeout: Option<Duration>) -> io::Result<usize> {
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: timeout.as_secs() as i64,
        tv_nsec: timeout.subsec_nanos().into(),
    });
    match epoll::wait(set, events, timeout.as_ref()) {
        Ok(found) => Ok(found),
        Err(Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
