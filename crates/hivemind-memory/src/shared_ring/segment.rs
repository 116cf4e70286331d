//! The file of two rings and its mapping: how it comes about, how another process opens it. Its two ends are in
//! `ends.rs`.
//!
//! Not in the build of the models, for loom's atomics cannot lie in a mapping. What the ends tell each other, which the
//! models check, is one file up.

use super::Lane;
use super::ends::{RingReceiver, RingSender};
use crate::owner::Owner;
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
///
/// ```
/// # use hivemind_memory::shared_ring;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
/// let elsewhere = shared_ring::Offer { process: u32::MAX, ..offer };
/// let refused = shared_ring::open(&elsewhere, 1 << 16).err().unwrap();
/// assert!(matches!(refused, shared_ring::RingRefused::Unreachable { .. }), "{refused}");
/// # Ok(()) }
/// ```
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
///
/// ```
/// # use hivemind_memory::shared_ring;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
/// assert_eq!(offer.process, std::process::id());
/// # Ok(()) }
/// ```
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
///
/// ```
/// # use hivemind_memory::shared_ring;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
/// let shared_ring::Pair { sender, receiver } = ours;
/// # Ok(()) }
/// ```
pub struct Pair {
    /// Where this end puts bytes.
    pub sender: RingSender,
    /// Where it takes them.
    pub receiver: RingReceiver,
}

pub(super) struct Segment {
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

    pub(super) fn lane(&self, direction: usize) -> &Lane {
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

    pub(super) fn put(&self, direction: usize, cursor: u64, from: &[u8]) {
        let [(first_at, first), (rest_at, rest)] = self.pieces(direction, cursor, from.len());
        // SAFETY: both pieces lie within the mapping by `pieces`, and `from` has as many bytes. The other process
        // may touch the same bytes meanwhile, which this copy tolerates.
        unsafe {
            sys::copy_racing(from.as_ptr(), self.view.add(first_at), first);
            sys::copy_racing(from[first..].as_ptr(), self.view.add(rest_at), rest);
        }
    }

    pub(super) fn take(&self, direction: usize, cursor: u64, into: &mut [u8]) {
        let [(first_at, first), (rest_at, rest)] = self.pieces(direction, cursor, into.len());
        // SAFETY: as in `put`, the other way round.
        unsafe {
            sys::copy_racing(self.view.add(first_at), into.as_mut_ptr(), first);
            sys::copy_racing(self.view.add(rest_at), into[first..].as_mut_ptr(), rest);
        }
    }

    pub(super) fn capacity(&self) -> u64 {
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
            sender: RingSender::new(Arc::clone(&segment), sending),
            receiver: RingReceiver::new(segment, 1 - sending),
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
/// there.
///
/// ```
/// # use hivemind_memory::shared_ring;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
/// let theirs = shared_ring::open(&offer, 1 << 16)?;
/// drop(file);
/// # Ok(()) }
/// ```
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

#[cfg(test)]
mod tests {
    use super::*;

    const RING_BYTES: usize = 256 << 10;

    #[test]
    #[should_panic(expected = "INV-M5")]
    fn a_ring_of_no_whole_pages_is_refused() {
        let _ = share([7; NONCE_BYTES], 5000);
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
