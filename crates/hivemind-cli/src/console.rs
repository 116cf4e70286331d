//! Everything that the launcher prints: the drones' lines, its own sentences and the statistics, on standard
//! output and standard error. Who reads the drones' pipes is `job`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use anstyle::{Ansi256Color, Style};

use crate::lines::{Pending, Sheet, Source};
use crate::options::Color;
use crate::sink::Sink;

/// Standard output.
pub(crate) const OUTPUT: usize = 0;
/// Standard error.
pub(crate) const ERROR: usize = 1;

/// Colours that are told apart on light and dark ground; more drones than colours share them.
const COLOURS: [u8; 12] = [39, 208, 76, 170, 214, 45, 203, 141, 113, 180, 69, 36];

/// The launcher's output.
#[derive(Debug)]
pub(crate) struct Console {
    /// One place each, or one for both streams when they are the same file or terminal.
    places: Vec<Place>,
    place_of_stream: [usize; 2],
    /// The unfinished lines: two streams a drone.
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Place {
    sheet: Sheet,
    sink: Sink,
}

impl Console {
    /// The console of a job of so many drones. `wake` is an eventfd that rings when output moves on.
    ///
    /// # Errors
    /// The system's refusal to start a thread.
    pub(crate) fn open(
        drones: u32,
        prefix: bool,
        color: Color,
        wake: &Arc<OwnedFd>,
    ) -> io::Result<Self> {
        let streams = [rustix::stdio::stdout(), rustix::stdio::stderr()];
        let place = |stream: usize| {
            let colored = prefix && is_colored(color, stream);
            let prefixes = if prefix {
                prefixes(drones, colored)
            } else {
                Vec::new()
            };
            io::Result::Ok(Place {
                sheet: Sheet::new(prefixes),
                sink: Sink::open(streams[stream], Arc::clone(wake))?,
            })
        };
        let mut places = vec![place(OUTPUT)?];
        let mut place_of_stream = [0, 0];
        if !are_same(streams[OUTPUT], streams[ERROR]) {
            places.push(place(ERROR)?);
            place_of_stream[ERROR] = 1;
        }
        let pending = (0..2 * drones).map(|_| Pending::default()).collect();
        Ok(Self {
            places,
            place_of_stream,
            pending,
        })
    }

    /// Takes what a drone wrote to one of its streams.
    pub(crate) fn receive(&mut self, drone: u32, stream: usize, bytes: &[u8], now: Instant) {
        let source = Source::Drone { drone, stream };
        let sheet = &mut self.places[self.place_of_stream[stream]].sheet;
        self.pending[index(drone, stream)].push(source, bytes, now, sheet);
    }

    /// Shows what is left of a stream: it has ended, or its drone has.
    pub(crate) fn finish_stream(&mut self, drone: u32, stream: usize) {
        let source = Source::Drone { drone, stream };
        let sheet = &mut self.places[self.place_of_stream[stream]].sheet;
        self.pending[index(drone, stream)].finish(source, sheet);
    }

    /// Says something in the launcher's own name, on standard error.
    pub(crate) fn say(&mut self, sentence: &str) {
        self.print(&format!("hivemind: {sentence}\n"));
    }

    /// Prints whole lines on standard error.
    pub(crate) fn print(&mut self, lines: &str) {
        let sheet = &mut self.places[self.place_of_stream[ERROR]].sheet;
        sheet.put(Source::Launcher, lines.as_bytes());
    }

    /// Shows unfinished lines that have waited long enough. Gives the time when the next one will have.
    pub(crate) fn show_unfinished(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for (index, pending) in self.pending.iter_mut().enumerate() {
            let stream = index % 2;
            let source = Source::Drone {
                drone: (index / 2) as u32,
                stream,
            };
            let sheet = &mut self.places[self.place_of_stream[stream]].sheet;
            match pending.due(source, sheet) {
                Some(due) if due <= now => pending.flush(source, sheet),
                Some(due) => next = Some(next.map_or(due, |next| next.min(due))),
                None => {}
            }
        }
        next
    }

    /// Ends lines that are still open.
    pub(crate) fn finish_lines(&mut self) {
        for place in &mut self.places {
            place.sheet.finish();
        }
    }

    /// Hands everything that is ready to the writing threads.
    pub(crate) fn send(&mut self) {
        for place in &mut self.places {
            let bytes = place.sheet.take();
            place.sink.send(bytes);
        }
    }

    /// Whether so much waits to be written to this stream that drones should wait too.
    pub(crate) fn is_full(&self, stream: usize) -> bool {
        self.places[self.place_of_stream[stream]].sink.is_full()
    }

    /// Whether everything is written.
    pub(crate) fn is_idle(&self) -> bool {
        self.places.iter().all(|place| place.sink.is_idle())
    }

    /// The stream that cannot be written any more, once.
    pub(crate) fn take_failure(&mut self) -> Option<(&'static str, io::Error)> {
        let both = self.places.len() == 1;
        self.places.iter().enumerate().find_map(|(place, failed)| {
            let name = match place {
                OUTPUT if both => "the output",
                OUTPUT => "standard output",
                _ => "standard error",
            };
            Some((name, failed.sink.take_failure()?))
        })
    }
}

fn index(drone: u32, stream: usize) -> usize {
    2 * drone as usize + stream
}

/// Whether a stream of ours takes colours.
pub(crate) fn is_colored(color: Color, stream: usize) -> bool {
    let automatic = || match stream {
        OUTPUT => anstream::AutoStream::choice(&io::stdout()),
        _ => anstream::AutoStream::choice(&io::stderr()),
    };
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => automatic() != anstream::ColorChoice::Never,
    }
}

fn prefixes(drones: u32, colored: bool) -> Vec<Vec<u8>> {
    let prefix = |drone: u32| {
        if !colored {
            return format!("[{drone}] ").into_bytes();
        }
        let colour = Ansi256Color(COLOURS[drone as usize % COLOURS.len()]);
        let style = Style::new().fg_color(Some(colour.into()));
        format!("{style}[{drone}]{style:#} ").into_bytes()
    };
    (0..drones).map(prefix).collect()
}

/// Whether both lead to one file, pipe or terminal.
fn are_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let identity = |stream: BorrowedFd<'_>| {
        let found = rustix::fs::fstat(stream.as_fd()).ok()?;
        Some((found.st_dev, found.st_ino))
    };
    identity(one).is_some() && identity(one) == identity(other)
}
