//! The wire form of messages: little-endian, bounded. Frames around them are the transport's.
//!
//! A length that a peer claims is checked against the bytes that are really there before anything is
//! allocated for it. Every value a correct drone cannot send is refused here or in its protocol.

use crate::diff::Diff;
use crate::heap::Block;
use crate::message::{Arrival, Interval, Message, Met, NextWish, PageCopy, Sleeper};
use crate::mutant::{Mutant, mutant};
use crate::spare::SparePages;
use crate::{
    Address, BarrierId, ConditionId, DroneId, EpochId, IntervalId, IntervalIndex, LockId, Meeting,
    MeetingKind, PAGE_SIZE, PageBuffer, PageId, PageRun, Refusal, VectorTimestamp,
};
use alloc::boxed::Box;
use alloc::vec::Vec;
use thiserror::Error;

/// Bytes that are no message.
///
/// ```
/// use hivemind_protocol::{Message, WireError};
/// assert_eq!(Message::decode(&[]), Err(WireError::Short));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum WireError {
    /// The bytes end before the message does, or a length is larger than what is there.
    #[error("the message is cut short, or claims more than it has")]
    Short,
    /// Bytes are left over.
    #[error("bytes are left over after the message")]
    Long,
    /// A value that no message has.
    #[error("a value that no message has, in {0}")]
    Value(&'static str),
}

impl Message {
    /// Appends the wire form.
    ///
    /// ```
    /// use hivemind_protocol::{EpochId, Message};
    /// let message = Message::CollectWanted { epoch: EpochId(3) };
    /// let mut bytes = Vec::new();
    /// message.encode(&mut bytes);
    /// assert_eq!(Message::decode(&bytes), Ok(message));
    /// ```
    pub fn encode(&self, into: &mut Vec<u8>) {
        self.put(into);
    }

    /// Reads one message that fills `bytes` exactly.
    ///
    /// ```
    /// use hivemind_protocol::{EpochId, Message, WireError};
    /// let mut bytes = Vec::new();
    /// Message::CollectWanted { epoch: EpochId(3) }.encode(&mut bytes);
    /// bytes.push(0);
    /// assert_eq!(Message::decode(&bytes), Err(WireError::Long));
    /// ```
    ///
    /// # Errors
    /// [`WireError`] when the bytes are no message; nothing larger than they are was allocated.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Self::decode_into(bytes, &mut SparePages::default())
    }

    /// As [`decode`](Self::decode): pages go into spare memory.
    pub(crate) fn decode_into(bytes: &[u8], spare: &mut SparePages) -> Result<Self, WireError> {
        let mut from = Reader { bytes, spare };
        let message = Self::take(&mut from)?;
        if from.bytes.is_empty() {
            Ok(message)
        } else {
            Err(WireError::Long)
        }
    }
}

/// What is left to read.
struct Reader<'a> {
    bytes: &'a [u8],
    /// Where pages go.
    spare: &'a mut SparePages,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(WireError::Short)?;
        self.bytes = rest;
        Ok(taken)
    }
}

/// A value with a wire form.
trait Wire: Sized {
    /// The fewest bytes a value takes; never 0, so that a list's claimed length is bounded by what is there.
    const LEAST_BYTES: usize;
    fn put(&self, into: &mut Vec<u8>);
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError>;
}

macro_rules! wire_number {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            const LEAST_BYTES: usize = size_of::<$number>();
            fn put(&self, into: &mut Vec<u8>) {
                into.extend_from_slice(&self.to_le_bytes());
            }
            fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
                let bytes = from.bytes(size_of::<$number>())?;
                Ok(Self::from_le_bytes(bytes.try_into().map_err(|_| WireError::Short)?))
            }
        }
    )*};
}
wire_number!(u8, u16, u32, u64);

/// A struct's fields, one after the other.
macro_rules! wire_struct {
    ($($name:ident { $($field:tt: $type:ty),+ })*) => {$(
        impl Wire for $name {
            const LEAST_BYTES: usize = 0 $(+ <$type as Wire>::LEAST_BYTES)+;
            fn put(&self, into: &mut Vec<u8>) {
                $(self.$field.put(into);)+
            }
            fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
                Ok(Self { $($field: <$type as Wire>::take(from)?),+ })
            }
        }
    )*};
}
wire_struct! {
    DroneId { 0: u32 }
    PageId { 0: u64 }
    LockId { 0: u64 }
    ConditionId { 0: u32 }
    BarrierId { 0: u32 }
    EpochId { 0: u64 }
    IntervalIndex { 0: u32 }
    Address { 0: u64 }
    IntervalId { creator: DroneId, index: IntervalIndex }
    Block { address: Address, bytes: u64, fresh: bool }
    PageCopy { page: PageId, without: Vec<IntervalId>, bytes: Box<PageBuffer> }
    Interval { id: IntervalId, known: VectorTimestamp, pages: Vec<PageRun> }
    Meeting { kind: MeetingKind, payload: Vec<u8> }
    Arrival { intervals: Vec<Interval>, meeting: Option<Meeting>, declined: Vec<PageRun> }
    Sleeper { condition: ConditionId, drone: DroneId }
    NextWish { known: VectorTimestamp, wants: Vec<PageId> }
}

/// An enum: a tag, then the variant's fields, each `field as name: type`.
macro_rules! wire_enum {
    ($name:ident { $($tag:literal => $variant:ident { $($field:tt as $local:ident: $type:ty),* })* }) => {
        impl Wire for $name {
            const LEAST_BYTES: usize = 1;
            fn put(&self, into: &mut Vec<u8>) {
                match self {
                    $(Self::$variant { $($field: $local),* } => {
                        into.push($tag);
                        $($local.put(into);)*
                    })*
                }
            }
            fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
                Ok(match u8::take(from)? {
                    $($tag => Self::$variant { $($field: <$type as Wire>::take(from)?),* },)*
                    _ => return Err(WireError::Value(stringify!($name))),
                })
            }
        }
    };
}
wire_enum!(Message {
    1 => PageRequest { epoch as epoch: EpochId, pages as pages: Vec<PageRun>, again as again: bool }
    2 => PageReply { epoch as epoch: EpochId, known as known: VectorTimestamp, pages as pages: Vec<PageCopy> }
    22 => PagePush { epoch as epoch: EpochId, pages as pages: Vec<(PageId, Box<PageBuffer>)> }
    3 => PageRefused { epoch as epoch: EpochId, page as page: PageId }
    4 => DiffRequest { epoch as epoch: EpochId, page as page: PageId, after as after: IntervalIndex, upto as upto: IntervalIndex, or_page as or_page: bool }
    5 => DiffReply {
        epoch as epoch: EpochId, page as page: PageId, upto as upto: IntervalIndex, diffs as diffs: Vec<(IntervalIndex, Diff)>
    }
    6 => LockRequest {
        epoch as epoch: EpochId, lock as lock: LockId, requester as requester: DroneId, known as known: VectorTimestamp, forwarded as forwarded: bool, wants as wants: Vec<PageId>,
        tries as tries: bool
    }
    7 => LockGrant {
        epoch as epoch: EpochId, lock as lock: LockId, intervals as intervals: Vec<Interval>, sleepers as sleepers: Vec<Sleeper>,
        known as known: VectorTimestamp, pages as pages: Vec<PageCopy>, again as again: Option<NextWish>
    }
    8 => Arrive {
        epoch as epoch: EpochId, intervals as intervals: Vec<Interval>, meeting as meeting: Option<Meeting>, declined as declined: Vec<PageRun>
    }
    19 => ArriveTogether { epoch as epoch: EpochId, arrivals as arrivals: Vec<Arrival> }
    9 => Depart {
        epoch as epoch: EpochId, intervals as intervals: Vec<Interval>, met as met: Option<Met>, declined as declined: Vec<(DroneId, Vec<PageRun>)>
    }
    10 => CollectWanted { epoch as epoch: EpochId }
    11 => Collect { epoch as epoch: EpochId }
    12 => Flush { epoch as epoch: EpochId, pages as pages: Vec<(PageId, Vec<(IntervalIndex, Diff)>)>, more as more: bool }
    13 => Allocate { request as request: u64, bytes as bytes: u64, align as align: u64 }
    14 => Free { request as request: u64, address as address: Address }
    15 => HeapReply { request as request: u64, result as result: Result<Block, Refusal> }
    18 => Measure { request as request: u64, address as address: Address }
    17 => LockTried { lock as lock: LockId, requester as requester: DroneId, given as given: bool }
    20 => LockSought { epoch as epoch: EpochId, lock as lock: LockId, requester as requester: DroneId }
    21 => LockTaken { epoch as epoch: EpochId, lock as lock: LockId }
    16 => Wake { lock as lock: LockId, condition as condition: ConditionId }
});
wire_enum!(MeetingKind {
    1 => Barrier { 0 as id: BarrierId }
    2 => Broadcast { root as root: DroneId, bytes as bytes: u64 }
    3 => Reduce { bytes as bytes: u64 }
    4 => Allocate { bytes as bytes: u64, align as align: u64 }
    5 => Free { 0 as address: Address }
    6 => Leave {}
    7 => Split { 0 as id: BarrierId }
});
wire_enum!(Met {
    1 => Together { payloads as payloads: Vec<Vec<u8>>, block as block: Option<Block> }
    2 => Refused { 0 as why: Refusal }
});
wire_enum!(Refusal {
    1 => NotHeld { 0 as lock: LockId }
    2 => AlreadyHeld { 0 as lock: LockId }
    3 => HeldAtMeeting { lock as lock: LockId, meeting as meeting: MeetingKind }
    4 => Mismatch { one as one: DroneId, here as here: MeetingKind, other as other: DroneId, there as there: MeetingKind }
    5 => Insufficient { bytes as bytes: u64, largest as largest: u64 }
    6 => BadAddress { 0 as address: Address }
    7 => BadAlignment { 0 as align: u64 }
    8 => Busy {}
    9 => Alone { 0 as lock: LockId }
    10 => NotDeparted {}
    11 => NotArrived {}
});

impl Wire for bool {
    const LEAST_BYTES: usize = 1;
    fn put(&self, into: &mut Vec<u8>) {
        into.push(u8::from(*self));
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match u8::take(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Value("a truth value")),
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    const LEAST_BYTES: usize = 4;
    fn put(&self, into: &mut Vec<u8>) {
        let count =
            u32::try_from(self.len()).expect("INV-9: a list on the wire is shorter than 2^32");
        count.put(into);
        for item in self {
            item.put(into);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let count = u32::take(from)? as usize;
        if count > from.bytes.len() / T::LEAST_BYTES {
            return Err(WireError::Short);
        }
        (0..count).map(|_| T::take(from)).collect()
    }
}

impl<T: Wire> Wire for Option<T> {
    const LEAST_BYTES: usize = 1;
    fn put(&self, into: &mut Vec<u8>) {
        self.is_some().put(into);
        if let Some(value) = self {
            value.put(into);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(if bool::take(from)? {
            Some(T::take(from)?)
        } else {
            None
        })
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    const LEAST_BYTES: usize = 1;
    fn put(&self, into: &mut Vec<u8>) {
        self.is_ok().put(into);
        match self {
            Ok(value) => value.put(into),
            Err(error) => error.put(into),
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(if bool::take(from)? {
            Ok(T::take(from)?)
        } else {
            Err(E::take(from)?)
        })
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    const LEAST_BYTES: usize = A::LEAST_BYTES + B::LEAST_BYTES;
    fn put(&self, into: &mut Vec<u8>) {
        self.0.put(into);
        self.1.put(into);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok((A::take(from)?, B::take(from)?))
    }
}

impl Wire for Box<PageBuffer> {
    const LEAST_BYTES: usize = PAGE_SIZE;
    fn put(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self[..]);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let bytes = from.bytes(PAGE_SIZE)?;
        let mut page = from.spare.take();
        page.copy_from_slice(bytes);
        Ok(page)
    }
}

impl Wire for VectorTimestamp {
    const LEAST_BYTES: usize = 4;
    fn put(&self, into: &mut Vec<u8>) {
        let count = u32::try_from(self.entries().len()).expect("INV-9: drones are fewer than 2^32");
        count.put(into);
        for (drone, index) in self.entries() {
            let drone = match mutant(Mutant::NarrowDroneId) {
                true => DroneId(drone.0 % (1 << 8)),
                false => *drone,
            };
            drone.put(into);
            index.put(into);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let entries: Vec<(DroneId, IntervalIndex)> = Vec::take(from)?;
        let ascends = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let counts = entries.iter().all(|(_, index)| index.0 > 0);
        if !ascends || !counts {
            return Err(WireError::Value("a vector timestamp"));
        }
        Ok(Self::from_ascending(entries))
    }
}

impl Wire for PageRun {
    const LEAST_BYTES: usize = 16;
    fn put(&self, into: &mut Vec<u8>) {
        self.first.put(into);
        self.count.put(into);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let run = Self {
            first: PageId::take(from)?,
            count: u64::take(from)?,
        };
        if run.count == 0 || run.first.0.checked_add(run.count).is_none() {
            return Err(WireError::Value("a run of pages"));
        }
        Ok(run)
    }
}

impl Wire for Diff {
    const LEAST_BYTES: usize = Self::LEAST_BYTES;
    fn put(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.encoded());
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let (diff, rest) = Self::decode(from.bytes).ok_or(WireError::Value("a diff"))?;
        from.bytes = rest;
        Ok(diff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernels;
    use alloc::vec;
    use proptest::prelude::*;

    fn samples() -> Vec<Message> {
        let (epoch, page) = (EpochId(1 << 40), PageId(1 << 33));
        let id = IntervalId {
            creator: DroneId(70_000),
            index: IntervalIndex(1 << 20),
        };
        let mut known = VectorTimestamp::new();
        known.raise(DroneId(2), IntervalIndex(3));
        known.raise(id.creator, id.index);
        let diff = |every: usize| {
            let page = core::array::from_fn(|at| (at % every == 0).into());
            Diff::between(&Kernels::PORTABLE, &[0; PAGE_SIZE], &page).expect("a byte changed")
        };
        let pages = vec![PageRun {
            first: page,
            count: 5,
        }];
        let interval = Interval {
            id,
            known: known.clone(),
            pages: pages.clone(),
        };
        let kind = MeetingKind::Allocate {
            bytes: 9,
            align: 16,
        };
        let refusal = Refusal::Mismatch {
            one: DroneId(0),
            here: kind,
            other: DroneId(1),
            there: MeetingKind::Leave,
        };
        let block = Block {
            address: Address(64),
            bytes: 16,
            fresh: true,
        };
        vec![
            Message::PageReply {
                epoch,
                known: known.clone(),
                pages: vec![PageCopy {
                    page,
                    without: vec![id],
                    bytes: Box::new([7; PAGE_SIZE].into()),
                }],
            },
            Message::PagePush {
                epoch,
                pages: vec![(page, Box::new([5; PAGE_SIZE].into()))],
            },
            Message::DiffReply {
                epoch,
                page,
                upto: id.index,
                diffs: vec![(id.index, diff(3))],
            },
            Message::LockRequest {
                epoch,
                lock: LockId(1 << 35),
                requester: DroneId(1),
                known: known.clone(),
                forwarded: true,
                wants: vec![page],
                tries: true,
            },
            Message::LockTried {
                lock: LockId(1 << 35),
                requester: id.creator,
                given: false,
            },
            Message::LockGrant {
                epoch,
                lock: LockId(3),
                intervals: vec![interval.clone()],
                sleepers: vec![Sleeper {
                    condition: ConditionId(1 << 30),
                    drone: id.creator,
                }],
                known: known.clone(),
                pages: vec![PageCopy {
                    page,
                    without: vec![],
                    bytes: Box::new([9; PAGE_SIZE].into()),
                }],
                again: Some(NextWish {
                    known,
                    wants: vec![page],
                }),
            },
            Message::LockSought {
                epoch,
                lock: LockId(1 << 35),
                requester: id.creator,
            },
            Message::LockTaken {
                epoch,
                lock: LockId(1 << 35),
            },
            Message::Wake {
                lock: LockId(1 << 35),
                condition: ConditionId(1 << 30),
            },
            Message::Arrive {
                epoch,
                intervals: vec![interval.clone()],
                meeting: Some(Meeting {
                    kind,
                    payload: vec![1, 2],
                }),
                declined: pages.clone(),
            },
            Message::ArriveTogether {
                epoch,
                arrivals: vec![
                    Arrival {
                        intervals: vec![interval.clone()],
                        meeting: None,
                        declined: vec![],
                    },
                    Arrival {
                        intervals: vec![],
                        meeting: Some(Meeting {
                            kind: MeetingKind::Leave,
                            payload: vec![3],
                        }),
                        declined: pages.clone(),
                    },
                ],
            },
            Message::Depart {
                epoch,
                intervals: vec![interval],
                met: Some(Met::Together {
                    payloads: vec![vec![], vec![4]],
                    block: Some(block),
                }),
                declined: vec![(DroneId(1), pages)],
            },
            Message::Depart {
                epoch,
                intervals: vec![],
                met: Some(Met::Refused(refusal)),
                declined: vec![],
            },
            Message::Flush {
                epoch,
                pages: vec![(page, vec![(id.index, diff(900))])],
                more: true,
            },
            Message::HeapReply {
                request: 3,
                result: Err(Refusal::Busy),
            },
        ]
    }

    #[test]
    fn what_is_written_is_read_again() {
        for message in samples() {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(Message::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn every_cut_and_every_surplus_is_refused() {
        for message in samples() {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            for end in 0..bytes.len() {
                assert!(Message::decode(&bytes[..end]).is_err());
            }
            bytes.push(0);
            assert_eq!(Message::decode(&bytes), Err(WireError::Long));
        }
    }

    #[test]
    fn a_claimed_length_is_not_believed() {
        // A flush of 2^32 - 1 pages in 13 bytes.
        let mut bytes = vec![12];
        EpochId(0).put(&mut bytes);
        u32::MAX.put(&mut bytes);
        assert_eq!(Message::decode(&bytes), Err(WireError::Short));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Message::decode(&bytes);
        }

        #[test]
        fn a_changed_byte_never_panics(which in 0usize..11, at in any::<usize>(), byte in any::<u8>()) {
            let mut bytes = Vec::new();
            samples()[which].encode(&mut bytes);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Message::decode(&bytes);
        }
    }
}
