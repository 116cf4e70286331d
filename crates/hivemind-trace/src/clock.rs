//! The clock of a trace: for each host, how many of its events happened before (Fidge 1988, Mattern 1989), and its form
//! behind a message.

/// A vector clock. Hosts of which nothing was heard have no entry.
///
/// ```
/// use hivemind_trace::TraceClock;
/// let (mut one, mut two) = (TraceClock::new(), TraceClock::new());
/// one.tick(1);                       // host 1 sends, with its clock …
/// two.merge(&one);                   // … host 2 receives
/// two.tick(2);
/// assert_eq!((two.get(1), two.get(2)), (1, 1));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct TraceClock {
    /// Ascending by host; no entry is 0.
    times: Vec<(u32, u64)>,
}

/// What an entry takes behind a message.
const ENTRY_BYTES: usize = 12;

impl TraceClock {
    /// The clock before any event.
    ///
    /// ```
    /// use hivemind_trace::TraceClock;
    /// assert_eq!(TraceClock::new().get(0), 0);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The time of a host: how many of its events are known.
    ///
    /// ```
    /// use hivemind_trace::TraceClock;
    /// let clock: TraceClock = [(2, 7)].into_iter().collect();
    /// assert_eq!((clock.get(2), clock.get(3)), (7, 0));
    /// ```
    pub fn get(&self, host: u32) -> u64 {
        self.place(host).map_or(0, |at| self.times[at].1)
    }

    /// An event of `host` itself.
    ///
    /// ```
    /// use hivemind_trace::TraceClock;
    /// let mut clock = TraceClock::new();
    /// clock.tick(2);
    /// assert_eq!(clock.get(2), 1);
    /// ```
    pub fn tick(&mut self, host: u32) {
        *self.time_mut(host) += 1;
    }

    /// Takes in what another clock knows: before the event that receives a message.
    ///
    /// ```
    /// use hivemind_trace::TraceClock;
    /// let mut mine: TraceClock = [(0, 4), (1, 1)].into_iter().collect();
    /// let sent: TraceClock = [(0, 2), (1, 3)].into_iter().collect();
    /// mine.merge(&sent);
    /// assert_eq!((mine.get(0), mine.get(1)), (4, 3));
    /// ```
    pub fn merge(&mut self, other: &Self) {
        for (host, time) in &other.times {
            let mine = self.time_mut(*host);
            *mine = (*mine).max(*time);
        }
    }

    /// The entries that are not 0, ascending by host.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, u64)> {
        self.times.iter().copied()
    }

    /// Whether everything known here is known there, and more.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        self != other && self.entries().all(|(host, time)| time <= other.get(host))
    }

    /// Puts the clock behind a message: its entries (host `u32`, time `u64`, little-endian), then how many (`u32`).
    ///
    /// ```
    /// use hivemind_trace::TraceClock;
    /// let mut frame = b"message".to_vec();
    /// TraceClock::new().append_to(&mut frame);
    /// assert_eq!(frame, b"message\0\0\0\0"); // no entries
    /// ```
    pub fn append_to(&self, message: &mut Vec<u8>) {
        for (host, time) in &self.times {
            message.extend_from_slice(&host.to_le_bytes());
            message.extend_from_slice(&time.to_le_bytes());
        }
        message.extend_from_slice(&(self.times.len() as u32).to_le_bytes());
    }

    /// Takes the clock from behind a message; `hosts` is how many there are. Gives it and the message.
    ///
    /// ```
    /// use hivemind_trace::TraceClock;
    /// let clock: TraceClock = [(0, 7), (2, 1)].into_iter().collect();
    /// let mut frame = b"message".to_vec();
    /// clock.append_to(&mut frame);
    /// assert_eq!(TraceClock::split_from(&frame, 3), Ok((clock, &b"message"[..])));
    /// assert!(TraceClock::split_from(&frame, 2).is_err()); // there is no host 2
    /// ```
    ///
    /// # Errors
    /// What is wrong with the clock, in words.
    pub fn split_from(frame: &[u8], hosts: u32) -> Result<(Self, &[u8]), &'static str> {
        let (rest, count) = frame.split_last_chunk().ok_or("there is no trace clock")?;
        let count = u32::from_le_bytes(*count);
        if count > hosts {
            return Err("its trace clock names more drones than there are");
        }
        let start = rest.len().checked_sub(count as usize * ENTRY_BYTES);
        let (message, entries) = rest.split_at(start.ok_or("its trace clock is cut short")?);
        let mut times: Vec<(u32, u64)> = Vec::with_capacity(count as usize);
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let (host, time) = entry.split_at(4);
            let host = u32::from_le_bytes(host.try_into().expect("four bytes"));
            let time = u64::from_le_bytes(time.try_into().expect("eight bytes"));
            let ascends = times.last().is_none_or(|(last, _)| *last < host);
            if !ascends || host >= hosts || time == 0 {
                return Err("its trace clock is not in order");
            }
            times.push((host, time));
        }
        Ok((Self { times }, message))
    }

    fn place(&self, host: u32) -> Result<usize, usize> {
        self.times.binary_search_by_key(&host, |entry| entry.0)
    }

    fn time_mut(&mut self, host: u32) -> &mut u64 {
        let at = self.place(host).unwrap_or_else(|at| {
            self.times.insert(at, (host, 0));
            at
        });
        &mut self.times[at].1
    }
}

impl FromIterator<(u32, u64)> for TraceClock {
    /// The entries may come in any order; of two for one host the higher counts.
    fn from_iter<T: IntoIterator<Item = (u32, u64)>>(entries: T) -> Self {
        let mut clock = Self::new();
        for (host, time) in entries.into_iter().filter(|(_, time)| *time > 0) {
            let mine = clock.time_mut(host);
            *mine = (*mine).max(time);
        }
        clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_no_drone_sends_is_refused() {
        let frame = |entries: &[(u32, u64)], count: u32| {
            let mut frame = Vec::new();
            for (host, time) in entries {
                frame.extend_from_slice(&host.to_le_bytes());
                frame.extend_from_slice(&time.to_le_bytes());
            }
            frame.extend_from_slice(&count.to_le_bytes());
            frame
        };
        assert!(TraceClock::split_from(&frame(&[(0, 1), (3, 9)], 2), 4).is_ok());
        for wrong in [
            vec![0, 0, 0],
            frame(&[(0, 1)], 2),
            frame(&[(0, 1)], u32::MAX),
            frame(&[(1, 1), (0, 1)], 2),
            frame(&[(1, 1), (1, 2)], 2),
            frame(&[(4, 1)], 1),
            frame(&[(0, 0)], 1),
        ] {
            assert!(TraceClock::split_from(&wrong, 4).is_err(), "{wrong:?}");
        }
    }
}
