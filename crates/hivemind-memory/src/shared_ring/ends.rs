//! The two ends of a ring in a segment: who puts bytes in, and who takes them out. The segment itself is `segment.rs`.

use super::segment::Segment;
use super::{Cursor, Nonsense, RESTS, rest, wakes};
use crate::primitive::Ordering;
use std::sync::Arc;

/// The end of a ring that puts bytes in.
///
/// ```
/// # use hivemind_memory::shared_ring;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
/// # let mut theirs = shared_ring::open(&offer, 1 << 16)?;
/// ours.sender.send(b"hello")?;
/// assert_eq!(theirs.receiver.waiting()?, 5);
/// # Ok(()) }
/// ```
pub struct RingSender {
    segment: Arc<Segment>,
    direction: usize,
    cursor: Cursor,
    /// Whether somebody at this end has said that he waits.
    waits: bool,
}

impl RingSender {
    pub(super) fn new(segment: Arc<Segment>, direction: usize) -> Self {
        Self {
            segment,
            direction,
            cursor: Cursor::new(),
            waits: false,
        }
    }

    /// Puts in what there is room for: how many bytes that were, and whether the other rests and needs the bell.
    /// Never blocks.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// assert_eq!(ours.sender.send(b"hello")?, (5, false));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Where the other process wrote nonsense.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(usize, bool), Nonsense> {
        let fits = self.put(bytes)?;
        Ok((fits, fits > 0 && self.needs_bell()))
    }

    /// As [`send`](Self::send), but owes the bell: whoever calls this asks [`needs_bell`](Self::needs_bell) soon.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// # let mut theirs = shared_ring::open(&offer, 1 << 16)?;
    /// theirs.receiver.rest(true)?;
    /// assert_eq!(ours.sender.put(b"hello")?, 5);
    /// assert!(ours.sender.needs_bell());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Where the other process wrote nonsense.
    pub fn put(&mut self, bytes: &[u8]) -> Result<usize, Nonsense> {
        let lane = self.segment.lane(self.direction);
        let room = self.cursor.room(lane, self.segment.capacity())? as usize;
        let fits = bytes.len().min(room);
        if fits > 0 {
            self.segment
                .put(self.direction, self.cursor.own, &bytes[..fits]);
            self.cursor.advance(fits as u64, &lane.sent.0);
        }
        Ok(fits)
    }

    /// Whether the other rests and needs the bell for something that was put in and not taken. Says so once.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// # let mut theirs = shared_ring::open(&offer, 1 << 16)?;
    /// theirs.receiver.rest(true)?;
    /// ours.sender.put(b"hello")?;
    /// theirs.receiver.receive(&mut [0; 9])?;
    /// assert!(!ours.sender.needs_bell(), "it has looked without one");
    /// # Ok(()) }
    /// ```
    #[must_use = "the other may sleep until the bell rings"]
    pub fn needs_bell(&mut self) -> bool {
        let lane = self.segment.lane(self.direction);
        self.cursor.wakes_receiver(lane)
    }

    /// As [`needs_bell`](Self::needs_bell), for what can wait until the other looks by itself: only where somebody awaits it, there or
    /// here.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// # let mut theirs = shared_ring::open(&offer, 1 << 16)?;
    /// theirs.receiver.rest(false)?;
    /// ours.sender.put(b"hello")?;
    /// assert!(!ours.sender.is_awaited(), "nobody waits");
    /// assert!(ours.sender.needs_bell());
    /// # Ok(()) }
    /// ```
    #[must_use = "the other may sleep until the bell rings"]
    pub fn is_awaited(&mut self) -> bool {
        let lane = self.segment.lane(self.direction);
        self.cursor.wakes_awaited(lane, self.waits)
    }

    /// Says that somebody at this end waits for something, so that the other, before it rests, can see that it is awaited. Says
    /// whether it rests already and needs the bell: not where it has taken all from here, unless it may rest over something of `others`.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// # let mut theirs = shared_ring::open(&offer, 1 << 16)?;
    /// assert!(!ours.sender.says_that_it_waits(true) && theirs.receiver.other_waits());
    /// ours.sender.waits_no_more();
    /// assert!(!theirs.receiver.other_waits());
    /// # Ok(()) }
    /// ```
    #[must_use = "the other may sleep until the bell rings"]
    pub fn says_that_it_waits(&mut self, others: bool) -> bool {
        self.waits = true;
        let lane = self.segment.lane(self.direction);
        self.cursor.says_that_it_waits(lane, others)
    }

    /// Takes that back.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// ours.sender.waits_no_more(); // nor did anybody
    /// # Ok(()) }
    /// ```
    pub fn waits_no_more(&mut self) {
        self.waits = false;
        let waits = &self.segment.lane(self.direction).sender_waits.0;
        waits.store(0, Ordering::Relaxed);
    }

    /// Asks for the bell when there is room again. Says whether there is none yet; otherwise nothing was asked.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// assert!(!ours.sender.rest()?, "there is room");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Where the other process wrote nonsense.
    pub fn rest(&mut self) -> Result<bool, Nonsense> {
        let lane = self.segment.lane(self.direction);
        rest(&lane.sender_rests.0, RESTS);
        let full = self.cursor.room(lane, self.segment.capacity())? == 0;
        if !full {
            lane.sender_rests.0.store(0, Ordering::Relaxed);
        }
        Ok(full)
    }

    /// Says that nothing more is sent. Says whether the other rests and needs the bell.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// # let mut theirs = shared_ring::open(&offer, 1 << 16)?;
    /// let bell = ours.sender.end();
    /// assert!(!bell && theirs.receiver.is_over()?);
    /// # Ok(()) }
    /// ```
    #[must_use = "the other may sleep until the bell rings"]
    pub fn end(&mut self) -> bool {
        self.segment.lane(self.direction).end()
    }
}

/// The end of a ring that takes bytes out.
///
/// ```
/// # use hivemind_memory::shared_ring;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
/// # let mut theirs = shared_ring::open(&offer, 1 << 16)?;
/// assert!(theirs.receiver.rest(true)?, "nothing is there yet");
/// let (_, bell) = ours.sender.send(b"hello")?;
/// assert!(bell);
/// # Ok(()) }
/// ```
pub struct RingReceiver {
    segment: Arc<Segment>,
    direction: usize,
    cursor: Cursor,
}

impl RingReceiver {
    pub(super) fn new(segment: Arc<Segment>, direction: usize) -> Self {
        Self {
            segment,
            direction,
            cursor: Cursor::new(),
        }
    }

    /// Takes out what there is and `space` holds: how many bytes that were, and whether the other rests and needs
    /// the bell. Never blocks, and where there is nothing costs one load.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// # let mut theirs = shared_ring::open(&offer, 1 << 16)?;
    /// ours.sender.send(b"hello")?;
    /// let mut space = [0; 9];
    /// assert_eq!(theirs.receiver.receive(&mut space)?, (5, false));
    /// # Ok(()) }
    /// ```
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
        self.cursor.advance(fits as u64, &lane.taken.0);
        Ok((fits, wakes(&lane.sender_rests.0, RESTS)))
    }

    /// Asks for the bell when there are bytes, or the end; for bytes that can wait, only where this end is `awaited`. Says whether
    /// there is neither yet; otherwise nothing was asked.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// assert!(ours.receiver.rest(true)?, "nothing is there yet");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Where the other process wrote nonsense.
    pub fn rest(&mut self, awaited: bool) -> Result<bool, Nonsense> {
        let lane = self.segment.lane(self.direction);
        let capacity = self.segment.capacity();
        let sleeps = lane.receiver_may_sleep(&mut self.cursor, capacity, awaited)?;
        if !sleeps {
            lane.receiver_rests.0.store(0, Ordering::Relaxed);
        }
        Ok(sleeps)
    }

    /// Takes back that it asked for the bell: this end looks by itself now. A bell may be on its way already.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// # let mut theirs = shared_ring::open(&offer, 1 << 16)?;
    /// theirs.receiver.rest(true)?;
    /// theirs.receiver.look_by_itself();
    /// assert_eq!(ours.sender.send(b"hello")?, (5, false));
    /// # Ok(()) }
    /// ```
    pub fn look_by_itself(&mut self) {
        let rests = &self.segment.lane(self.direction).receiver_rests.0;
        rests.store(0, Ordering::Relaxed);
    }

    /// Whether somebody at the other end waits for something.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// assert!(!ours.receiver.other_waits());
    /// # Ok(()) }
    /// ```
    pub fn other_waits(&self) -> bool {
        let waits = &self.segment.lane(self.direction).sender_waits.0;
        waits.load(Ordering::Relaxed) != 0
    }

    /// How many bytes may be taken now.
    ///
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// # let mut theirs = shared_ring::open(&offer, 1 << 16)?;
    /// theirs.sender.send(b"hello")?;
    /// assert_eq!(ours.receiver.waiting()?, 5);
    /// # Ok(()) }
    /// ```
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
    /// ```
    /// # use hivemind_memory::shared_ring;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut ours, offer, file) = shared_ring::share([7; 32], 1 << 16)?;
    /// # let mut theirs = shared_ring::open(&offer, 1 << 16)?;
    /// let _ = theirs.sender.end();
    /// assert!(ours.receiver.is_over()?);
    /// # Ok(()) }
    /// ```
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
    use super::super::segment::{Pair, open, share};
    use super::*;

    const RING_BYTES: usize = 256 << 10;

    fn two_ends() -> (Pair, Pair) {
        let (ours, offer, _file) = share([7; 32], RING_BYTES).unwrap();
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
        assert!(!theirs.receiver.rest(true).unwrap(), "there is a byte");
        assert_eq!(ours.sender.send(b"b").unwrap(), (1, false));
        assert_eq!(theirs.receiver.receive(&mut [0; 9]).unwrap().0, 2);
        assert!(theirs.receiver.rest(true).unwrap());
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
        assert!(
            !theirs.receiver.rest(true).unwrap(),
            "there is the end to see"
        );
        assert!(ours.receiver.rest(true).unwrap());
        assert!(theirs.sender.end());
        assert!(!ours.receiver.rest(true).unwrap());
    }

    #[test]
    fn what_can_wait_rings_for_who_is_awaited_and_all_rings_for_who_waits() {
        let (mut ours, mut theirs) = two_ends();
        assert!(theirs.receiver.rest(false).unwrap());
        assert_eq!(ours.sender.put(b"a").unwrap(), 1);
        assert!(!ours.sender.is_awaited(), "nobody awaits it");
        assert!(!theirs.receiver.rest(false).unwrap(), "there is a byte");
        assert_eq!(theirs.receiver.receive(&mut [0; 9]).unwrap().0, 1);

        assert!(theirs.receiver.rest(true).unwrap());
        assert!(!ours.sender.is_awaited(), "it has taken all");
        assert_eq!(ours.sender.put(b"b").unwrap(), 1);
        assert!(ours.sender.is_awaited());
        assert!(!ours.sender.is_awaited(), "once a rest");
        assert_eq!(theirs.receiver.receive(&mut [0; 9]).unwrap().0, 1);

        assert!(theirs.receiver.rest(false).unwrap());
        assert!(!ours.sender.says_that_it_waits(false), "it has taken all");
        assert_eq!(ours.sender.put(b"c").unwrap(), 1);
        assert!(ours.sender.is_awaited(), "who sends it waits");
        assert_eq!(theirs.receiver.receive(&mut [0; 9]).unwrap().0, 1);
        assert!(theirs.receiver.rest(false).unwrap());
        assert!(
            ours.sender.says_that_it_waits(true),
            "of others perhaps not"
        );
        assert!(theirs.receiver.other_waits());
        ours.sender.waits_no_more();
        assert!(!theirs.receiver.other_waits());
        assert!(theirs.receiver.rest(false).unwrap());
        assert_eq!(ours.sender.put(b"c").unwrap(), 1);
        assert!(
            ours.sender.says_that_it_waits(false),
            "it rests over a byte"
        );
    }

    #[test]
    fn who_looks_by_itself_needs_no_bell() {
        let (mut ours, mut theirs) = two_ends();
        assert!(theirs.receiver.rest(true).unwrap());
        theirs.receiver.look_by_itself();
        assert_eq!(ours.sender.send(b"a").unwrap(), (1, false));
        assert_eq!(theirs.receiver.waiting().unwrap(), 1);
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
            if got == 0 && theirs.receiver.rest(true).unwrap() {
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
}
