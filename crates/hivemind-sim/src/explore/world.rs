//! Small worlds as they are written: a few lines of what each drone's program does.
//!
//! ```text
//! drones 3                       how many, at most 3; first line
//! pages 2                        of the region (default 2)
//! fan-out 1                      for how many others a drone waits at an epoch's end: three in a line (default: 16)
//! limit 0                        bytes of protocol memory before a collection (default: none)
//! again 0                        a wish goes with the token once its drone came back at once so often (default: never)
//! detection traps                or scans, or mixed: traps and scans in turn (default: each of the three)
//! loses any                      any drone may die at any moment, one at most; or only one: loses d1
//! torn                           a store may land in the middle of what the core does for a message
//! large                          only explored when asked for
//! d0: lock 0; add p0+0 1         a drone's program goes on; add loads a byte and stores it plus a number
//! d0: write p0+8 = 1 2; read p0+8 2; unlock 0; barrier 0; leave
//! d0: arrive 0; write p0+0 = 1; depart  a barrier in two calls
//! d0: try 0; add p0+0 1; unlock 0  takes lock 0 if it is free; else goes on behind the next unlock of it
//! d0: prefetch p0 2              begins to fetch pages 0 and 1
//! d0: until p0+0 = 1 wait 0 3    under lock 0: looks at a byte, and until it is 1 waits for condition 3 and looks again
//! d0: signal 0 3; broadcast 0 3  wakes who sleeps longest for it, or all
//! result p0+0 = 3 1              what these bytes are in the end, whatever the order was
//! ```
//!
//! A read names no bytes to expect: the oracle knows them.

use crate::memory::Watch;
use crate::script::{address, condition, content, lock, number, pages};
use hivemind_protocol::{Address, BarrierId, ConditionId, DroneId, FAN_OUT, LockId, PageRun};

/// A world that is small enough to go through every order of events in it.
///
/// ```
/// use hivemind_sim::explore::SmallWorld;
/// let worlds = SmallWorld::shipped();
/// assert!(worlds.iter().any(|world| world.name == "one-lock"));
/// ```
#[derive(Clone, Debug)]
pub struct SmallWorld {
    /// Its name.
    pub name: String,
    /// How each drone's memory learns of writes.
    pub detection: Detection,
    /// Whether it is only explored when asked for.
    pub large: bool,
    pub(crate) drones: u32,
    pub(crate) pages: u64,
    pub(crate) limit_bytes: u64,
    pub(crate) fan_out: u32,
    pub(crate) again: Option<u8>,
    /// The drones of which one may die.
    pub(crate) mortal: Vec<DroneId>,
    pub(crate) torn: bool,
    pub(crate) programs: Vec<Vec<Deed>>,
    pub(crate) results: Vec<(Address, Vec<u8>)>,
}

/// How the drones of a world learn of writes.
///
/// ```
/// use hivemind_sim::explore::Detection;
/// assert_eq!("traps".parse(), Ok(Detection::Traps));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detection {
    /// All by traps.
    Traps,
    /// All by scans.
    Scans,
    /// By traps and by scans, in turn.
    Mixed,
}

/// Something that a program does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Deed {
    Read(Address, usize),
    Write(Address, Vec<u8>),
    Add(Address, u8),
    Lock(LockId),
    Try(LockId),
    Unlock(LockId),
    /// Waits under the lock for the condition until the byte there is this.
    Until(Address, u8, LockId, ConditionId),
    /// Whether all are woken.
    Signal(LockId, ConditionId, bool),
    Prefetch(PageRun),
    Barrier(BarrierId),
    Arrive(BarrierId),
    Depart,
    Leave,
}

/// More drones do not fit into a state of the search, and would not be small.
pub(crate) const DRONES_MOST: u32 = 3;

impl SmallWorld {
    /// Reads a world; gives it once for each kind of write detection that it is for.
    ///
    /// ```
    /// use hivemind_sim::explore::SmallWorld;
    /// let worlds = SmallWorld::parse("short", "drones 1\nd0: write p0+0 = 1; leave")?;
    /// assert_eq!(worlds.len(), 3); // traps, scans, and both
    /// assert!(SmallWorld::parse("wrong", "drones 1\nd0: dance").is_err());
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// The line that is no line of a world.
    pub fn parse(name: &str, text: &str) -> Result<Vec<Self>, String> {
        let mut world = Self {
            name: name.to_owned(),
            detection: Detection::Traps,
            large: false,
            drones: 0,
            pages: 2,
            limit_bytes: u64::MAX,
            fan_out: FAN_OUT,
            again: None,
            mortal: Vec::new(),
            torn: false,
            programs: Vec::new(),
            results: Vec::new(),
        };
        let mut detections = vec![Detection::Traps, Detection::Scans, Detection::Mixed];
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let words: Vec<&str> = line.split_whitespace().collect();
            let taken = match words[..] {
                [] => Ok(()),
                ["detection", word] => word.parse().map(|one| detections = vec![one]),
                _ => world.take(line, &words),
            };
            taken.map_err(|what| format!("{name}, line {}: {what}: {line}", at + 1))?;
        }
        let with = |detection| Self {
            detection,
            ..world.clone()
        };
        Ok(detections.into_iter().map(with).collect())
    }

    /// The worlds that are shipped, in all their settings.
    ///
    /// ```
    /// use hivemind_sim::explore::SmallWorld;
    /// for world in SmallWorld::shipped() {
    ///     println!("{} {}", world.name, world.detection);
    /// }
    /// ```
    pub fn shipped() -> Vec<Self> {
        let parse = |(name, text): &(&str, &str)| {
            Self::parse(name, text).unwrap_or_else(|what| panic!("a shipped world: {what}"))
        };
        super::SHIPPED.iter().flat_map(parse).collect()
    }

    /// Whether its programs say themselves that they leave: then nothing can be asked of them at the end.
    pub(crate) fn leaves(&self) -> bool {
        let leaves = |program: &Vec<Deed>| program.last() == Some(&Deed::Leave);
        self.programs.iter().any(leaves)
    }

    pub(crate) fn watch_of(&self, drone: DroneId) -> Watch {
        match self.detection {
            Detection::Traps => Watch::Traps,
            Detection::Scans => Watch::Marks,
            Detection::Mixed if drone.0.is_multiple_of(2) => Watch::Traps,
            Detection::Mixed => Watch::Marks,
        }
    }

    fn take(&mut self, line: &str, words: &[&str]) -> Result<(), String> {
        match *words {
            ["drones", count] => {
                self.drones = number(count)? as u32;
                if !(1..=DRONES_MOST).contains(&self.drones) {
                    return Err(format!("a small world has 1 to {DRONES_MOST} drones"));
                }
                self.programs = vec![Vec::new(); self.drones as usize];
            }
            ["pages", count] => self.pages = number(count)?,
            ["limit", bytes] => self.limit_bytes = number(bytes)?,
            ["fan-out", count] => self.fan_out = number(count)? as u32,
            ["again", times] => self.again = Some(number(times)? as u8),
            ["loses", "any"] => self.mortal = (0..self.drones).map(DroneId).collect(),
            ["loses", drone] => self.mortal.push(self.drone(drone)?),
            ["torn"] => self.torn = true,
            ["large"] => self.large = true,
            ["result", place, "=", ref bytes @ ..] => {
                self.results.push((address(place)?, content(bytes)?));
            }
            _ => return self.take_deeds(line),
        }
        Ok(())
    }

    fn take_deeds(&mut self, line: &str) -> Result<(), String> {
        let (who, deeds) = line.split_once(':').ok_or("not a line of a world")?;
        let who = match who {
            "all" => (0..self.drones).map(DroneId).collect(),
            one => vec![self.drone(one)?],
        };
        for text in deeds.split(';') {
            let words: Vec<&str> = text.split_whitespace().collect();
            let deed = deed(&words)?;
            for drone in &who {
                self.programs[drone.0 as usize].push(deed.clone());
            }
        }
        Ok(())
    }

    fn drone(&self, word: &str) -> Result<DroneId, String> {
        let drones = (0..self.drones).map(DroneId);
        let named = drones
            .into_iter()
            .find(|drone| word == format!("d{}", drone.0));
        named.ok_or_else(|| format!("there is no {word}"))
    }
}

fn deed(words: &[&str]) -> Result<Deed, String> {
    Ok(match words {
        ["read", place, count] => Deed::Read(address(place)?, number(count)? as usize),
        ["write", place, "=", bytes @ ..] => Deed::Write(address(place)?, content(bytes)?),
        ["add", place, more] => Deed::Add(address(place)?, number(more)? as u8),
        ["lock", id] => Deed::Lock(lock(id)?),
        ["try", id] => Deed::Try(lock(id)?),
        ["unlock", id] => Deed::Unlock(lock(id)?),
        ["until", place, "=", byte, "wait", id, cause] => {
            let byte = number(byte)? as u8;
            Deed::Until(address(place)?, byte, lock(id)?, condition(cause)?)
        }
        ["signal", id, cause] => Deed::Signal(lock(id)?, condition(cause)?, false),
        ["broadcast", id, cause] => Deed::Signal(lock(id)?, condition(cause)?, true),
        ["prefetch", first, count] => Deed::Prefetch(pages(first, count)?),
        ["barrier", id] => Deed::Barrier(BarrierId(number(id)? as u32)),
        ["arrive", id] => Deed::Arrive(BarrierId(number(id)? as u32)),
        ["depart"] => Deed::Depart,
        ["leave"] => Deed::Leave,
        _ => return Err("not something that a drone does".to_owned()),
    })
}

impl std::fmt::Display for Detection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Traps => "traps",
            Self::Scans => "scans",
            Self::Mixed => "mixed",
        })
    }
}

impl std::str::FromStr for Detection {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Self::Traps, Self::Scans, Self::Mixed]
            .into_iter()
            .find(|detection| detection.to_string() == word)
            .ok_or_else(|| format!("{word} is no way to learn of writes: traps, scans or mixed"))
    }
}
