//! Values that all drones exchange: broadcast and reductions, folded in the order of the drones, so that every run
//! gives the same floating-point result.

use crate::hive::{Here, here};
use crate::status::{Trouble, hive_status_t, status_of};
use hive_status_t::*;
use std::ffi::{c_int, c_void};

/// The type of values in a reduction.
pub type hive_type_t = c_int;
/// int8_t
pub const HIVE_INT8: hive_type_t = 0;
/// uint8_t
pub const HIVE_UINT8: hive_type_t = 1;
/// int16_t
pub const HIVE_INT16: hive_type_t = 2;
/// uint16_t
pub const HIVE_UINT16: hive_type_t = 3;
/// int32_t, int
pub const HIVE_INT32: hive_type_t = 4;
/// uint32_t, unsigned
pub const HIVE_UINT32: hive_type_t = 5;
/// int64_t, long
pub const HIVE_INT64: hive_type_t = 6;
/// uint64_t, size_t
pub const HIVE_UINT64: hive_type_t = 7;
/// float
pub const HIVE_FLOAT: hive_type_t = 8;
/// double
pub const HIVE_DOUBLE: hive_type_t = 9;

/// How a reduction folds two values.
pub type hive_op_t = c_int;
/// The sum; integers wrap around.
pub const HIVE_SUM: hive_op_t = 0;
/// The product; integers wrap around.
pub const HIVE_PROD: hive_op_t = 1;
/// The least.
pub const HIVE_MIN: hive_op_t = 2;
/// The greatest.
pub const HIVE_MAX: hive_op_t = 3;
/// The bits that both have; integers only.
pub const HIVE_BAND: hive_op_t = 4;
/// The bits that either has; integers only.
pub const HIVE_BOR: hive_op_t = 5;
/// The bits that one of them has; integers only.
pub const HIVE_BXOR: hive_op_t = 6;
/// 1 if neither is 0, else 0; integers only.
pub const HIVE_LAND: hive_op_t = 7;
/// 1 if one of them isn't 0, else 0; integers only.
pub const HIVE_LOR: hive_op_t = 8;

/// What one meeting carries at most, from all drones together: long buffers go in pieces, so that none is held up long.
const PIECE_BYTES: usize = 1 << 20;

/// `bytes` bytes of drone `root` come to all others, into a buffer that may lie anywhere. Collective: blocks until all
/// drones call it with the same `bytes` and `root`, and is a barrier.
///
/// Gives HIVE_BAD_ARGUMENT, HIVE_MISMATCH, HIVE_HELD_AT_BARRIER, HIVE_LOST, HIVE_TIMED_OUT.
///
/// # Safety
/// `buffer` leads to `bytes` bytes, which the call reads on `root` and writes elsewhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_broadcast(
    buffer: *mut c_void,
    bytes: usize,
    root: c_int,
) -> hive_status_t {
    let run = || -> Result<(), Trouble> {
        let hive = here()?;
        let root = drone(&hive, root)?;
        not_null(buffer, bytes)?;
        let mut done = 0;
        while done == 0 || done < bytes {
            let len = (bytes - done).min(PIECE_BYTES);
            let place = buffer.cast::<u8>().wrapping_add(done);
            let mut piece = vec![0; len];
            if hive.me() == root {
                // SAFETY: the caller vouches for the buffer; a copy, since a meeting may change shared memory.
                unsafe { place.copy_to_nonoverlapping(piece.as_mut_ptr(), len) }
            }
            hive.broadcast(root, &mut piece)?;
            if hive.me() != root {
                // SAFETY: as above.
                unsafe { place.copy_from_nonoverlapping(piece.as_ptr(), len) }
            }
            done += len.max(1);
        }
        hive.take_in()
    };
    status_of(run())
}

/// Folds `count` values of each drone into `into` on all drones, which may be `from`. Floating-point values are folded in
/// the order of the drones: every run gives the same bits. Collective: blocks until all drones call it alike, and is a barrier.
///
/// Gives HIVE_BAD_ARGUMENT for an unknown type or operation, HIVE_MISMATCH, HIVE_HELD_AT_BARRIER, HIVE_LOST, HIVE_TIMED_OUT.
///
/// # Safety
/// `from` and `into` lead to `count` values of `value_type` each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_allreduce(
    from: *const c_void,
    into: *mut c_void,
    count: usize,
    value_type: hive_type_t,
    op: hive_op_t,
) -> hive_status_t {
    // SAFETY: the caller vouches for both.
    status_of(
        here().and_then(|hive| unsafe { reduce(&hive, from, Some(into), count, value_type, op) }),
    )
}

/// The same, but only drone `root` gets the result; elsewhere `into` may be NULL and stays as it is.
///
/// # Safety
/// `from` leads to `count` values of `value_type`, on `root` `into` too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_reduce(
    from: *const c_void,
    into: *mut c_void,
    count: usize,
    value_type: hive_type_t,
    op: hive_op_t,
    root: c_int,
) -> hive_status_t {
    let run = || -> Result<(), Trouble> {
        let hive = here()?;
        let root = drone(&hive, root)?;
        let into = (hive.me() == root).then_some(into);
        // SAFETY: the caller vouches for both.
        unsafe { reduce(&hive, from, into, count, value_type, op) }
    };
    status_of(run())
}

/// # Safety
/// `from` and `into` lead to `count` values each.
unsafe fn reduce(
    hive: &Here,
    from: *const c_void,
    into: Option<*mut c_void>,
    count: usize,
    value_type: hive_type_t,
    op: hive_op_t,
) -> Result<(), Trouble> {
    let (value_bytes, fold) = folding(value_type, op)?;
    let bytes = count.checked_mul(value_bytes).ok_or_else(|| {
        Trouble::new(
            HIVE_BAD_ARGUMENT,
            format!("{count} values are more than there can be"),
        )
    })?;
    not_null(from, bytes)?;
    if let Some(into) = into {
        not_null(into, bytes)?;
    }
    let piece_bytes = (PIECE_BYTES / hive.drones() / value_bytes).max(1) * value_bytes;
    let mut done = 0;
    while done == 0 || done < bytes {
        let len = (bytes - done).min(piece_bytes);
        let mut own = vec![0; len];
        // SAFETY: the caller vouches for `from`; a copy, since a meeting may change shared memory.
        unsafe {
            let place = from.cast::<u8>().wrapping_add(done);
            place.copy_to_nonoverlapping(own.as_mut_ptr(), len);
        }
        let brought = hive.gather(&own)?;
        if let Some(into) = into {
            let mut all = brought.into_iter();
            let mut folded = all.next().unwrap_or_default();
            for other in all {
                fold(&mut folded, &other);
            }
            // SAFETY: the caller vouches for `into`.
            unsafe {
                let place = into.cast::<u8>().wrapping_add(done);
                place.copy_from_nonoverlapping(folded.as_ptr(), len.min(folded.len()));
            }
        }
        done += len.max(1);
    }
    hive.take_in()
}

/// Folds the second values into the first.
type Fold = fn(&mut [u8], &[u8]);

macro_rules! fold {
    ($type:ty, $of:expr) => {{
        fn fold(into: &mut [u8], other: &[u8]) {
            const BYTES: usize = size_of::<$type>();
            let of: fn($type, $type) -> $type = $of;
            for (into, other) in into.chunks_exact_mut(BYTES).zip(other.chunks_exact(BYTES)) {
                let left =
                    <$type>::from_ne_bytes((&*into).try_into().expect("a chunk has its size"));
                let right = <$type>::from_ne_bytes(other.try_into().expect("a chunk has its size"));
                into.copy_from_slice(&of(left, right).to_ne_bytes());
            }
        }
        Some((size_of::<$type>(), fold as Fold))
    }};
}

macro_rules! integer {
    ($type:ty, $op:expr) => {
        match $op {
            HIVE_SUM => fold!($type, |a, b| a.wrapping_add(b)),
            HIVE_PROD => fold!($type, |a, b| a.wrapping_mul(b)),
            HIVE_MIN => fold!($type, |a, b| a.min(b)),
            HIVE_MAX => fold!($type, |a, b| a.max(b)),
            HIVE_BAND => fold!($type, |a, b| a & b),
            HIVE_BOR => fold!($type, |a, b| a | b),
            HIVE_BXOR => fold!($type, |a, b| a ^ b),
            HIVE_LAND => fold!($type, |a, b| <$type>::from(a != 0 && b != 0)),
            HIVE_LOR => fold!($type, |a, b| <$type>::from(a != 0 || b != 0)),
            _ => None,
        }
    };
}

macro_rules! float {
    ($type:ty, $op:expr) => {
        match $op {
            HIVE_SUM => fold!($type, |a, b| a + b),
            HIVE_PROD => fold!($type, |a, b| a * b),
            HIVE_MIN => fold!($type, |a, b| a.min(b)),
            HIVE_MAX => fold!($type, |a, b| a.max(b)),
            _ => None,
        }
    };
}

/// A value's size in bytes, and how two are folded.
fn folding(value_type: hive_type_t, op: hive_op_t) -> Result<(usize, Fold), Trouble> {
    let found = match value_type {
        HIVE_INT8 => integer!(i8, op),
        HIVE_UINT8 => integer!(u8, op),
        HIVE_INT16 => integer!(i16, op),
        HIVE_UINT16 => integer!(u16, op),
        HIVE_INT32 => integer!(i32, op),
        HIVE_UINT32 => integer!(u32, op),
        HIVE_INT64 => integer!(i64, op),
        HIVE_UINT64 => integer!(u64, op),
        HIVE_FLOAT => float!(f32, op),
        HIVE_DOUBLE => float!(f64, op),
        _ => None,
    };
    found.ok_or_else(|| {
        Trouble::new(
            HIVE_BAD_ARGUMENT,
            format!("no reduction has type {value_type} with operation {op}: take HIVE_INT8 … HIVE_DOUBLE and HIVE_SUM … HIVE_LOR, bits and truth for integers only"),
        )
    })
}

fn drone(hive: &Here, drone: c_int) -> Result<usize, Trouble> {
    let found = usize::try_from(drone)
        .ok()
        .filter(|drone| *drone < hive.drones());
    found.ok_or_else(|| {
        Trouble::new(
            HIVE_BAD_ARGUMENT,
            format!("there is no drone {drone}: there are {}", hive.drones()),
        )
    })
}

fn not_null(pointer: *const c_void, bytes: usize) -> Result<(), Trouble> {
    if pointer.is_null() && bytes > 0 {
        return Err(Trouble::new(
            HIVE_BAD_ARGUMENT,
            format!("a buffer of {bytes} bytes is NULL"),
        ));
    }
    Ok(())
}
