//! The language of scenarios: one line, one thing. What the lines do is in `scenario`.
//!
//! ```text
//! drones 3                      how many; first line
//! pages 4                       of the region (default 64)
//! fan-out 1                     for how many others a drone waits at an epoch's end (default: 16)
//! limit 500                     bytes of protocol memory before a collection (default: none)
//! again 0                       a wish goes with the token once its drone came back at once so often (default 3)
//! watch marks copies            only with these, or traps (default: the scenario runs once with each of the three)
//! d0: write p0+8 = 1 2 3        stores bytes at page 0, offset 8
//! d0: read p0+8 = 1 2 3         loads them, and they must be these
//! d0: lock 1   d0: unlock 1     d0: barrier 0   d0: leave
//! d0: arrive 0   d0: depart     a barrier in two calls; the lines between are done meanwhile
//! d0: try 1                     takes lock 1, which is free; `d0: try 1 in vain`: it is not
//! d0: wait 1 0                  sleeps, under lock 1, until its condition 0 is signalled
//! d0: signal 1 0                wakes who sleeps longest for it; `broadcast` wakes all
//! d0: prefetch p3 4             begins to fetch pages 3 to 6
//! d0: allocate 64   d0: free    a block from the heap; gives back the one that this drone got last
//! all: allocate 9000 together   a block for all; `free together` gives back the one that was allocated last
//! all: allocate 2 pages together   likewise, of whole pages
//! meanwhile d0 p0+8 = 1         another thread of d0 stores, at once, to a page that is open, whatever d0 waits for
//! all: barrier 0                every drone, in turn
//! repeat 300   …   end          the lines between, so many times
//! settle                        delivers all messages, until nothing moves
//! deliver d0 d1                 delivers the next message of one link
//! hold d0 d1   let d0 d1        keeps a link from moving; lets it move again
//! kill d1                       d1 dies; the others learn it when its links are delivered
//! expect messages 2             sent since the last such line
//! expect sends d0>d1 PageRequest, d1>d0 PageReply
//! expect faults d0 1            faults of d0's program since the last such line
//! expect d0 counted twins 1      since the start; any count of its statistics
//! expect d2 read p0+8 = 1       settles, reads, settles
//! expect d1 waits               its program waits, even though everything has settled
//! expect d1 idle                its program has done all its lines
//! expect d1 lost d0             its last line ended because d0 is lost
//! ```
//!
//! A drone does its lines in order, each at once if the one before is done; else it waits its turn.

use crate::memory::Watch;
use hivemind_protocol::{
    Address, BarrierId, ConditionId, DroneId, Economies, FAN_OUT, LockId, PAGE_SIZE, PageId,
    PageRun,
};

/// How blocks are aligned that are not of whole pages.
pub(crate) const ALIGN: u64 = 16;

/// A line of a scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    Do(Vec<DroneId>, Deed),
    Settle,
    Deliver(DroneId, DroneId),
    Hold(DroneId, DroneId),
    Let(DroneId, DroneId),
    Kill(DroneId),
    Meanwhile(DroneId, Address, Vec<u8>),
    ExpectMessages(u64),
    ExpectSends(Vec<String>),
    ExpectFaults(DroneId, u64),
    ExpectCounted(DroneId, String, u64),
    ExpectRead(DroneId, Address, Vec<u8>),
    ExpectWaits(DroneId),
    ExpectIdle(DroneId),
    ExpectLost(DroneId, DroneId),
}

/// Something that a drone's program does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Deed {
    Write(Address, Vec<u8>),
    Read(Address, Vec<u8>),
    Lock(LockId),
    /// Whether it will be taken.
    Try(LockId, bool),
    Unlock(LockId),
    Wait(LockId, ConditionId),
    /// Whether all are woken.
    Signal(LockId, ConditionId, bool),
    Prefetch(PageRun),
    Allocate(u64),
    /// How many bytes, and to what they are aligned.
    AllocateTogether(u64, u64),
    Measure,
    Free,
    FreeTogether,
    Barrier(BarrierId),
    Arrive(BarrierId),
    Depart,
    Leave,
}

/// A scenario as it is written.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) drones: u32,
    pub(crate) pages: u64,
    pub(crate) limit_bytes: u64,
    pub(crate) fan_out: u32,
    pub(crate) economies: Economies,
    /// None: each in turn.
    pub(crate) watches: Vec<Watch>,
    /// With their numbers in the text.
    pub(crate) lines: Vec<(usize, Line)>,
}

/// Reads a scenario.
pub(crate) fn parse(text: &str) -> Result<Script, String> {
    let (drones, pages, limit_bytes) = (0, 64, u64::MAX);
    let mut script = Script {
        drones,
        pages,
        limit_bytes,
        fan_out: FAN_OUT,
        economies: Economies::default(),
        watches: vec![Watch::Traps, Watch::Marks, Watch::Copies],
        lines: Vec::new(),
    };
    // Where the lines that repeat begin, and how often they are done.
    let mut repeated: Option<(usize, u64)> = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let wrong = |what| format!("line {}: {what}: {line}", at + 1);
        if let Some(times) = line.strip_prefix("repeat ") {
            repeated = Some((script.lines.len(), number(times).map_err(wrong)?));
        } else if line == "end" {
            let (start, times) = repeated.take().ok_or("an end without its repeat")?;
            let lines = script.lines.split_off(start);
            for _ in 0..times {
                script.lines.extend_from_slice(&lines);
            }
        } else if !line.is_empty() {
            script.take(at + 1, line).map_err(wrong)?;
        }
    }
    if repeated.is_some() {
        Err("a repeat without its end".to_owned())
    } else if script.drones == 0 {
        Err("the scenario has no drones".to_owned())
    } else {
        Ok(script)
    }
}

impl Script {
    fn take(&mut self, at: usize, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let parsed = match words[..] {
            ["drones", count] => {
                self.drones = number(count)? as u32;
                return Ok(());
            }
            ["pages", count] => {
                self.pages = number(count)?;
                return Ok(());
            }
            ["again", times] => {
                self.economies.again = Some(number(times)? as u8);
                return Ok(());
            }
            ["limit", bytes] => {
                self.limit_bytes = number(bytes)?;
                return Ok(());
            }
            ["fan-out", count] => {
                self.fan_out = number(count)? as u32;
                return Ok(());
            }
            ["watch", ref ways @ ..] if !ways.is_empty() => {
                let watch = |way: &&str| match *way {
                    "traps" => Ok(Watch::Traps),
                    "marks" => Ok(Watch::Marks),
                    "copies" => Ok(Watch::Copies),
                    _ => Err("watch is traps, marks or copies".to_owned()),
                };
                self.watches = ways.iter().map(watch).collect::<Result<_, _>>()?;
                return Ok(());
            }
            ["settle"] => Line::Settle,
            ["deliver", from, to] => Line::Deliver(self.drone(from)?, self.drone(to)?),
            ["hold", from, to] => Line::Hold(self.drone(from)?, self.drone(to)?),
            ["let", from, to] => Line::Let(self.drone(from)?, self.drone(to)?),
            ["kill", drone] => Line::Kill(self.drone(drone)?),
            ["meanwhile", drone, place, "=", ref bytes @ ..] => {
                Line::Meanwhile(self.drone(drone)?, address(place)?, content(bytes)?)
            }
            ["expect", ref rest @ ..] => self.expect(rest, line)?,
            [who, ref rest @ ..] => {
                let who = who.strip_suffix(':').ok_or("not a line of a scenario")?;
                let who = match who {
                    "all" => (0..self.drones).map(DroneId).collect(),
                    one => vec![self.drone(one)?],
                };
                Line::Do(who, deed(rest)?)
            }
            [] => return Ok(()),
        };
        self.lines.push((at, parsed));
        Ok(())
    }

    fn expect(&self, words: &[&str], line: &str) -> Result<Line, String> {
        Ok(match words {
            ["messages", count] => Line::ExpectMessages(number(count)?),
            ["sends", ..] => {
                let list = line
                    .split_once("sends")
                    .map(|(_, list)| list)
                    .unwrap_or_default();
                Line::ExpectSends(list.split(',').map(|one| one.trim().to_owned()).collect())
            }
            ["faults", drone, count] => Line::ExpectFaults(self.drone(drone)?, number(count)?),
            [drone, "read", place, "=", bytes @ ..] => {
                Line::ExpectRead(self.drone(drone)?, address(place)?, content(bytes)?)
            }
            [drone, "counted", what, count] => {
                Line::ExpectCounted(self.drone(drone)?, (*what).to_owned(), number(count)?)
            }
            [drone, "waits"] => Line::ExpectWaits(self.drone(drone)?),
            [drone, "idle"] => Line::ExpectIdle(self.drone(drone)?),
            [drone, "lost", other] => Line::ExpectLost(self.drone(drone)?, self.drone(other)?),
            _ => return Err("not something to expect".to_owned()),
        })
    }

    fn drone(&self, word: &str) -> Result<DroneId, String> {
        let drone = word
            .strip_prefix('d')
            .ok_or_else(|| format!("{word} is no drone"))?;
        let drone = number(drone)? as u32;
        if drone < self.drones {
            Ok(DroneId(drone))
        } else {
            Err(format!("there is no {word}"))
        }
    }
}

fn deed(words: &[&str]) -> Result<Deed, String> {
    Ok(match words {
        ["write", place, "=", bytes @ ..] => Deed::Write(address(place)?, content(bytes)?),
        ["read", place, "=", bytes @ ..] => Deed::Read(address(place)?, content(bytes)?),
        ["lock", id] => Deed::Lock(lock(id)?),
        ["try", id] => Deed::Try(lock(id)?, true),
        ["try", id, "in", "vain"] => Deed::Try(lock(id)?, false),
        ["unlock", id] => Deed::Unlock(lock(id)?),
        ["wait", id, condition] => Deed::Wait(lock(id)?, self::condition(condition)?),
        ["signal", id, condition] => Deed::Signal(lock(id)?, self::condition(condition)?, false),
        ["broadcast", id, condition] => Deed::Signal(lock(id)?, self::condition(condition)?, true),
        ["prefetch", first, count] => Deed::Prefetch(pages(first, count)?),
        ["allocate", bytes, "together"] => Deed::AllocateTogether(number(bytes)?, ALIGN),
        ["allocate", count, "pages", "together"] => {
            let page = PAGE_SIZE as u64;
            Deed::AllocateTogether(number(count)? * page, page)
        }
        ["free", "together"] => Deed::FreeTogether,
        ["allocate", bytes] => Deed::Allocate(number(bytes)?),
        ["measure"] => Deed::Measure,
        ["free"] => Deed::Free,
        ["barrier", id] => Deed::Barrier(BarrierId(number(id)? as u32)),
        ["arrive", id] => Deed::Arrive(BarrierId(number(id)? as u32)),
        ["depart"] => Deed::Depart,
        ["leave"] => Deed::Leave,
        _ => return Err("not something that a drone does".to_owned()),
    })
}

/// `p3+16`: byte 16 of page 3.
pub(crate) fn address(word: &str) -> Result<Address, String> {
    let wrong = || format!("{word} is no place; write p0+8");
    let (page, offset) = word
        .strip_prefix('p')
        .and_then(|rest| rest.split_once('+'))
        .ok_or_else(wrong)?;
    Ok(Address(number(page)? * PAGE_SIZE as u64 + number(offset)?))
}

pub(crate) fn content(words: &[&str]) -> Result<Vec<u8>, String> {
    let byte = |word: &&str| word.parse().map_err(|_| format!("{word} is no byte"));
    words.iter().map(byte).collect()
}

/// `p3`, and how many from there on.
pub(crate) fn pages(first: &str, count: &str) -> Result<PageRun, String> {
    let page = first.strip_prefix('p').ok_or("pages are written p0 4")?;
    Ok(PageRun {
        first: PageId(number(page)?),
        count: number(count)?,
    })
}

pub(crate) fn lock(word: &str) -> Result<LockId, String> {
    number(word).map(LockId)
}

pub(crate) fn condition(word: &str) -> Result<ConditionId, String> {
    let id = word.parse().map(ConditionId);
    id.map_err(|_| format!("{word} is no condition"))
}

pub(crate) fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word} is no number"))
}
