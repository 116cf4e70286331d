//! Hostile bytes: the fuzz targets. Each takes any bytes, has the product read them, and panics where what
//! comes of it is wrong. `cargo xtask fuzz` drives them with coverage; `tests/corpus.rs` runs the corpus through
//! them without a fuzzer.
//!
//! Here are the table and the targets that reach what they need through public items. The others live beside
//! what they read, in a door that only a fuzzing build has (`hivemind::fuzz`), and run their corpus in their
//! crate's unit tests. Hive files and the frames between launcher and agent belong to a command, which has no door:
//! their properties are tested beside them.

#![forbid(unsafe_code)]

pub mod core;
mod diff;
mod heap;
mod message;
mod settings;
mod trace;
mod tsplib;

/// One target: its name, which is its corpus's folder too, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// The targets of this package. A new one is a file, a line here and a folder of seeds.
pub const TARGETS: &[Target] = &[
    ("core", core::run),
    ("diff", diff::run),
    ("heap", heap::run),
    ("message", message::run),
    ("settings", settings::run),
    ("trace", trace::run),
    ("tsplib", tsplib::run),
];

/// Those that live behind doors.
#[cfg(fuzzing)]
pub const BEHIND_DOORS: &[Target] = hivemind::fuzz::TARGETS;

/// Takes a hostile input apart, front to back; gives zeros when it has ended.
#[derive(Debug)]
pub struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// All of an input.
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes, or what is left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next two bytes as a number.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// The next eight bytes as a number.
    pub fn long(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }
}
