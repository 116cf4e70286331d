//! Where a pointer of this process leads: into shared memory, or to a variable of the program itself, which lies at the
//! same place of every drone's executable.

use crate::image::Image;
use crate::status::{Trouble, hive_status_t};
use hive_status_t::{HIVE_BAD_ARGUMENT, HIVE_BAD_POINTER};
use hivemind::{Address, ConditionId, LockId, RawHive};

/// Locks of the program's own variables stand above those of shared memory.
const FIRST_LOCK_OF_PROGRAM: u64 = 3 << 62;

/// Where a pointer leads, if all `bytes` bytes from there lie in shared memory.
pub(crate) fn address_of(
    hive: &RawHive,
    pointer: *const u8,
    bytes: usize,
    what: &str,
) -> Result<Address, Trouble> {
    let offset = (pointer.addr() as u64).wrapping_sub(hive.base() as u64);
    let fits = offset
        .checked_add(bytes as u64)
        .is_some_and(|end| offset < hive.bytes() && end <= hive.bytes());
    if !fits {
        return Err(Trouble::new(
            HIVE_BAD_POINTER,
            format!(
                "{what} at {pointer:p} ({bytes} bytes) does not lie in shared memory, which hive_malloc gives"
            ),
        ));
    }
    Ok(Address(offset))
}

/// A pointer to values of `T` in shared memory, aligned as they must be.
pub(crate) fn aligned<T>(hive: &RawHive, pointer: *mut T, what: &str) -> Result<Address, Trouble> {
    let address = address_of(hive, pointer.cast(), size_of::<T>(), what)?;
    must_be_aligned(pointer, what)?;
    Ok(address)
}

/// The lock that goes with a place, in shared memory or in the program's own variables. Its bytes are never looked at:
/// no page moves for them.
pub(crate) fn lock_at<T>(hive: &RawHive, pointer: *mut T, what: &str) -> Result<LockId, Trouble> {
    must_be_aligned(pointer, what)?;
    match (
        address_of(hive, pointer.cast(), size_of::<T>(), what),
        Image::own(),
    ) {
        (Ok(address), _) => Ok(hive.lock_at(address)),
        (Err(_), Ok(image)) if image.is_variable(pointer.addr(), size_of::<T>()) => {
            Ok(LockId(FIRST_LOCK_OF_PROGRAM + image.offset(pointer.addr())))
        }
        (Err(trouble), _) => Err(trouble),
    }
}

/// Conditions of the program's own variables are told apart from those of shared memory by the highest bit.
const OF_PROGRAM: u32 = 1 << 31;

/// The condition that goes with a place.
pub(crate) fn condition_at<T>(
    hive: &RawHive,
    pointer: *mut T,
    what: &str,
) -> Result<ConditionId, Trouble> {
    let lock = lock_at(hive, pointer, what)?.0;
    let of_program = if lock >= FIRST_LOCK_OF_PROGRAM {
        OF_PROGRAM
    } else {
        0
    };
    // Eight bytes each: their number has 31 bits up to 16 GiB.
    let number = u32::try_from(lock % (1 << 62) / 8).ok();
    let number = number
        .filter(|number| number & OF_PROGRAM == 0)
        .ok_or_else(|| {
            let text =
                format!("{what} at {pointer:p} lies beyond the first 16 GiB of shared memory");
            Trouble::new(HIVE_BAD_ARGUMENT, text)
        })?;
    Ok(ConditionId(number | of_program))
}

fn must_be_aligned<T>(pointer: *mut T, what: &str) -> Result<(), Trouble> {
    if pointer.is_aligned() {
        return Ok(());
    }
    Err(Trouble::new(
        HIVE_BAD_ARGUMENT,
        format!(
            "{what} at {pointer:p} is not aligned to {} bytes",
            align_of::<T>()
        ),
    ))
}
