//! The words of a drone's trace: how what happened is written into an event's text, and read again.
//!
//! A text is words, and then fields: `sends PageRequest to=d1 no=3 pages=12-14 bytes=29 at_us=1234.567`. The first word
//! says what kind of event it is:
//!
//! | text | means |
//! |---|---|
//! | `starts drones= job= wall_us=` | the trace begins; `wall_us` is the time of day (since 1970) at `at_us=0` |
//! | `sends NAME to= no= bytes=` … | a message goes out, the `no`-th on this link; the clock goes with it |
//! | `gets NAME from= no= bytes=` … | a message is here, the `no`-th of this link |
//! | `waits WHAT ticket= thread=` … | the program faults or calls; WHAT says on what; `meeting=` counts the drone's collective calls, `comes=` where it arrives and goes on |
//! | `resumes WHAT ticket= thread= waited_us=` … | that wait is over |
//! | `releases lock=` | the program lets a lock go |
//! | `signals lock= condition= all=` | the program wakes who sleeps until a condition of a lock is signalled |
//! | `prefetches pages=` | the program says what it will touch |
//! | `fails release lock=`, `fails signal lock=` | … which is refused |
//! | `makes twin pages=`, `makes diff pages= bytes=` | what the protocol does with a page that is written |
//! | `applies diff pages= bytes=` | another's writes go into a page |
//! | `drops pages=` | pages become invalid |
//! | `closes interval= pages=` | an interval ends, with its write notices |
//! | `forgets epoch= by=` | an epoch ends with a meeting, or by a collection |
//! | `loses drone=` | a drone is gone |
//! | `fills` | the bound of the log is reached: what happens from here on is counted only |
//! | `ends left_out=` | the trace ends; how many events are not in it |
//!
//! `at_us` is the drone's own time, `pages` lists runs (`3-7,12`; `+5` for five more). Whoever reads takes what is
//! written in other words as it is.

use std::fmt::{Display, Write};

/// How many runs of pages a text lists before it only counts.
const RUNS_MOST: usize = 32;

/// Writes a text: words first, then fields.
///
/// ```
/// use hivemind_trace::Words;
/// let mut text = String::new();
/// let mut words = Words::new(&mut text, "makes diff");
/// words.field("bytes", 12);
/// words.pages([(3, 5), (12, 1)]);
/// assert_eq!(text, "makes diff bytes=12 pages=3-7,12");
/// ```
#[derive(Debug)]
pub struct Words<'a> {
    text: &'a mut String,
}

impl<'a> Words<'a> {
    /// Begins with these words.
    ///
    /// ```
    /// use hivemind_trace::Words;
    /// let mut text = String::new();
    /// Words::new(&mut text, "drops").pages([(7, 1)]);
    /// assert_eq!(text, "drops pages=7");
    /// ```
    pub fn new(text: &'a mut String, words: &str) -> Self {
        text.push_str(words);
        Self { text }
    }

    /// More words, before any field.
    ///
    /// ```
    /// use hivemind_trace::Words;
    /// let mut text = String::new();
    /// let mut words = Words::new(&mut text, "gets");
    /// words.say("DiffReply");
    /// assert_eq!(text, "gets DiffReply");
    /// ```
    pub fn say(&mut self, words: &str) {
        let words = words.trim_start();
        if !self.text.is_empty() && !words.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(words);
    }

    /// A field. Its value must have no space and no line break.
    ///
    /// ```
    /// use hivemind_trace::Words;
    /// let mut text = String::new();
    /// Words::new(&mut text, "releases").field("lock", 4);
    /// assert_eq!(text, "releases lock=4");
    /// ```
    pub fn field(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.text, " {name}={value}");
    }

    /// A drone.
    ///
    /// ```
    /// use hivemind_trace::Words;
    /// let mut text = String::new();
    /// Words::new(&mut text, "loses").drone("drone", 2);
    /// assert_eq!(text, "loses drone=d2");
    /// ```
    pub fn drone(&mut self, name: &str, drone: u32) {
        let _ = write!(self.text, " {name}=d{drone}");
    }

    /// A time in ns, written in µs.
    ///
    /// ```
    /// use hivemind_trace::Words;
    /// let mut text = String::new();
    /// Words::new(&mut text, "fills").time("at_us", 1_234_005);
    /// assert_eq!(text, "fills at_us=1234.005");
    /// ```
    pub fn time(&mut self, name: &str, ns: u64) {
        let _ = write!(self.text, " {name}={}.{:03}", ns / 1000, ns % 1000);
    }

    /// Runs of pages: first and count. Nothing where there are none.
    ///
    /// ```
    /// use hivemind_trace::Words;
    /// let mut text = String::new();
    /// Words::new(&mut text, "drops").pages([(3, 5), (12, 1)]);
    /// assert_eq!(text, "drops pages=3-7,12");
    /// ```
    pub fn pages(&mut self, runs: impl IntoIterator<Item = (u64, u64)>) {
        let (mut written, mut more) = (0, 0);
        for (first, count) in runs {
            if written == RUNS_MOST {
                more += count;
                continue;
            }
            self.text
                .push_str(if written == 0 { " pages=" } else { "," });
            let _ = match count {
                1 => write!(self.text, "{first}"),
                _ => write!(self.text, "{first}-{}", first + count - 1),
            };
            written += 1;
        }
        if more > 0 {
            let _ = write!(self.text, ",+{more}");
        }
    }
}

/// A text, read.
///
/// ```
/// use hivemind_trace::Happening;
/// let sent = Happening::read("sends PageRequest to=d1 no=3 pages=12-14 at_us=1234.5");
/// assert_eq!((sent.kind(), sent.name()), ("sends", "PageRequest"));
/// assert_eq!((sent.drone("to"), sent.number("no")), (Some(1), Some(3)));
/// assert_eq!(sent.time_ns("at_us"), Some(1_234_500));
/// assert!(sent.has_page(13) && !sent.has_page(15));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Happening<'a> {
    text: &'a str,
}

impl<'a> Happening<'a> {
    /// Reads a text; any text will do.
    ///
    /// ```
    /// use hivemind_trace::Happening;
    /// let happening = Happening::read("anything goes");
    /// assert_eq!((happening.kind(), happening.get("lock")), ("anything", None));
    /// ```
    pub fn read(text: &'a str) -> Self {
        Self { text }
    }

    /// Its first word.
    ///
    /// ```
    /// use hivemind_trace::Happening;
    /// assert_eq!(Happening::read("makes twin pages=3").kind(), "makes");
    /// ```
    pub fn kind(&self) -> &'a str {
        self.word(0)
    }

    /// Its second word; empty where there is none.
    ///
    /// ```
    /// use hivemind_trace::Happening;
    /// assert_eq!(Happening::read("makes twin pages=3").name(), "twin");
    /// assert_eq!(Happening::read("drops pages=3").name(), "");
    /// ```
    pub fn name(&self) -> &'a str {
        self.word(1)
    }

    /// The text without the fields that say when and by whom.
    ///
    /// ```
    /// use hivemind_trace::Happening;
    /// let wait = Happening::read("waits acquire lock=4 ticket=9 thread=1 at_us=2.5");
    /// assert_eq!(wait.brief(), "waits acquire lock=4");
    /// ```
    pub fn brief(&self) -> String {
        let dull = ["at_us=", "ticket=", "thread=", "waited_us="];
        let words = self.text.split_ascii_whitespace();
        let words: Vec<&str> = words
            .filter(|word| !dull.iter().any(|dull| word.starts_with(dull)))
            .collect();
        words.join(" ")
    }

    /// A field's value.
    ///
    /// ```
    /// use hivemind_trace::Happening;
    /// let ended = Happening::read("resumes barrier result=done");
    /// assert_eq!((ended.get("result"), ended.get("lock")), (Some("done"), None));
    /// ```
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// All fields.
    ///
    /// ```
    /// use hivemind_trace::Happening;
    /// let sent = Happening::read("sends Ack to=d1 no=3");
    /// assert_eq!(sent.fields().collect::<Vec<_>>(), [("to", "d1"), ("no", "3")]);
    /// ```
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let words = self.text.split_ascii_whitespace();
        words.filter_map(|word| word.split_once('='))
    }

    /// A field that is a number.
    ///
    /// ```
    /// use hivemind_trace::Happening;
    /// let sent = Happening::read("sends Ack to=d1 no=3");
    /// assert_eq!((sent.number("no"), sent.number("to")), (Some(3), None));
    /// ```
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// A field that is a drone.
    ///
    /// ```
    /// use hivemind_trace::Happening;
    /// let sent = Happening::read("sends Ack to=d1 no=3");
    /// assert_eq!((sent.drone("to"), sent.drone("no")), (Some(1), None));
    /// ```
    pub fn drone(&self, name: &str) -> Option<u32> {
        self.get(name)?.strip_prefix('d')?.parse().ok()
    }

    /// A field that is a time in µs, in ns.
    ///
    /// ```
    /// use hivemind_trace::Happening;
    /// let full = Happening::read("fills at_us=1234.5");
    /// assert_eq!(full.time_ns("at_us"), Some(1_234_500));
    /// ```
    pub fn time_ns(&self, name: &str) -> Option<u64> {
        let value = self.get(name)?;
        let (whole, part) = value.split_once('.').unwrap_or((value, ""));
        let digits = part.get(..part.len().min(3))?;
        let part: u64 = format!("{digits:0<3}").parse().ok()?;
        whole
            .parse::<u64>()
            .ok()?
            .checked_mul(1000)?
            .checked_add(part)
    }

    /// Whether it is about this page, as far as its pages are listed.
    ///
    /// ```
    /// use hivemind_trace::Happening;
    /// let dropped = Happening::read("drops pages=3-7,12");
    /// assert!(dropped.has_page(5) && dropped.has_page(12) && !dropped.has_page(8));
    /// ```
    pub fn has_page(&self, page: u64) -> bool {
        let listed = self.get("pages").into_iter();
        let listed = listed.flat_map(|runs| runs.split(',').filter(|run| !run.starts_with('+')));
        let mut runs = listed.filter_map(|run| match run.split_once('-') {
            Some((first, last)) => Some(first.parse().ok()?..=last.parse().ok()?),
            None => run.parse().ok().map(|page| page..=page),
        });
        runs.any(|run: std::ops::RangeInclusive<u64>| run.contains(&page))
    }

    /// The text with another time, in ns; as it is where it has none.
    ///
    /// ```
    /// use hivemind_trace::Happening;
    /// let full = Happening::read("fills at_us=1234.5");
    /// assert_eq!(full.moved_to(2_000), "fills at_us=2.000");
    /// ```
    pub fn moved_to(&self, ns: u64) -> String {
        let Some(at) = self.text.rfind(" at_us=") else {
            return self.text.to_owned();
        };
        let mut text = self.text[..at].to_owned();
        Words { text: &mut text }.time("at_us", ns);
        let rest = &self.text[at + 1..];
        text.push_str(rest.find(' ').map_or("", |end| &rest[end..]));
        text
    }

    fn word(&self, at: usize) -> &'a str {
        let words = self.text.split_ascii_whitespace();
        words
            .take_while(|word| !word.contains('='))
            .nth(at)
            .unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut text = String::new();
        let mut words = Words::new(&mut text, "gets");
        words.say("DiffReply");
        words.drone("from", 12);
        words.field("no", 7);
        words.pages((0..40).map(|run| (run * 10, 1 + run % 2)));
        words.time("at_us", 1_002_003);
        let read = Happening::read(&text);
        assert_eq!((read.kind(), read.name()), ("gets", "DiffReply"));
        assert_eq!((read.drone("from"), read.number("no")), (Some(12), Some(7)));
        assert_eq!(read.time_ns("at_us"), Some(1_002_003));
        assert!(read.has_page(310) && read.has_page(311) && !read.has_page(301));
        assert!(!read.has_page(390), "only counted: {text}");
        assert!(text.contains(",+12 "), "{text}");
        let moved = read.moved_to(5);
        assert_eq!(Happening::read(&moved).time_ns("at_us"), Some(5));
        assert_eq!(Happening::read(&moved).brief(), read.brief());
    }

    #[test]
    fn other_texts_say_nothing() {
        for text in ["", "anything goes", "at_us=x pages=a-b,c", "= == no=-1"] {
            let read = Happening::read(text);
            assert_eq!((read.number("no"), read.time_ns("at_us")), (None, None));
            assert!(!read.has_page(0));
        }
    }
}
