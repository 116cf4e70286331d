//! Turns what drones write, in pieces of any size, into whole lines with their drone's number in front.
//! Pure: bytes and the time go in, bytes come out; who reads pipes and who writes is elsewhere.
//!
//! [`Pending`] holds the line that a stream has not finished yet. [`Sheet`] is one place where lines of all
//! streams end up, and knows which line is still open there.

use std::time::{Duration, Instant};

/// A longer line is passed on in parts, so that a drone that never ends its line costs no more than this.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 10;
/// How long the beginning of a line may wait for its end: a prompt or a progress bar wants to be seen.
pub(crate) const HOLD: Duration = Duration::from_millis(100);
/// The same where showing it would break up the unfinished line of another stream.
pub(crate) const HOLD_CONTENDED: Duration = Duration::from_secs(1);

/// Who writes: a number for each stream of each drone, and one for the launcher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Drone { drone: u32, stream: usize },
    Launcher,
}

/// The unfinished line of one stream.
#[derive(Default, Debug)]
pub(crate) struct Pending {
    bytes: Vec<u8>,
    since: Option<Instant>,
}

impl Pending {
    /// Takes what the stream wrote and puts every line that is whole onto the sheet.
    pub(crate) fn push(&mut self, source: Source, bytes: &[u8], now: Instant, sheet: &mut Sheet) {
        let Some(last) = bytes.iter().rposition(|&byte| byte == b'\n') else {
            self.bytes.extend_from_slice(bytes);
            self.since.get_or_insert(now);
            if self.bytes.len() >= LINE_BYTES_MAX {
                self.flush(source, sheet);
            }
            return;
        };
        let (whole, rest) = bytes.split_at(last + 1);
        for line in whole.split_inclusive(|&byte| byte == b'\n') {
            if self.bytes.is_empty() {
                sheet.put(source, line);
            } else {
                self.bytes.extend_from_slice(line);
                sheet.put(source, &self.bytes);
                self.bytes.clear();
            }
        }
        self.bytes.extend_from_slice(rest);
        self.since = (!rest.is_empty()).then_some(now);
    }

    /// When the unfinished line should be shown as it stands.
    pub(crate) fn due(&self, source: Source, sheet: &Sheet) -> Option<Instant> {
        let hold = if sheet.is_open_for_another(source) {
            HOLD_CONTENDED
        } else {
            HOLD
        };
        Some(self.since? + hold)
    }

    /// Shows the unfinished line, but for the bytes of a character that is cut in two.
    pub(crate) fn flush(&mut self, source: Source, sheet: &mut Sheet) {
        let whole = self.bytes.len() - cut_character(&self.bytes);
        if whole > 0 {
            sheet.put(source, &self.bytes[..whole]);
            self.bytes.drain(..whole);
        }
        self.since = None;
    }

    /// Shows all that is left: the stream has ended.
    pub(crate) fn finish(&mut self, source: Source, sheet: &mut Sheet) {
        if !self.bytes.is_empty() {
            sheet.put(source, &self.bytes);
        }
        *self = Self::default();
    }
}

/// One place where lines end up: a terminal, a file, a pipe.
#[derive(Debug)]
pub(crate) struct Sheet {
    /// What stands in front of each drone's lines.
    prefixes: Vec<Vec<u8>>,
    open: Option<Open>,
    /// Whose unfinished lines were ended because another one wrote.
    broken: Vec<Source>,
    out: Vec<u8>,
}

/// A line whose end has not come yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    source: Source,
    /// The cursor stands at the line's beginning again, as progress bars have it.
    returned: bool,
}

impl Sheet {
    /// An empty sheet. Without prefixes the bytes pass as they are.
    pub(crate) fn new(prefixes: Vec<Vec<u8>>) -> Self {
        Self {
            prefixes,
            open: None,
            broken: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Adds one line, or a part of one.
    pub(crate) fn put(&mut self, source: Source, text: &[u8]) {
        let Some(&last) = text.last() else { return };
        if let Some(at) = self.broken.iter().position(|&broken| broken == source) {
            self.broken.swap_remove(at);
            if text == b"\n" {
                return;
            }
        }
        let begins = match self.open {
            Some(open) if open.source == source => open.returned && text[0] != b'\n',
            Some(open) => {
                self.broken.push(open.source);
                self.out.push(b'\n');
                true
            }
            None => true,
        };
        let prefix = match source {
            Source::Drone { drone, .. } => self
                .prefixes
                .get(drone as usize)
                .map_or(&[][..], Vec::as_slice),
            Source::Launcher => &[],
        };
        if begins {
            self.out.extend_from_slice(prefix);
        }
        let mut rest = text;
        // A carriage return within the text begins the line anew, and so with its prefix.
        while let Some(at) = rest.iter().position(|&byte| byte == b'\r') {
            let (before, after) = rest.split_at(at + 1);
            self.out.extend_from_slice(before);
            if !matches!(after.first(), None | Some(b'\n' | b'\r')) {
                self.out.extend_from_slice(prefix);
            }
            rest = after;
        }
        self.out.extend_from_slice(rest);
        self.open = (last != b'\n').then_some(Open {
            source,
            returned: last == b'\r',
        });
    }

    /// Ends a line that is still open, so that what follows begins a new one. Verbatim output keeps its end.
    pub(crate) fn finish(&mut self) {
        if self.open.take().is_some() && !self.prefixes.is_empty() {
            self.out.push(b'\n');
        }
    }

    /// Takes the bytes that are ready to be written.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn is_open_for_another(&self, source: Source) -> bool {
        self.open.is_some_and(|open| open.source != source)
    }
}

/// How many bytes at the end are the beginning of a UTF-8 character that is not all there yet.
fn cut_character(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let width = match bytes[bytes.len() - back] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            0x80..=0xbf => continue,
            _ => 1,
        };
        return if width > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two drones on one sheet, as a terminal has it.
    struct Desk {
        sheet: Sheet,
        pending: [Pending; 2],
        now: Instant,
    }

    impl Desk {
        fn new(prefixes: &[&str]) -> Self {
            let prefixes = prefixes.iter().map(|text| text.as_bytes().to_vec());
            Self {
                sheet: Sheet::new(prefixes.collect()),
                pending: Default::default(),
                now: Instant::now(),
            }
        }

        fn write(&mut self, drone: u32, text: &str) {
            self.write_bytes(drone, text.as_bytes());
        }

        fn write_bytes(&mut self, drone: u32, bytes: &[u8]) {
            let source = Source::Drone { drone, stream: 0 };
            self.pending[drone as usize].push(source, bytes, self.now, &mut self.sheet);
        }

        fn wait(&mut self, time: Duration) {
            self.now += time;
            for drone in 0..2 {
                let source = Source::Drone { drone, stream: 0 };
                let pending = &mut self.pending[drone as usize];
                if pending
                    .due(source, &self.sheet)
                    .is_some_and(|due| due <= self.now)
                {
                    pending.flush(source, &mut self.sheet);
                }
            }
        }

        fn seen(&mut self) -> String {
            String::from_utf8(self.sheet.take()).expect("the text is whole")
        }
    }

    #[test]
    fn lines_in_pieces_come_out_whole_and_with_their_prefix() {
        let mut desk = Desk::new(&["[0] ", "[1] "]);
        desk.write(0, "on");
        desk.write(1, "two\nthree\nfo");
        desk.write(0, "e\n\n");
        desk.write(1, "ur\n");
        assert_eq!(desk.seen(), "[1] two\n[1] three\n[0] one\n[0] \n[1] four\n");
    }

    #[test]
    fn a_prompt_is_seen_after_a_while_and_continued() {
        let mut desk = Desk::new(&["[0] ", "[1] "]);
        desk.write(0, "Name? ");
        assert_eq!(desk.seen(), "");
        desk.wait(HOLD);
        assert_eq!(desk.seen(), "[0] Name? ");
        desk.write(0, "Ada\n");
        assert_eq!(desk.seen(), "Ada\n");
    }

    #[test]
    fn an_open_line_is_never_continued_by_another_drone() {
        let mut desk = Desk::new(&["[0] ", "[1] "]);
        desk.write(0, "half");
        desk.wait(HOLD);
        desk.write(1, "whole\n");
        desk.write(0, " rest\n");
        assert_eq!(desk.seen(), "[0] half\n[1] whole\n[0]  rest\n");
    }

    #[test]
    fn a_broken_line_that_only_lacked_its_end_leaves_no_empty_line() {
        let mut desk = Desk::new(&["[0] ", "[1] "]);
        desk.write(0, "all");
        desk.wait(HOLD);
        desk.write(1, "whole\n");
        desk.write(0, "\n");
        desk.write(0, "\n");
        assert_eq!(desk.seen(), "[0] all\n[1] whole\n[0] \n");
    }

    #[test]
    fn a_part_that_would_break_another_line_waits_longer() {
        let mut desk = Desk::new(&["[0] ", "[1] "]);
        desk.write(0, "a");
        desk.wait(HOLD);
        desk.write(1, "b");
        desk.wait(HOLD);
        assert_eq!(desk.seen(), "[0] a");
        desk.wait(HOLD_CONTENDED);
        assert_eq!(desk.seen(), "\n[1] b");
    }

    #[test]
    fn progress_bars_keep_their_returns_and_get_the_prefix_behind_them() {
        let mut desk = Desk::new(&["[0] ", "[1] "]);
        desk.write(0, "\r10 %\r20 %");
        desk.wait(HOLD);
        assert_eq!(desk.seen(), "[0] \r[0] 10 %\r[0] 20 %");
        desk.write(0, "\r");
        desk.wait(HOLD);
        desk.write(0, "30 %\r\n");
        assert_eq!(desk.seen(), "\r[0] 30 %\r\n");
    }

    #[test]
    fn endless_lines_are_bounded_and_lose_nothing() {
        let mut desk = Desk::new(&["[0] "]);
        let piece = "x".repeat(10_000);
        for _ in 0..100 {
            desk.write(0, &piece);
            assert!(desk.pending[0].bytes.len() < LINE_BYTES_MAX);
        }
        desk.write(0, "\n");
        assert_eq!(desk.seen(), format!("[0] {}\n", "x".repeat(1_000_000)));
    }

    #[test]
    fn a_character_is_not_cut_in_two() {
        let mut desk = Desk::new(&["[0] ", "[1] "]);
        let text = "Bäume".as_bytes();
        desk.write_bytes(0, &text[..2]);
        desk.wait(HOLD);
        assert_eq!(desk.seen(), "[0] B");
        desk.write_bytes(0, &text[2..]);
        desk.write(0, "\n");
        assert_eq!(desk.seen(), "äume\n");
        assert_eq!(cut_character("€".as_bytes()), 0);
        assert_eq!(cut_character(&"€".as_bytes()[..2]), 2);
        assert_eq!(cut_character(&[0x80, 0x80, 0x80, 0x80]), 0);
    }

    #[test]
    fn without_prefixes_the_bytes_pass_as_they_are() {
        let mut desk = Desk::new(&[]);
        desk.write(0, "a\r\nb\rc");
        let source = Source::Drone {
            drone: 0,
            stream: 0,
        };
        desk.pending[0].finish(source, &mut desk.sheet);
        desk.sheet.finish();
        assert_eq!(desk.seen(), "a\r\nb\rc");
    }

    #[test]
    fn the_launchers_words_begin_a_line_of_their_own() {
        let mut desk = Desk::new(&["[0] "]);
        desk.write(0, "half");
        desk.wait(HOLD);
        desk.sheet.put(Source::Launcher, b"hivemind: the end\n");
        assert_eq!(desk.seen(), "[0] half\nhivemind: the end\n");
    }
}
