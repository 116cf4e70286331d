//! The file of two rings and its mapping: how it comes about, how another process opens it, and the two ends.
//!
//! Not in the build of the models, for loom's atomics cannot lie in a mapping. What the ends tell each other, which the
//! models check, is one file up.

use super::{Cursor, Lane, Nonsense, rest};
use crate::owner::Owner;
use crate::primitive::Ordering;
use crate::{MemoryError, sys};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, SealFlags};
use rustix::io::Errno;
use std::sync::Arc;

const NONCE_BYTES: usize = 32;
/// The nonce stands first, then the lanes, then the bytes of both directions.
const LANES_AT: usize = 1024;
const BYTES_AT: usize = 4096;
/// How many bytes one direction may hold, a power of two: at least this many, so that the lanes are worth their pages.
const LEAST_RING_BYTES: usize = 4 << 10;
/// And at most this many.
const MOST_RING_BYTES: usize = 64 << 20;
/// What keeps every address of the mapping good whatever the other process does.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
/// The kernel's own file system of memory files with pages of the usual size.
const TMPFS_MAGIC: i64 = 0x0102_1994;

const _: () = assert!(LANES_AT + 2 * size_of::<Lane>() <= BYTES_AT);
const _: () = assert!(LANES_AT.is_multiple_of(align_of::<Lane>()));

/// Why a segment that was offered is not used. Both go on without one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingRefused {
    /// The file cannot be reached from here: another machine, container or user.
    #[error("the other's memory file cannot be reached from here ({call}: {errno})")]
    Unreachable {
        /// The system call.
        call: &'static str,
        /// What it answered.
        errno: Errno,
    },
    /// It can be reached, and is not what was announced.
    #[error("the file that was offered is no ring: its {what} is wrong")]
    Unfit {
        /// What was looked at.
        what: &'static str,
    },
}

/// What tells the other process how to find a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The process that made it.
    pub process: u32,
    /// The descriptor under which that process holds it.
    pub descriptor: u32,
    /// What stands in it, so that nothing else is taken for it.
    pub nonce: [u8; NONCE_BYTES],
}

/// Both directions of one end.
pub struct Pair {
    /// Where this end puts bytes.
    pub sender: RingSender,
    /// Where it takes them.
    pub receiver: RingReceiver,
}

struct Segment {
    view: *mut u8,
    ring_bytes: usize,
    owner: Owner,
}

// SAFETY: the address is constant for the life of the value; what is reached through it are atomics, and bytes that
// are copied by an access that tolerates races.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl Segment {
    fn map(file: BorrowedFd<'_>, ring_bytes: usize) -> Result<Self, Errno> {
        let owner = Owner::this_process().map_err(|_| Errno::NOMEM)?;
        let view = sys::map_file(file, 0, segment_bytes(ring_bytes), true)?;
        let segment = Self {
            view,
            ring_bytes,
            owner,
        };
        // SAFETY: mapped just above, unused yet.
        unsafe { sys::keep_private(view, segment_bytes(ring_bytes)) }?;
        Ok(segment)
    }

    fn lane(&self, direction: usize) -> &Lane {
        assert!(
            direction < 2,
            "INV-M5: ring {direction} of a segment is named, which has two"
        );
        self.owner.assert_this_process();
        // SAFETY: within the mapping, which lives as long as self, and aligned, by the assertions on the layout. A
        // lane is nothing but atomics, of which every bit pattern is valid and which others may change.
        unsafe { &*self.view.add(LANES_AT).cast::<Lane>().add(direction) }
    }

    /// Copies into or out of a ring, from `cursor` on, around its end.
    fn pieces(&self, direction: usize, cursor: u64, bytes: usize) -> [(usize, usize); 2] {
        let ring_bytes = self.ring_bytes;
        assert!(
            direction < 2 && bytes <= ring_bytes,
            "INV-M5: {bytes} bytes of ring {direction} of a segment are named, which has two of {ring_bytes}"
        );
        let start = (cursor % ring_bytes as u64) as usize;
        let first = bytes.min(ring_bytes - start);
        let base = BYTES_AT + direction * ring_bytes;
        [(base + start, first), (base, bytes - first)]
    }

    fn put(&self, direction: usize, cursor: u64, from: &[u8]) {
        let [(first_at, first), (rest_at, rest)] = self.pieces(direction, cursor, from.len());
        // SAFETY: both pieces lie within the mapping by `pieces`, and `from` has as many bytes. The other process
        // may touch the same bytes meanwhile, which this copy tolerates.
        unsafe {
            sys::copy_racing(from.as_ptr(), self.view.add(first_at), first);
            sys::copy_racing(from[first..].as_ptr(), self.view.add(rest_at), rest);
        }
    }

    fn take(&self, direction: usize, cursor: u64, into: &mut [u8]) {
        let [(first_at, first), (rest_at, rest)] = self.pieces(direction, cursor, into.len());
        // SAFETY: as in `put`, the other way round.
        unsafe {
            sys::copy_racing(self.view.add(first_at), into.as_mut_ptr(), first);
            sys::copy_racing(self.view.add(rest_at), into[first..].as_mut_ptr(), rest);
        }
    }

    fn capacity(&self) -> u64 {
        self.ring_bytes as u64
    }

    fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        // SAFETY: the first bytes of the mapping; the copy tolerates stores of the other process.
        unsafe { sys::copy_racing(self.view, nonce.as_mut_ptr(), NONCE_BYTES) };
        nonce
    }

    /// One end: it sends on ring `sending` and receives on the other.
    fn pair(self, sending: usize) -> Pair {
        let segment = Arc::new(self);
        Pair {
            sender: RingSender {
                segment: Arc::clone(&segment),
                direction: sending,
                cursor: Cursor::new(),
            },
            receiver: RingReceiver {
                segment,
                direction: 1 - sending,
                cursor: Cursor::new(),
            },
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // A forked child has no view; what is at that address there is not ours.
        if self.owner.is_this_process() {
            // SAFETY: mapped by `map`; who reaches into it holds this value.
            unsafe { sys::unmap(self.view, segment_bytes(self.ring_bytes)) };
        }
    }
}

/// How long the file is.
fn segment_bytes(ring_bytes: usize) -> usize {
    assert!(
        ring_bytes.is_power_of_two() && (LEAST_RING_BYTES..=MOST_RING_BYTES).contains(&ring_bytes),
        "INV-M5: a ring of {ring_bytes} bytes would not fill whole pages"
    );
    BYTES_AT + 2 * ring_bytes
}

/// Makes a segment of two rings of `ring_bytes`, a power of two from 4 KiB to 64 MiB. Memory is taken only for what is
/// touched. The file is to be held until the other has answered, and closed then.
///
/// ```
/// use hivemind_memory::shared_ring;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
/// let mut theirs = shared_ring::open(&offer, 1 << 16)?; // In another process of this machine.
/// drop(file);
/// ours.sender.send(b"hello")?;
/// let mut space = [0; 9];
/// assert_eq!(theirs.receiver.receive(&mut space)?.0, 5);
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// Where the kernel refuses the file or its mapping.
///
/// # Panics
///
/// Where `ring_bytes` is none that a ring may have.
pub fn share(
    nonce: [u8; NONCE_BYTES],
    ring_bytes: usize,
) -> Result<(Pair, Offer, OwnedFd), MemoryError> {
    let length = segment_bytes(ring_bytes);
    let bytes = length as u64;
    let refused = |call, errno| MemoryError::MemfdRefused { call, bytes, errno };
    let file = sys::sealable_file(length).map_err(|(call, errno)| refused(call, errno))?;
    rustix::fs::fcntl_add_seals(&file, SEALS)
        .map_err(|errno| refused("fcntl(F_ADD_SEALS)", errno))?;
    let segment = Segment::map(file.as_fd(), ring_bytes).map_err(|errno| refused("mmap", errno))?;
    // SAFETY: the first bytes of a mapping of our own.
    unsafe { sys::copy_racing(nonce.as_ptr(), segment.view, NONCE_BYTES) };
    let offer = Offer {
        process: std::process::id(),
        descriptor: file.as_raw_fd().unsigned_abs(),
        nonce,
    };
    Ok((segment.pair(0), offer, file))
}

/// Opens the segment that another process offers, with rings as long as both have agreed. Never blocks, whatever stands
/// there. For an example see [`share`].
///
/// # Errors
///
/// Where it cannot be reached, or is not a segment of this user's with these seals, this size and this nonce.
///
/// # Panics
///
/// Where `ring_bytes` is none that a ring may have.
pub fn open(offer: &Offer, ring_bytes: usize) -> Result<Pair, RingRefused> {
    let unreachable = |call| move |errno| RingRefused::Unreachable { call, errno };
    let unfit = |fits, what| {
        if fits {
            Ok(())
        } else {
            Err(RingRefused::Unfit { what })
        }
    };
    let path = format!("/proc/{}/fd/{}", offer.process, offer.descriptor);
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(unreachable("open"))?;
    let seals = rustix::fs::fcntl_get_seals(&file).unwrap_or(SealFlags::empty());
    unfit(seals.contains(SEALS), "seal")?;
    let system = rustix::fs::fstatfs(&file).map_err(unreachable("fstatfs"))?;
    unfit(system.f_type == TMPFS_MAGIC, "file system")?;
    let stat = rustix::fs::fstat(&file).map_err(unreachable("fstat"))?;
    unfit(stat.st_uid == rustix::process::geteuid().as_raw(), "owner")?;
    unfit(
        u64::try_from(stat.st_size) == Ok(segment_bytes(ring_bytes) as u64),
        "size",
    )?;
    let segment = Segment::map(file.as_fd(), ring_bytes).map_err(unreachable("mmap"))?;
    unfit(segment.nonce() == offer.nonce, "nonce")?;
    Ok(segment.pair(1))
}

/// The end of a ring that puts bytes in.
pub struct RingSender {
    segment: Arc<Segment>,
    direction: usize,
    cursor: Cursor,
}

impl RingSender {
    /// Puts in what there is room for: how many bytes that were, and whether the other rests and needs the bell.
    /// Never blocks.
    ///
    /// # Errors
    ///
    /// Where the other process wrote nonsense.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(usize, bool), Nonsense> {
        let lane = self.segment.lane(self.direction);
        let room = self.cursor.room(lane, self.segment.capacity())? as usize;
        let fits = bytes.len().min(room);
        if fits == 0 {
            return Ok((0, false));
        }
        self.segment
            .put(self.direction, self.cursor.own, &bytes[..fits]);
        let bell = self
            .cursor
            .advance(fits as u64, &lane.sent.0, &lane.receiver_rests.0);
        Ok((fits, bell))
    }

    /// Asks for the bell when there is room again. Says whether there is none yet; otherwise nothing was asked.
    ///
    /// # Errors
    ///
    /// Where the other process wrote nonsense.
    pub fn rest(&mut self) -> Result<bool, Nonsense> {
        let lane = self.segment.lane(self.direction);
        rest(&lane.sender_rests.0);
        let full = self.cursor.room(lane, self.segment.capacity())? == 0;
        if !full {
            lane.sender_rests.0.store(0, Ordering::Relaxed);
        }
        Ok(full)
    }

    /// Says that nothing more is sent. Says whether the other rests and needs the bell.
    #[must_use = "the other may sleep until the bell rings"]
    pub fn end(&mut self) -> bool {
        self.segment.lane(self.direction).end()
    }
}

/// The end of a ring that takes bytes out.
pub struct RingReceiver {
    segment: Arc<Segment>,
    direction: usize,
    cursor: Cursor,
}

impl RingReceiver {
    /// Takes out what there is and `space` holds: how many bytes that were, and whether the other rests and needs
    /// the bell. Never blocks, and where there is nothing costs one load.
    ///
    /// # Errors
    ///
    /// Where the other process wrote nonsense.
    pub fn receive(&mut self, space: &mut [u8]) -> Result<(usize, bool), Nonsense> {
        let lane = self.segment.lane(self.direction);
        let waiting = self.cursor.waiting(lane, self.segment.capacity())? as usize;
        let fits = space.len().min(waiting);
        if fits == 0 {
            return Ok((0, false));
        }
        self.segment
            .take(self.direction, self.cursor.own, &mut space[..fits]);
        let bell = self
            .cursor
            .advance(fits as u64, &lane.taken.0, &lane.sender_rests.0);
        Ok((fits, bell))
    }

    /// Asks for the bell when there are bytes, or the end. Says whether there is neither yet; otherwise nothing was asked.
    ///
    /// # Errors
    ///
    /// Where the other process wrote nonsense.
    pub fn rest(&mut self) -> Result<bool, Nonsense> {
        let lane = self.segment.lane(self.direction);
        let sleeps = lane.receiver_may_sleep(&mut self.cursor, self.segment.capacity())?;
        if !sleeps {
            lane.receiver_rests.0.store(0, Ordering::Relaxed);
        }
        Ok(sleeps)
    }

    /// Takes back that it asked for the bell: this end looks by itself now. A bell may be on its way already.
    pub fn look_by_itself(&mut self) {
        let rests = &self.segment.lane(self.direction).receiver_rests.0;
        rests.store(0, Ordering::Relaxed);
    }

    /// How many bytes may be taken now.
    ///
    /// # Errors
    ///
    /// Where the other process wrote nonsense.
    pub fn waiting(&mut self) -> Result<usize, Nonsense> {
        let lane = self.segment.lane(self.direction);
        Ok(self.cursor.waiting(lane, self.segment.capacity())? as usize)
    }

    /// Whether all was taken and the other sends no more.
    ///
    /// # Errors
    ///
    /// Where the other process wrote nonsense.
    pub fn is_over(&mut self) -> Result<bool, Nonsense> {
        let lane = self.segment.lane(self.direction);
        self.cursor.is_over(lane, self.segment.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING_BYTES: usize = 256 << 10;

    fn two_ends() -> (Pair, Pair) {
        let (ours, offer, _file) = share([7; NONCE_BYTES], RING_BYTES).unwrap();
        let theirs = open(&offer, RING_BYTES).unwrap();
        (ours, theirs)
    }

    #[test]
    fn bytes_arrive_in_order_around_the_end_of_the_ring_both_ways() {
        let (ours, theirs) = two_ends();
        for (mut sender, mut receiver) in [
            (ours.sender, theirs.receiver),
            (theirs.sender, ours.receiver),
        ] {
            let (mut next, mut expected) = (0u32, 0u32);
            let mut space = [0; 3 * 1000];
            while expected < RING_BYTES as u32 {
                let piece: Vec<u8> = (next..next + 700).flat_map(u32::to_le_bytes).collect();
                if sender.send(&piece[..4 * 700]).unwrap().0 == piece.len() {
                    next += 700;
                }
                let got = receiver.receive(&mut space[..2800]).unwrap().0;
                for word in space[..got].chunks_exact(4) {
                    assert_eq!(u32::from_le_bytes(word.try_into().unwrap()), expected);
                    expected += 1;
                }
            }
        }
    }

    #[test]
    fn a_full_ring_takes_no_more_and_says_when_there_is_room() {
        let (mut ours, mut theirs) = two_ends();
        let much = vec![1; RING_BYTES + 1];
        assert_eq!(ours.sender.send(&much).unwrap(), (RING_BYTES, false));
        assert_eq!(ours.sender.send(&much).unwrap(), (0, false));
        assert!(ours.sender.rest().unwrap());
        assert_eq!(theirs.receiver.receive(&mut [0; 10]).unwrap(), (10, true));
        assert_eq!(theirs.receiver.receive(&mut [0; 10]).unwrap(), (10, false));
        assert!(!ours.sender.rest().unwrap());
    }

    #[test]
    fn the_bell_is_asked_for_once_a_rest_and_never_while_the_other_looks() {
        let (mut ours, mut theirs) = two_ends();
        assert_eq!(ours.sender.send(b"a").unwrap(), (1, false));
        assert!(!theirs.receiver.rest().unwrap(), "there is a byte");
        assert_eq!(ours.sender.send(b"b").unwrap(), (1, false));
        assert_eq!(theirs.receiver.receive(&mut [0; 9]).unwrap().0, 2);
        assert!(theirs.receiver.rest().unwrap());
        assert_eq!(ours.sender.send(b"c").unwrap(), (1, true));
        assert_eq!(ours.sender.send(b"d").unwrap(), (1, false));
    }

    #[test]
    fn the_end_comes_after_the_last_byte_and_wakes_who_rests() {
        let (mut ours, mut theirs) = two_ends();
        assert_eq!(ours.sender.send(b"last").unwrap(), (4, false));
        assert!(!ours.sender.end());
        assert!(!theirs.receiver.is_over().unwrap());
        assert_eq!(theirs.receiver.receive(&mut [0; 9]).unwrap(), (4, false));
        assert!(theirs.receiver.is_over().unwrap());
        assert!(!theirs.receiver.rest().unwrap(), "there is the end to see");
        assert!(ours.receiver.rest().unwrap());
        assert!(theirs.sender.end());
        assert!(!ours.receiver.rest().unwrap());
    }

    #[test]
    fn who_looks_by_itself_needs_no_bell() {
        let (mut ours, mut theirs) = two_ends();
        assert!(theirs.receiver.rest().unwrap());
        theirs.receiver.look_by_itself();
        assert_eq!(ours.sender.send(b"a").unwrap(), (1, false));
        assert_eq!(theirs.receiver.waiting().unwrap(), 1);
    }

    #[test]
    #[should_panic(expected = "INV-M5")]
    fn a_ring_of_no_whole_pages_is_refused() {
        let _ = share([7; NONCE_BYTES], 5000);
    }

    #[test]
    fn two_threads_that_sleep_until_the_bell_lose_no_byte_and_never_hang() {
        const WORDS: u32 = 400_000;
        let (mut ours, mut theirs) = two_ends();
        let (ring_for_bytes, bytes_came) = std::sync::mpsc::channel();
        let (ring_for_room, room_came) = std::sync::mpsc::channel();
        let patience = std::time::Duration::from_secs(60);
        let sender = std::thread::spawn(move || {
            let all: Vec<u8> = (0..WORDS).flat_map(u32::to_le_bytes).collect();
            let mut gone = 0;
            while gone < all.len() {
                let piece = all.len().min(gone + 1 + gone % 9973);
                let (sent, bell) = ours.sender.send(&all[gone..piece]).unwrap();
                gone += sent;
                if bell {
                    ring_for_bytes.send(()).unwrap();
                }
                if sent == 0 && ours.sender.rest().unwrap() {
                    room_came.recv_timeout(patience).expect("the bell for room");
                }
            }
        });
        let (mut space, mut came) = (vec![0; 6007], Vec::new());
        while came.len() < 4 * WORDS as usize {
            let (got, bell) = theirs.receiver.receive(&mut space).unwrap();
            came.extend_from_slice(&space[..got]);
            if bell {
                ring_for_room.send(()).unwrap();
            }
            if got == 0 && theirs.receiver.rest().unwrap() {
                bytes_came
                    .recv_timeout(patience)
                    .expect("the bell for bytes");
            }
        }
        sender.join().unwrap();
        let words = came
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
        assert!(words.eq(0..WORDS));
    }

    #[test]
    fn a_cursor_that_no_correct_process_stores_is_nonsense_and_moves_nothing() {
        for wrong in [u64::MAX, RING_BYTES as u64 + 11, 9] {
            let (mut ours, mut theirs) = two_ends();
            ours.sender.send(&[0; 10]).unwrap();
            theirs.receiver.receive(&mut [0; 10]).unwrap();
            theirs
                .receiver
                .segment
                .lane(0)
                .sent
                .0
                .store(wrong, Ordering::SeqCst);
            assert!(
                theirs.receiver.receive(&mut [0; 10]).is_err(),
                "sent {wrong}"
            );
            assert_eq!(theirs.receiver.cursor.own, 10);
            ours.sender.send(&[0; 10]).unwrap();
            for wrong in [u64::MAX, 21, 9] {
                ours.sender
                    .segment
                    .lane(0)
                    .taken
                    .0
                    .store(wrong, Ordering::SeqCst);
                assert!(ours.sender.send(b"x").is_err(), "taken {wrong}");
            }
        }
    }

    #[test]
    fn only_a_sealed_file_of_the_right_size_and_nonce_is_taken() {
        let refusal = |offer: &Offer| open(offer, RING_BYTES).err().expect("it is no segment");
        let (_ours, offer, file) = share([7; NONCE_BYTES], RING_BYTES).unwrap();
        let other_nonce = Offer {
            nonce: [8; NONCE_BYTES],
            ..offer
        };
        assert_eq!(refusal(&other_nonce), RingRefused::Unfit { what: "nonce" });
        assert!(rustix::fs::ftruncate(&file, 0).is_err(), "the seal holds");

        let small = sys::sealable_file(4096).unwrap();
        let of_small = Offer {
            descriptor: small.as_raw_fd().unsigned_abs(),
            ..offer
        };
        assert_eq!(refusal(&of_small), RingRefused::Unfit { what: "seal" });
        rustix::fs::fcntl_add_seals(&small, SEALS).unwrap();
        assert_eq!(refusal(&of_small), RingRefused::Unfit { what: "size" });

        drop(small);
        assert!(matches!(
            refusal(&of_small),
            RingRefused::Unreachable { call: "open", .. } | RingRefused::Unfit { .. }
        ));
    }
}
