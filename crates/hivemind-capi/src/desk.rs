//! The desk: a block of shared memory in which drones leave each other jobs, and news that every drone takes in when it
//! synchronises next. What lies on it is read and written under its lock alone, but for the count of news, which only grows.

use crate::hive::one_thread;
use crate::image::Image;
use crate::place::address_of;
use crate::status::{Trouble, hive_status_t};
use hive_status_t::*;
use hivemind::{Address, ConditionId, PAGE_SIZE, RawHive};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the desk lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desk(Address);

/// The desk's first page.
#[repr(C)]
struct Front {
    /// How much news there is.
    news: u64,
    /// Addresses of the first and the last, or 0.
    first: u64,
    last: u64,
    /// Whether there will be no more jobs.
    closed: u64,
}

/// A drone's place on the desk.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Seat {
    /// How many jobs it was given, and how many it has done.
    given: u64,
    done: u64,
    job: Job,
}

/// What a drone is to do.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// A function's offset in the program.
    pub(crate) function: u64,
    /// The address of its argument in shared memory, or 0; and its size.
    pub(crate) argument: u64,
    pub(crate) argument_bytes: u64,
    /// The address of the program's variables as they were, or 0.
    pub(crate) variables: u64,
}

/// A piece of news: a variable of the program. Its bytes follow.
#[repr(C)]
struct News {
    next: u64,
    offset: u64,
    bytes: u64,
}

/// Somebody has a job, or the desk is closed.
const GIVEN: ConditionId = ConditionId(0);
/// A job is done.
const DONE: ConditionId = ConditionId(1);

/// How much news this process has taken in, and the address of the last of it, or 0. Change together, under the desk's lock.
static TAKEN: AtomicU64 = AtomicU64::new(0);
static LAST_TAKEN: AtomicU64 = AtomicU64::new(0);

impl Desk {
    /// Makes the desk. Collective.
    pub(crate) fn make(hive: &RawHive) -> Result<Self, Trouble> {
        let seats = hive.drones() * size_of::<Seat>();
        let page = PAGE_SIZE as u64;
        let start = hive.allocate_together(page + seats as u64, page)?.address;
        // It is looked at after every acquire: its pages come now, not then. They are zero, and travel from nowhere.
        hive.make_present(start.0..start.0 + page + seats as u64, false)?;
        Ok(Self(start))
    }

    /// Leaves a variable of the program for all other drones, as it is now.
    pub(crate) fn tell(self, hive: &RawHive, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        let room = size_of::<News>() + bytes.len();
        let block = hive.allocate(room as u64, 16)?.address;
        let news = pointer::<News>(hive, block);
        // SAFETY: the block is new and has room for both.
        unsafe {
            news.write(News {
                next: 0,
                offset,
                bytes: bytes.len() as u64,
            });
            let place = news.add(1).cast::<u8>();
            place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        self.locked(hive, || {
            let front = pointer::<Front>(hive, self.0);
            // SAFETY: the front lies on the desk, and the lock is held.
            unsafe {
                match (*front).last {
                    0 => (*front).first = block.0,
                    last => (*pointer::<News>(hive, Address(last))).next = block.0,
                }
                (*front).last = block.0;
                // What a drone told itself has no need to be taken in, unless others told something before it.
                if TAKEN.load(Ordering::Relaxed) == (*front).news {
                    TAKEN.store((*front).news + 1, Ordering::Relaxed);
                    LAST_TAKEN.store(block.0, Ordering::Relaxed);
                }
                (*front).news += 1;
            }
            Ok(())
        })
    }

    /// Takes in what others have told. To be called after every acquire; costs a load if there is no news.
    pub(crate) fn take_in(self, hive: &RawHive) -> Result<(), Trouble> {
        // SAFETY: the front lies on the desk; a u64 that is being written elsewhere is read whole.
        let news = unsafe { (&raw const (*pointer::<Front>(hive, self.0)).news).read_volatile() };
        if news == TAKEN.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.locked(hive, || {
            let front = pointer::<Front>(hive, self.0);
            // SAFETY: the front lies on the desk, and the lock is held.
            let (first, count) = unsafe { ((*front).first, (*front).news) };
            let last = LAST_TAKEN.load(Ordering::Relaxed);
            let first = match last {
                0 => first,
                last => news_at(hive, last)?.next,
            };
            let taken = TAKEN.load(Ordering::Relaxed);
            let last = walk((taken, last), first, count, |at| {
                let news = news_at(hive, at)?;
                let text = Address(at + size_of::<News>() as u64);
                take_in_variable(hive, text, news.offset, news.bytes)?;
                Ok(news.next)
            })?;
            TAKEN.store(count, Ordering::Relaxed);
            LAST_TAKEN.store(last, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Gives a drone a job. Waits until it has done the one before.
    pub(crate) fn give(self, hive: &RawHive, drone: usize, job: Job) -> Result<(), Trouble> {
        self.locked(hive, || {
            let seat = self.seat(hive, drone);
            self.wait_until_done(hive, drone)?;
            // SAFETY: the seat lies on the desk, and the lock is held.
            unsafe {
                (*seat).job = job;
                (*seat).given += 1;
            }
            Ok(hive.signal(hive.lock_at(self.0), GIVEN, true)?)
        })
    }

    /// Whether a drone has a job that it hasn't done.
    pub(crate) fn is_at_work(self, hive: &RawHive, drone: usize) -> Result<bool, Trouble> {
        self.locked(hive, || Ok(self.has_job(hive, drone)))
    }

    /// Waits until a drone has done all its jobs.
    pub(crate) fn wait_for(self, hive: &RawHive, drone: usize) -> Result<(), Trouble> {
        self.locked(hive, || self.wait_until_done(hive, drone))
    }

    /// This drone's next job, when there is one; None once there will be none.
    pub(crate) fn next_job(self, hive: &RawHive) -> Result<Option<Job>, Trouble> {
        self.locked(hive, || {
            loop {
                if self.has_job(hive, hive.me()) {
                    // SAFETY: the seat lies on the desk, and the lock is held.
                    return Ok(Some(unsafe { (*self.seat(hive, hive.me())).job }));
                }
                // SAFETY: as above.
                if unsafe { (*pointer::<Front>(hive, self.0)).closed } != 0 {
                    return Ok(None);
                }
                hive.wait_for(hive.lock_at(self.0), GIVEN)?;
            }
        })
    }

    /// This drone has done its job.
    pub(crate) fn done(self, hive: &RawHive) -> Result<(), Trouble> {
        self.locked(hive, || {
            // SAFETY: the seat lies on the desk, and the lock is held.
            unsafe { (*self.seat(hive, hive.me())).done += 1 };
            Ok(hive.signal(hive.lock_at(self.0), DONE, true)?)
        })
    }

    /// There will be no more jobs.
    pub(crate) fn close(self, hive: &RawHive) -> Result<(), Trouble> {
        self.locked(hive, || {
            // SAFETY: the front lies on the desk, and the lock is held.
            unsafe { (*pointer::<Front>(hive, self.0)).closed = 1 };
            Ok(hive.signal(hive.lock_at(self.0), GIVEN, true)?)
        })
    }

    fn wait_until_done(self, hive: &RawHive, drone: usize) -> Result<(), Trouble> {
        while self.has_job(hive, drone) {
            hive.wait_for(hive.lock_at(self.0), DONE)?;
        }
        Ok(())
    }

    fn has_job(self, hive: &RawHive, drone: usize) -> bool {
        // SAFETY: the seat lies on the desk, and the caller holds the lock.
        unsafe { (*self.seat(hive, drone)).given != (*self.seat(hive, drone)).done }
    }

    fn seat(self, hive: &RawHive, drone: usize) -> *mut Seat {
        assert!(drone < hive.drones(), "no drone {drone} has a seat");
        pointer::<Seat>(hive, Address(self.0.0 + PAGE_SIZE as u64)).wrapping_add(drone)
    }

    /// Does something under the desk's lock.
    fn locked<T>(
        self,
        hive: &RawHive,
        run: impl FnOnce() -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let _one = one_thread();
        let lock = hive.lock_at(self.0);
        hive.acquire(lock)?;
        let done = run();
        hive.release(lock)?;
        done
    }
}

/// A piece of news, wherever a drone says that it lies.
fn news_at(hive: &RawHive, at: u64) -> Result<News, Trouble> {
    let news = pointer::<News>(hive, Address(at));
    address_of(hive, news.cast(), size_of::<News>(), "a piece of news")?;
    // SAFETY: it lies in shared memory, where any bytes are numbers.
    Ok(unsafe { news.read_unaligned() })
}

/// Goes along the list of news after the `taken` pieces that were taken in before, of which the last lies at `before`: from
/// the piece at `first` until there are `count`. `take` takes a piece in and gives the next one's address. Gives the last
/// one's. Any drone may have written there.
fn walk(
    (taken, before): (u64, u64),
    first: u64,
    count: u64,
    mut take: impl FnMut(u64) -> Result<u64, Trouble>,
) -> Result<u64, Trouble> {
    let wrong = |text: String| Err(Trouble::new(HIVE_BAD_POINTER, text));
    if count < taken {
        return wrong(format!(
            "a drone says that {count} variables were told, where {taken} were before"
        ));
    }
    let (mut last, mut next, mut seen) = (before, first, HashSet::from([before]));
    for number in taken..count {
        if next == 0 {
            return wrong(format!(
                "a drone says that {count} variables were told, but the list of them ends after {number}"
            ));
        }
        if !seen.insert(next) {
            return wrong(format!(
                "a drone has made the list of told variables a ring: after {number} it comes to {next:#x} again"
            ));
        }
        last = next;
        next = take(next)?;
    }
    Ok(last)
}

/// Makes a variable of the program here what another drone told. Any drone may have written there: what it says is looked at.
fn take_in_variable(hive: &RawHive, text: Address, offset: u64, bytes: u64) -> Result<(), Trouble> {
    let image = Image::own()?;
    let (into, bytes) = (image.address(offset), bytes as usize);
    if !image.is_variable(into, bytes) {
        let text = format!(
            "a drone told {bytes} bytes at {into:#x}, where no variable of the program lies"
        );
        return Err(Trouble::new(HIVE_BAD_POINTER, text));
    }
    let told = shared_bytes(hive, text, bytes)?;
    // SAFETY: all bytes there are variables of the program.
    unsafe { (into as *mut u8).copy_from_nonoverlapping(told.as_ptr(), bytes) };
    Ok(())
}

/// A block of shared memory with bytes of this process in it.
pub(crate) fn share(hive: &RawHive, parts: &[&[u8]]) -> Result<Address, Trouble> {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let block = hive.allocate(bytes as u64, PAGE_SIZE as u64)?.address;
    let mut next = pointer::<u8>(hive, block);
    for part in parts {
        // SAFETY: the block is new and has room for all parts.
        unsafe {
            next.copy_from_nonoverlapping(part.as_ptr(), part.len());
            next = next.add(part.len());
        }
    }
    Ok(block)
}

/// An address of shared memory in this process.
pub(crate) fn pointer<T>(hive: &RawHive, address: Address) -> *mut T {
    (hive.base() + address.0 as usize) as *mut T
}

/// The bytes of a block that `share` made, or of another in shared memory.
pub(crate) fn shared_bytes(
    hive: &RawHive,
    address: Address,
    bytes: usize,
) -> Result<Vec<u8>, Trouble> {
    let from = pointer::<u8>(hive, address);
    address_of(hive, from, bytes, "a drone's job")?;
    let mut copy = vec![0; bytes];
    // SAFETY: all bytes lie in shared memory, where every byte is a value.
    unsafe { from.copy_to_nonoverlapping(copy.as_mut_ptr(), bytes) };
    Ok(copy)
}

/// A call that only drone 0 of a fork-join program may make.
pub(crate) fn only_first(hive: &RawHive, forks: bool, call: &str) -> Result<(), Trouble> {
    if forks && hive.me() == 0 {
        return Ok(());
    }
    let text = format!(
        "{call} is for drone 0 of a program that started up with hive_startup_fork_join, outside of the functions that it gave to other drones"
    );
    Err(Trouble::new(HIVE_BAD_ARGUMENT, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks a list of which the piece at each address names the next; gives what was taken in, and the last or what is wrong.
    fn walked(
        list: &[(u64, u64)],
        before: (u64, u64),
        count: u64,
    ) -> (Vec<u64>, Result<u64, String>) {
        let mut taken = Vec::new();
        let first = list.first().map_or(0, |(at, _)| *at);
        let last = walk(before, first, count, |at| {
            taken.push(at);
            let next = list.iter().find(|(here, _)| *here == at);
            Ok(next.map_or(0, |(_, next)| *next))
        });
        (taken, last.map_err(|trouble| trouble.text.to_string()))
    }

    #[test]
    fn only_what_is_new_is_walked() {
        let list = [(64, 96), (96, 32), (32, 0)];
        assert_eq!(walked(&list, (0, 0), 3), (vec![64, 96, 32], Ok(32)));
        assert_eq!(walked(&list[1..], (1, 64), 2), (vec![96], Ok(96)));
        assert_eq!(walked(&[], (3, 32), 3), (vec![], Ok(32)));
    }

    #[test]
    fn a_ring_is_refused_where_it_closes_however_much_news_is_claimed() {
        let (taken, last) = walked(&[(64, 96), (96, 64)], (0, 0), u64::MAX);
        assert_eq!(taken, [64, 96]);
        assert!(
            last.unwrap_err()
                .contains("a ring: after 2 it comes to 0x40")
        );
        let (taken, last) = walked(&[(96, 64)], (1, 64), 9);
        assert_eq!(taken, [96], "the piece that was taken in last counts too");
        assert!(last.unwrap_err().contains("a ring"));
    }

    #[test]
    fn a_list_that_is_shorter_than_claimed_or_shrinks_is_refused() {
        let (taken, last) = walked(&[(64, 0)], (0, 0), 2);
        assert_eq!(taken, [64]);
        assert!(last.unwrap_err().contains("ends after 1"));
        let (_, last) = walked(&[], (5, 64), 4);
        assert!(last.unwrap_err().contains("where 5 were before"));
    }
}
