//! Values of their own in shared memory: made and destroyed by any drone at any time, and reached by a place
//! ([`Ptr`]) that notices when its value is gone.
//!
//! Before each value lies a *mark*, in the same page and so at no extra message. A place carries a stamp, and
//! fits only the mark that was made with it; destroying a value takes its mark away. So whoever has
//! synchronised with the destruction is told of it, as shared memory itself carries the news, and a place is
//! not mistaken for another value that lies there later (docs/decisions/0011-places-know-their-value.md). Reading and writing at a place
//! lives in `view`, arrays in `hive`, bytes in `bytes`.

use crate::view::Ptr;
use crate::{Error, Hive, Result};
use bytemuck::Pod;
use hivemind_protocol::Address;

/// The mark is the last word before its value.
pub(crate) const MARK_BYTES: u64 = size_of::<u64>() as u64;

/// What a block has before its value at the least: as much as keeps any plain value aligned.
const ROOM_BYTES: u64 = 16;

/// Stamps stand above the address in a place: the address space of a process has 47 bits.
const STAMP_SHIFT: u32 = 48;

/// An odd number below: no place has an odd address, so no mark is 0, which marks nothing.
const MARK_KEY: u64 = 0xA5B3_5705_F19D_2C41;

/// The mark of the value that the bits of a place stand for. One to one, and unlike what programs store.
pub(crate) fn mark_of(place_bits: u64) -> u64 {
    (place_bits ^ MARK_KEY).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The bits of a place: the address of a value, and its stamp.
fn bits_of(value: Address, stamp: u16) -> u64 {
    value.0 | u64::from(stamp) << STAMP_SHIFT
}

/// The address in the bits of a place.
pub(crate) const fn address_in(place_bits: u64) -> Address {
    Address(place_bits & ((1 << STAMP_SHIFT) - 1))
}

/// What a block has before a value with this alignment.
fn room_before(align: u64) -> u64 {
    align.max(ROOM_BYTES)
}

/// Where a drone's stamps begin: drones that make values in turn at one address seldom give the same.
pub(crate) fn first_stamp(me: u32) -> u16 {
    (me.wrapping_mul(0x9E37_79B1) >> 16) as u16
}

impl Hive {
    /// Puts one value into shared memory. Any drone may call it at any time; hand the place to others
    /// through shared memory, under a lock or before a barrier. Blocks for a turn at the heap: a lock and,
    /// elsewhere than on drone 0, a question to drone 0. It takes the value's bytes and at least 16 more.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let place = hive.create([1.5_f32; 3])?;
    /// assert_eq!(hive.get(place)[2], 1.5);
    /// hive.destroy(place)?;
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// Not enough memory; a drone was lost.
    pub fn create<T: Pod>(&mut self, value: T) -> Result<Ptr<T>> {
        let align = align_of::<T>() as u64;
        let room = room_before(align);
        let block = self.allocate(room + size_of::<T>() as u64, room)?;
        let at = Address(block.0 + room);
        let bits = bits_of(at, self.next_stamp);
        self.next_stamp = self.next_stamp.wrapping_add(1);
        self.copy_in(Address(at.0 - MARK_BYTES), &mark_of(bits).to_ne_bytes())?;
        let place = Ptr::from_bits(bits);
        self.set(place, value);
        Ok(place)
    }

    /// Gives the memory of a value from [`Hive::create`] back. Any drone may call it at any time. Blocks as
    /// `create` does. From now on whoever has synchronised with this drone is told so when it uses the place.
    ///
    /// ```
    /// # fn main() -> hivemind::Result<()> {
    /// # let mut hive = hivemind::Hive::join()?;
    /// let place = hive.create(7_u8)?;
    /// hive.destroy(place)?;
    /// let error = hive.destroy(place).expect_err("it is gone");
    /// assert!(error.to_string().contains("were freed"));
    ///
    /// hive.create(8_u8)?; // perhaps at the same address
    /// assert!(hive.destroy(place).is_err());
    /// # hive.leave() }
    /// ```
    ///
    /// # Errors
    /// The place is not one that `create` gave ([`Error::Stale`]), or was destroyed before ([`Error::Freed`], or
    /// `Stale` where something else lies there now); a drone was lost.
    pub fn destroy<T: Pod>(&mut self, place: Ptr<T>) -> Result<()> {
        self.check_place(place)?;
        let at = place.address();
        self.copy_in(Address(at.0 - MARK_BYTES), &0_u64.to_ne_bytes())?;
        self.release_block(Address(at.0 - room_before(align_of::<T>() as u64)))
    }

    /// Whether the value that this place was given for is still there, as far as this drone has heard.
    pub(crate) fn check_place<T: Pod>(&mut self, place: Ptr<T>) -> Result<()> {
        let (address, bytes) = (place.address().0, size_of::<T>() as u64);
        match self.mark_before(place.address(), bytes)? {
            mark if mark == mark_of(place.bits()) => Ok(()),
            0 => Err(Error::Freed { address, bytes }),
            _ => Err(Error::Stale { address, bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_has_the_mark_that_marks_nothing() {
        assert_ne!(MARK_KEY % 2, 0);
        for (at, stamp) in [(16, 0), (1 << 45, u16::MAX), (4096, 77)] {
            let bits = bits_of(Address(at), stamp);
            assert_eq!(address_in(bits), Address(at));
            assert_ne!(mark_of(bits), 0);
        }
    }

    #[test]
    fn an_address_with_another_stamp_has_another_mark() {
        let at = Address(4096);
        let marks: std::collections::BTreeSet<u64> = (0..=u16::MAX)
            .map(|stamp| mark_of(bits_of(at, stamp)))
            .collect();
        assert_eq!(marks.len(), 1 << 16);
    }
}
