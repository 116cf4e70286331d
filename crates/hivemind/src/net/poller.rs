//! The system's part of waiting: which links are ready, and sleeping until one is.
//!
//! Three epoll sets. The *inner* one holds every link. Around it are the two *beds* (`beds.rs`), one for the service
//! thread and one for a thread that waits; each holds the inner set and an eventfd, its bell. A thread that spins
//! looks at the inner set alone.
//!
//! The inner set is edge-triggered in a bed, so that a frame wakes one sleeper and not all in turn. The price is a rule:
//! who stops reading before a link is dry says so with [`Beds::nudge`].
//!
//! Deliberately elsewhere: who is woken when (`beds.rs`), reading, writing, and who may read at a time (`mod.rs`).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use super::beds::{Beds, Berth};

/// The longest single sleep; a longer wait sleeps several times. Keeps timeouts in the range every kernel takes.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

const LINKS: u64 = 0;
const BELL: u64 = 1;

/// How the inner set stands in a bed that listens.
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

/// The links' set, and the beds around it.
pub(crate) struct Poller {
    inner: Arc<OwnedFd>,
    pub(super) beds: Beds<EpollBerth>,
}

/// A bed's set: the inner one, and a bell.
pub(super) struct EpollBerth {
    set: OwnedFd,
    inner: Arc<OwnedFd>,
    bell: OwnedFd,
}

impl Poller {
    /// An empty set. `quiet`: nothing tells of what comes while somebody looks (see [`Beds`]).
    pub(crate) fn new(quiet: bool) -> io::Result<Self> {
        let inner = Arc::new(epoll::create(CreateFlags::CLOEXEC)?);
        let service = EpollBerth::new(&inner, LISTEN)?;
        let watcher = EpollBerth::new(&inner, EventFlags::empty())?;
        let beds = Beds::new(service, watcher, quiet);
        Ok(Self { inner, beds })
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
            self.beds.nudge();
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
}

impl EpollBerth {
    fn new(inner: &Arc<OwnedFd>, flags: EventFlags) -> io::Result<Self> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&set, inner, EventData::new_u64(LINKS), flags)?;
        epoll::add(&set, &bell, EventData::new_u64(BELL), EventFlags::IN)?;
        let inner = Arc::clone(inner);
        Ok(Self { set, inner, bell })
    }
}

impl Berth for EpollBerth {
    fn sleep(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map_or(LONGEST_SLEEP, |timeout| timeout.min(LONGEST_SLEEP));
        wait(&self.set, &mut [blank(); 2], Some(timeout)).map(|_| ())
    }

    fn ring(&self) {
        // Fails only when the counter is full, and then it is readable as well.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    fn silence(&self) {
        // Non-blocking; the value is of no interest.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    fn listen(&self, listens: bool) {
        let flags = if listens { LISTEN } else { EventFlags::empty() };
        epoll::modify(&self.set, &self.inner, EventData::new_u64(LINKS), flags)
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
