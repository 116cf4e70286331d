//! Typed views: the one place of this crate where bytes of the region become slices and values.
//!
//! Deliberately elsewhere: when pages come and go (`hivemind-protocol`), and how faults are caught
//! (`hivemind-memory`). Every proof below rests on two facts. (1) A valid page's bytes change only by this
//! drone's own stores or in an acquire (INV-1, INV-6), and every acquire takes `&mut Hive`. (2) Elements
//! are `Pod`, so whatever bytes another drone left there are a value.

#![allow(unsafe_code)]

use crate::place::{MARK_BYTES, address_in};
use crate::{Error, Hive, Result};
use bytemuck::{Pod, Zeroable};
use hivemind_protocol::{AccessKind, Address};
use std::fmt;
use std::marker::PhantomData;

/// Shared memory for `len` values, the same on all drones. Made by [`Hive::alloc`].
///
/// There is one handle a drone, so that two views of it cannot overlap; it is given back with
/// [`Hive::free`], which takes it: a view of freed memory does not compile.
///
/// ```compile_fail,E0382
/// # fn main() -> hivemind::Result<()> {
/// # let mut hive = hivemind::Hive::join()?;
/// let table = hive.alloc::<u64>(10)?;
/// hive.free(table)?;
/// println!("{}", table.view(&hive)[0]);   // error: use of moved value
/// # Ok(()) }
/// ```
pub struct Shared<T> {
    address: Address,
    len: usize,
    values: PhantomData<T>,
}

/// The place of one value in shared memory, or nowhere. It is plain data, the same on all drones, and can
/// itself be stored in shared memory: lists, trees and tables are built of it.
///
/// A place is given by [`Hive::create`] and good until [`Hive::destroy`]. Whoever has synchronised with the drone
/// that destroyed the value (by a lock or a barrier) and still uses the place is told so, even where another value
/// lies at the same address by then: a place carries a stamp of 16 bits, so one in 65,536 values that come
/// to lie there could be mistaken for it. Who has not synchronised is in a race, and may see the old value.
///
/// ```
/// use hivemind::{Hive, Ptr};
/// # fn main() -> hivemind::Result<()> {
/// let mut hive = Hive::join()?;
/// let place = hive.create(41_u64)?;
/// hive.set(place, 42);
/// assert_eq!(hive.get(place), 42);
/// assert!(Ptr::<u64>::null().is_null());
/// # hive.leave() }
/// ```
#[repr(transparent)]
pub struct Ptr<T> {
    /// The address, and above it the stamp; see `place`.
    bits: u64,
    value: PhantomData<fn() -> T>,
}

impl<T: Pod> Shared<T> {
    /// A handle on a block that was allocated for `len` values and that no other handle of this drone names.
    pub(crate) fn new(address: Address, len: usize) -> Self {
        Self {
            address,
            len,
            values: PhantomData,
        }
    }

    /// The values, to read. Pages that are not here come as they are touched; the first touch of one blocks
    /// until it is here. Where it cannot come (a drone was lost) the process ends with a sentence that says why.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let table = hive.alloc::<u32>(100)?;
    /// let largest = table.view(&hive).iter().max();
    /// assert_eq!(largest, Some(&0));
    /// # hive.leave() }
    /// ```
    pub fn view<'a>(&'a self, hive: &'a Hive) -> &'a [T] {
        let place = hive.region().place(self.address, self.bytes());
        // SAFETY: the block lies in the region (`place` asserts it) and is aligned for T (`Hive::alloc`
        // asks for it). Its bytes are initialised (a region starts as zeros) and any bytes are a T (Pod).
        // They do not change while the slice lives: `&'a self` excludes `view_mut`, `&'a Hive` excludes
        // acquires and the calls that store through addresses (all take `&mut Hive`), and nothing else
        // changes a valid page (INV-1, INV-6).
        unsafe { std::slice::from_raw_parts(place.cast::<T>(), self.len) }
    }

    /// The values, to read and write. Only pages that are really written count as written. Blocks as
    /// [`Shared::view`] does.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let mut table = hive.alloc::<u32>(100)?;
    /// for (at, value) in table.view_mut(&hive).iter_mut().enumerate() {
    ///     *value = at as u32;
    /// }
    /// # hive.leave() }
    /// ```
    pub fn view_mut<'a>(&'a mut self, hive: &'a Hive) -> &'a mut [T] {
        let place = hive.region().place(self.address, self.bytes());
        // SAFETY: as in `view`; and the slice is the only one into this block in this process: the handle is
        // the only one of its block and is borrowed exclusively, and accesses by address need `&mut Hive`.
        unsafe { std::slice::from_raw_parts_mut(place.cast::<T>(), self.len) }
    }

    /// The values, to read and write, while nothing else of the hive is used.
    pub(crate) fn view_alone<'a>(&'a self, hive: &'a mut Hive) -> &'a mut [T] {
        let place = hive.region().place(self.address, self.bytes());
        // SAFETY: as in `view_mut`; that the slice is the only one follows from `&'a mut Hive`: every other
        // slice into the region borrows the hive too.
        unsafe { std::slice::from_raw_parts_mut(place.cast::<T>(), self.len) }
    }

    /// How many values.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let table = hive.alloc::<u32>(100)?;
    /// assert_eq!(table.len(), 100);
    /// # hive.leave() }
    /// ```
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let nothing = hive.alloc::<u32>(0)?;
    /// assert!(nothing.is_empty());
    /// # hive.leave() }
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the block lies in the region, for the byte-level calls.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let mut table = hive.alloc::<u8>(100)?;
    /// table.view_mut(&hive)[3] = 7;
    /// let third = hivemind::Address(table.address().0 + 3);
    /// assert_eq!(hive.read(third)?, 7); // the same memory, byte by byte
    /// # hive.leave() }
    /// ```
    pub fn address(&self) -> Address {
        self.address
    }

    fn bytes(&self) -> u64 {
        (self.len * size_of::<T>()) as u64
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} values at {})", self.len, self.address)
    }
}

impl<T> Ptr<T> {
    /// Nowhere.
    ///
    /// ```
    /// assert!(hivemind::Ptr::<u64>::null().is_null());
    /// ```
    pub const fn null() -> Self {
        Self {
            bits: 0,
            value: PhantomData,
        }
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            bits,
            value: PhantomData,
        }
    }

    pub(crate) fn bits(self) -> u64 {
        self.bits
    }

    /// Whether this is nowhere.
    ///
    /// ```
    /// use hivemind::Ptr;
    /// assert_eq!(Ptr::<u64>::default(), Ptr::null());
    /// assert!(Ptr::<u64>::default().is_null());
    /// ```
    pub fn is_null(self) -> bool {
        address_in(self.bits).0 == 0
    }

    /// Where the value lies in the region.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let place = hive.create(7_u8)?;
    /// assert_eq!(hive.read(place.address())?, 7);
    /// # hive.leave() }
    /// ```
    pub fn address(self) -> Address {
        address_in(self.bits)
    }
}

impl<T> Clone for Ptr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ptr<T> {}

impl<T> PartialEq for Ptr<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits
    }
}

impl<T> Eq for Ptr<T> {}

impl<T> Default for Ptr<T> {
    fn default() -> Self {
        Self::null()
    }
}

impl<T> fmt::Debug for Ptr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ptr({})", self.address().0)
    }
}

// SAFETY: a `Ptr` is one u64 (transparent, and a marker without size); all zeros is `null`.
unsafe impl<T> Zeroable for Ptr<T> {}
// SAFETY: a `Ptr` is one u64: no padding, every pattern of bits is a value, `Copy` and `'static` for
// `T: 'static`. That an address leads nowhere is found out when it is used.
unsafe impl<T: 'static> Pod for Ptr<T> {}

impl Hive {
    /// The value at a place. Take the lock that guards it first.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let place = hive.create([1_u32, 2])?;
    /// assert_eq!(hive.get(place), [1, 2]);
    /// # hive.leave() }
    /// ```
    ///
    /// # Panics
    /// If the place is nowhere, not in the region, or its value was destroyed (see [`Ptr`]).
    pub fn get<T: Pod>(&mut self, at: Ptr<T>) -> T {
        let place = self.checked_place(at);
        // SAFETY: `checked_place` asserts that the bytes lie in the region; any bytes are a T (Pod); no
        // `&mut` slice into the region lives, since all borrow the hive, which is borrowed exclusively here.
        unsafe { place.cast::<T>().read_unaligned() }
    }

    /// Stores a value at a place. Take the lock that guards it first.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let place = hive.create(1_u32)?;
    /// hive.set(place, 2);
    /// assert_eq!(hive.get(place), 2);
    /// # hive.leave() }
    /// ```
    ///
    /// # Panics
    /// If the place is nowhere, not in the region, or its value was destroyed (see [`Ptr`]).
    pub fn set<T: Pod>(&mut self, at: Ptr<T>, value: T) {
        let place = self.checked_place(at);
        // SAFETY: as in `get`, and no `&` slice into the region lives either.
        unsafe { place.cast::<T>().write_unaligned(value) }
    }

    /// Copies bytes out of the region.
    pub(crate) fn copy_out(&mut self, from: Address, into: &mut [u8]) -> Result<()> {
        self.check_range(from, into.len() as u64)?;
        let place = self.region().place(from, into.len() as u64);
        // SAFETY: the bytes lie in the region; `into` is private memory, so the two don't overlap; no
        // `&mut` slice into the region lives, since the hive is borrowed exclusively.
        unsafe { place.copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) }
        Ok(())
    }

    /// Copies bytes into the region.
    pub(crate) fn copy_in(&mut self, to: Address, bytes: &[u8]) -> Result<()> {
        self.check_range(to, bytes.len() as u64)?;
        let place = self.region().place(to, bytes.len() as u64);
        // SAFETY: as in `copy_out`, and no slice into the region lives at all: `bytes` borrowed from the
        // region would borrow the hive.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
        Ok(())
    }

    /// Makes a range present, so that a system call may read it (or write it, for `&mut`), until the next
    /// acquire. Blocks until all its pages are here.
    ///
    /// ```
    /// use std::io::Write;
    /// # fn main() -> hivemind::Result<()> {
    /// let mut hive = hivemind::Hive::join()?;
    /// let text = hive.alloc::<u8>(10_000)?;
    /// let view = text.view(&hive);
    /// hive.touch(view);                     // without it, write(2) could fail with EFAULT
    /// std::io::sink().write_all(view).expect("a sink takes all");
    /// # hive.leave() }
    /// ```
    pub fn touch<T: Pod>(&self, values: &[T]) {
        let first = values.as_ptr().addr() as u64;
        let start = first.wrapping_sub(self.region().base() as u64);
        let end = start.checked_add(size_of_val(values) as u64);
        if let Some(end) = end.filter(|end| *end <= self.region().bytes()) {
            self.region().touch(start..end, AccessKind::Read);
        }
    }

    /// The mark before a value of so many bytes at this address; an error if they are not all in the region.
    pub(crate) fn mark_before(&mut self, value: Address, bytes: u64) -> Result<u64> {
        let region_bytes = self.region().bytes();
        let end = value.0.checked_add(bytes);
        if value.0 < MARK_BYTES || end.is_none_or(|end| end > region_bytes) {
            return Err(Error::OutOfBounds {
                address: value.0,
                bytes,
                region_bytes,
            });
        }
        let place = self
            .region()
            .place(Address(value.0 - MARK_BYTES), MARK_BYTES);
        // SAFETY: as in `get`: the bytes lie in the region, any are a u64, and the hive is borrowed exclusively.
        Ok(unsafe { place.cast::<u64>().read_unaligned() })
    }

    fn checked_place<T: Pod>(&mut self, at: Ptr<T>) -> *mut u8 {
        assert!(
            !at.is_null(),
            "a null Ptr was followed: test it with is_null() first"
        );
        if let Err(error) = self.check_place(at) {
            panic!("a Ptr leads nowhere: {error}");
        }
        self.region().place(at.address(), size_of::<T>() as u64)
    }
}

/// The application view of the region: raw addresses only.
#[derive(Clone)]
pub(crate) struct Region {
    view: hivemind_memory::RegionView,
}

impl Region {
    pub(crate) fn new(view: hivemind_memory::RegionView) -> Self {
        Self { view }
    }

    pub(crate) fn base(&self) -> usize {
        self.view.base().addr()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.view.bytes()
    }

    /// Whether this process made it, and is no forked child of that.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.view.is_of_this_process()
    }

    /// Touches each page of a range of offsets, so that the system's tables have it.
    pub(crate) fn touch(&self, offsets: std::ops::Range<u64>, kind: AccessKind) {
        self.view.touch(offsets, kind);
    }

    /// Where `bytes` bytes at `address` lie in this process.
    ///
    /// # Panics
    /// INV-8: if they are not all in the region.
    fn place(&self, address: Address, bytes: u64) -> *mut u8 {
        let fits = address
            .0
            .checked_add(bytes)
            .is_some_and(|end| end <= self.bytes());
        assert!(
            fits,
            "INV-8: {bytes} bytes at {address} are not in the region"
        );
        // SAFETY: the offset lies within the mapping, one allocation that lives as long as `view`.
        unsafe { self.view.base().add(address.0 as usize) }
    }
}
