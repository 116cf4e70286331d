//! The membership of the start-up: who is here, whom to refuse and why, and when all are here.
//!
//! Drone 0 keeps one [`Membership`]. How drones knock, and how long one waits for them, is the driver's.

use crate::DroneId;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// Something that must be equal on all drones: its name and its value.
///
/// ```
/// use hivemind_protocol::Fact;
/// let fact: Fact = ("page in bytes".to_owned(), "4096".to_owned());
/// # let _ = fact;
/// ```
pub type Fact = (String, String);

/// A drone that knocks.
///
/// ```
/// use hivemind_protocol::{Membership, Newcomer};
/// let stray = Newcomer {
///     job: "another".into(),
///     rank: 1,
///     size: 2,
///     address: "127.0.0.1:4000".into(),
///     base_bitmap: 1,
///     facts: vec![],
/// };
/// assert!(Membership::new(2, "job", &[], 1).consider(&stray).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// The job that it belongs to.
    pub job: String,
    /// Which drone it is.
    pub rank: u32,
    /// Of how many.
    pub size: u32,
    /// Where it listens for the drones above it.
    pub address: String,
    /// At which of the agreed bases its region could lie, a bit each.
    pub base_bitmap: u32,
    /// What must be equal on all drones.
    pub facts: Vec<Fact>,
}

/// How many refusals are remembered for the report of a start that failed.
const REMEMBERED_REFUSALS: usize = 4;

/// How many missing drones a sentence names.
const NAMED_MISSING: usize = 8;

/// The roll of a hive that comes together.
///
/// ```
/// use hivemind_protocol::{DroneId, Membership, Newcomer};
/// let mut members = Membership::new(2, "job", &[], 0b11);
/// let newcomer = Newcomer {
///     job: "job".into(),
///     rank: 1,
///     size: 2,
///     address: "127.0.0.1:4000".into(),
///     base_bitmap: 0b10,
///     facts: vec![],
/// };
/// assert_eq!(members.consider(&newcomer), Ok(DroneId(1)));
/// assert!(members.is_complete());
/// assert_eq!(members.base(), Ok(1));
/// assert!(members.consider(&newcomer).unwrap_err().contains("is here already"));
/// ```
#[derive(Debug)]
pub struct Membership {
    job: String,
    facts: Vec<Fact>,
    /// By rank; drone 0 is here from the start.
    places: Vec<Option<Place>>,
    /// Ranks that came and went.
    departed: Vec<u32>,
    refusals: Vec<String>,
    refused: usize,
    strangers: usize,
}

/// A drone that is here.
#[derive(Debug)]
struct Place {
    address: String,
    base_bitmap: u32,
}

impl Membership {
    /// Drone 0's own view of the job, with nobody else here yet.
    ///
    /// ```
    /// use hivemind_protocol::Membership;
    /// let members = Membership::new(1, "job", &[], 0b10);
    /// assert!(members.is_complete()); // a hive of one
    /// ```
    pub fn new(size: u32, job: &str, facts: &[Fact], base_bitmap: u32) -> Self {
        let mut places: Vec<Option<Place>> = (0..size).map(|_| None).collect();
        places[0] = Some(Place {
            address: String::new(),
            base_bitmap,
        });
        Self {
            job: job.to_owned(),
            facts: facts.to_vec(),
            places,
            departed: Vec::new(),
            refusals: Vec::new(),
            refused: 0,
            strangers: 0,
        }
    }

    /// Takes a drone in.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, Membership, Newcomer};
    /// let mut members = Membership::new(2, "job", &[], 1);
    /// let newcomer = Newcomer {
    ///     job: "job".into(),
    ///     rank: 1,
    ///     size: 2,
    ///     address: "127.0.0.1:4000".into(),
    ///     base_bitmap: 1,
    ///     facts: vec![],
    /// };
    /// assert_eq!(members.consider(&newcomer), Ok(DroneId(1)));
    /// ```
    ///
    /// # Errors
    /// Why not: another job, size, version of a fact, or a rank that is taken or too large.
    pub fn consider(&mut self, newcomer: &Newcomer) -> Result<DroneId, String> {
        if let Some(why) = self.objection(newcomer) {
            self.refused(why.clone());
            return Err(why);
        }
        self.places[newcomer.rank as usize] = Some(Place {
            address: newcomer.address.clone(),
            base_bitmap: newcomer.base_bitmap,
        });
        self.departed.retain(|&rank| rank != newcomer.rank);
        Ok(DroneId(newcomer.rank))
    }

    /// Remembers a refusal for the report.
    ///
    /// ```
    /// use hivemind_protocol::Membership;
    /// let mut members = Membership::new(2, "job", &[], 0b10);
    /// members.refused("its version is another".into());
    /// let told = members.missing(std::time::Duration::from_secs(30));
    /// assert!(told.contains("its version is another"));
    /// ```
    pub fn refused(&mut self, why: String) {
        self.refused += 1;
        if self.refusals.len() < REMEMBERED_REFUSALS {
            self.refusals.push(why);
        }
    }

    /// Remembers that somebody called who does not know the job's key.
    ///
    /// ```
    /// use hivemind_protocol::Membership;
    /// let mut members = Membership::new(2, "job", &[], 0b10);
    /// members.stranger();
    /// let told = members.missing(std::time::Duration::from_secs(30));
    /// println!("{told}"); // says that somebody called who does not know the key
    /// # assert!(told.contains("key"));
    /// ```
    pub fn stranger(&mut self) {
        self.strangers += 1;
    }

    /// A drone that was here is gone before the hive ran; its place is free again.
    ///
    /// ```
    /// use hivemind_protocol::{DroneId, Membership};
    /// let mut members = Membership::new(1, "job", &[], 0b10);
    /// members.depart(DroneId(0));
    /// assert!(!members.is_complete());
    /// ```
    pub fn depart(&mut self, drone: DroneId) {
        self.places[drone.0 as usize] = None;
        self.departed.push(drone.0);
    }

    /// Whether all are here.
    ///
    /// ```
    /// use hivemind_protocol::Membership;
    /// let members = Membership::new(2, "job", &[], 0b10);
    /// assert!(!members.is_complete()); // drone 1 is not here yet
    /// ```
    pub fn is_complete(&self) -> bool {
        self.places.iter().all(Option::is_some)
    }

    /// Where each listens, by rank.
    ///
    /// ```
    /// use hivemind_protocol::Membership;
    /// let members = Membership::new(1, "job", &[], 0b10);
    /// assert_eq!(members.addresses().len(), 1);
    /// ```
    pub fn addresses(&self) -> Vec<String> {
        let address = |place: &Place| place.address.clone();
        self.places
            .iter()
            .map(|place| place.as_ref().map(address).unwrap_or_default())
            .collect()
    }

    /// The lowest base that is free on all.
    ///
    /// ```
    /// use hivemind_protocol::Membership;
    /// let members = Membership::new(1, "job", &[], 0b10);
    /// assert_eq!(members.base(), Ok(1)); // bit 1 is the lowest
    /// ```
    ///
    /// # Errors
    /// Why there is none.
    pub fn base(&self) -> Result<usize, String> {
        let mut common = u32::MAX;
        for (rank, place) in self.places.iter().enumerate() {
            let free = place.as_ref().map_or(0, |place| place.base_bitmap);
            if free == 0 {
                return Err(format!(
                    "drone {rank} has no room in its address space for the region at any of the addresses that drones \
                     agree on: make the region smaller, or lift its limit (ulimit -v)"
                ));
            }
            common &= free;
        }
        if common == 0 {
            return Err("no address for the region is free on all drones at once: run the same program on all, or make \
                        the region smaller"
                .to_owned());
        }
        Ok(common.trailing_zeros() as usize)
    }

    /// Who did not come in time.
    ///
    /// ```
    /// use hivemind_protocol::Membership;
    /// let members = Membership::new(2, "job", &[], 0b10);
    /// let told = members.missing(std::time::Duration::from_secs(30));
    /// assert!(told.contains("drone 1"));
    /// ```
    pub fn missing(&self, waited: Duration) -> String {
        let absent = self
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.is_none());
        let absent: Vec<u32> = absent.map(|(rank, _)| rank as u32).collect();
        let here = self.places.len() - absent.len();
        let mut sentence = format!(
            "{} never came within {waited:?} ({here} of {} are here)",
            name(&absent),
            self.places.len()
        );
        if let Some(gone) = absent.iter().find(|rank| self.departed.contains(rank)) {
            sentence += &format!("; drone {gone} came and went away again");
        }
        if self.refused > 0 {
            sentence += &format!(
                "; refused {} time(s): {}",
                self.refused,
                self.refusals.join("; ")
            );
        }
        if self.strangers > 0 {
            sentence += &format!(
                "; {} call(s) came from who does not know this job's key (see HIVEMIND_KEY_FILE)",
                self.strangers
            );
        }
        sentence +=
            ". Look at what the missing ones printed; HIVEMIND_START_TIMEOUT says how long to wait";
        sentence
    }

    fn objection(&self, newcomer: &Newcomer) -> Option<String> {
        let rank = newcomer.rank;
        if newcomer.job != self.job {
            return Some(format!(
                "drone {rank} belongs to job `{}`, drone 0 to job `{}`: it knocks at the wrong hive (see HIVEMIND_ROOT)",
                newcomer.job, self.job
            ));
        }
        let size = self.places.len();
        if newcomer.size as usize != size {
            return Some(format!(
                "drone {rank} was started for a hive of {}, drone 0 for one of {size}: give all the same HIVEMIND_SIZE",
                newcomer.size
            ));
        }
        let Some(place) = self.places.get(rank as usize) else {
            return Some(format!(
                "there is no drone {rank} in a hive of {size}: ranks go from 0 to {}",
                size - 1
            ));
        };
        if place.is_some() {
            return Some(format!(
                "drone {rank} is here already: two processes were started with HIVEMIND_RANK={rank}"
            ));
        }
        differing(rank, &newcomer.facts, &self.facts)
    }
}

/// The first fact in which a drone differs from drone 0.
fn differing(rank: u32, theirs: &[Fact], ours: &[Fact]) -> Option<String> {
    let value = |facts: &[Fact], name: &str| {
        let found = facts.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.clone())
    };
    let names = ours.iter().chain(theirs).map(|(name, _)| name);
    for name in names {
        let (its, own) = (value(theirs, name), value(ours, name));
        if its != own {
            return Some(difference(rank, name, its, own));
        }
    }
    None
}

/// A fact with this ending is a size, and is shown with its unit.
const IN_BYTES: &str = " in bytes";

fn difference(rank: u32, name: &str, its: Option<String>, own: Option<String>) -> String {
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let (its, own) = (known(its), known(own));
    match (name.strip_suffix(IN_BYTES), its.parse(), own.parse()) {
        (Some(noun), Ok(its), Ok(own)) => format!(
            "drone {rank} has a {noun} of {}, drone 0 of {}: give all drones the same",
            show_bytes(its),
            show_bytes(own)
        ),
        _ => format!(
            "the {name} of drone {rank} is {its}, that of drone 0 is {own}: give all drones the same"
        ),
    }
}

/// A size in the largest unit that divides it.
fn show_bytes(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let step = if bytes == 0 {
        0
    } else {
        (bytes.trailing_zeros() / 10).min(4)
    };
    format!("{} {}", bytes >> (10 * step), units[step as usize])
}

/// "drone 3", "drones 3, 5 and 7", "drones 1, 2 … and 60 others".
fn name(ranks: &[u32]) -> String {
    let words: Vec<String> = ranks
        .iter()
        .take(NAMED_MISSING)
        .map(u32::to_string)
        .collect();
    match words.as_slice() {
        [only] => format!("drone {only}"),
        many if ranks.len() > many.len() => {
            format!(
                "drones {} and {} others",
                many.join(", "),
                ranks.len() - many.len()
            )
        }
        [before @ .., last] => format!("drones {} and {last}", before.join(", ")),
        [] => "nobody".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn facts(region: u64) -> Vec<Fact> {
        vec![
            ("region in bytes".to_owned(), region.to_string()),
            ("engine".to_owned(), "x".to_owned()),
        ]
    }

    fn membership() -> Membership {
        Membership::new(4, "job", &facts(1 << 30), 0b1110)
    }

    fn hello(rank: u32) -> Newcomer {
        Newcomer {
            job: "job".to_owned(),
            rank,
            size: 4,
            address: format!("host:{rank}"),
            base_bitmap: 0b0110,
            facts: facts(1 << 30),
        }
    }

    fn refused(change: impl FnOnce(&mut Newcomer)) -> String {
        let mut membership = membership();
        membership.consider(&hello(1)).unwrap();
        let mut hello = hello(2);
        change(&mut hello);
        membership.consider(&hello).unwrap_err()
    }

    #[test]
    fn a_hive_is_complete_when_each_rank_came_once() {
        let mut membership = membership();
        for rank in [3, 1, 2] {
            assert!(!membership.is_complete());
            assert_eq!(membership.consider(&hello(rank)), Ok(DroneId(rank)));
        }
        assert!(membership.is_complete());
        assert_eq!(membership.addresses(), ["", "host:1", "host:2", "host:3"]);
        assert_eq!(membership.base(), Ok(1));
    }

    #[test]
    fn a_drone_that_went_away_may_come_again() {
        let mut membership = membership();
        membership.consider(&hello(2)).unwrap();
        membership.depart(DroneId(2));
        assert!(
            membership
                .missing(Duration::from_secs(1))
                .contains("drone 2 came and went away")
        );
        assert_eq!(membership.consider(&hello(2)), Ok(DroneId(2)));
    }

    #[test]
    fn each_refusal_says_who_differs_in_what() {
        for (sentence, expected) in [
            (
                refused(|hello| hello.job = "other".to_owned()),
                "drone 2 belongs to job `other`, drone 0 to job `job`",
            ),
            (
                refused(|hello| hello.size = 5),
                "drone 2 was started for a hive of 5, drone 0 for one of 4",
            ),
            (
                refused(|hello| hello.rank = 4),
                "there is no drone 4 in a hive of 4",
            ),
            (refused(|hello| hello.rank = 1), "drone 1 is here already"),
            (refused(|hello| hello.rank = 0), "drone 0 is here already"),
            (
                refused(|hello| hello.facts = facts(64 << 20)),
                "drone 2 has a region of 64 MiB, drone 0 of 1 GiB",
            ),
            (
                refused(|hello| hello.facts[1].1 = "y".to_owned()),
                "the engine of drone 2 is y, that of drone 0 is x",
            ),
            (
                refused(|hello| drop(hello.facts.pop())),
                "the engine of drone 2 is unknown, that of drone 0 is x",
            ),
            (
                refused(|hello| hello.facts.push(("new".to_owned(), "1".to_owned()))),
                "the new of drone 2 is 1, that of drone 0 is unknown",
            ),
        ] {
            assert!(sentence.starts_with(expected), "{sentence}");
        }
    }

    #[test]
    fn the_missing_are_named_with_what_was_refused() {
        let mut membership = membership();
        membership.consider(&hello(2)).unwrap();
        let sentence = membership.missing(Duration::from_secs(30));
        assert!(
            sentence.starts_with("drones 1 and 3 never came within 30s (2 of 4 are here)."),
            "{sentence}"
        );
        membership.consider(&hello(1)).unwrap();
        membership.refused("something".to_owned());
        let sentence = membership.missing(Duration::from_secs(30));
        assert!(sentence.starts_with(
            "drone 3 never came within 30s (3 of 4 are here); refused 1 time(s): something."
        ));
        membership.stranger();
        let sentence = membership.missing(Duration::from_secs(30));
        assert!(
            sentence.contains("; 1 call(s) came from who does not know this job's key"),
            "{sentence}"
        );
        let many = Membership::new(100, "job", &[], 1).missing(Duration::from_secs(1));
        assert!(
            many.starts_with("drones 1, 2, 3, 4, 5, 6, 7, 8 and 91 others never came"),
            "{many}"
        );
    }

    #[test]
    fn without_a_common_base_there_is_none() {
        let mut membership = Membership::new(3, "job", &facts(1 << 30), 0b011);
        for (rank, base_bitmap) in [(1, 0b110), (2, 0b101)] {
            let hello = Newcomer {
                size: 3,
                base_bitmap,
                ..hello(rank)
            };
            membership.consider(&hello).unwrap();
        }
        assert!(
            membership
                .base()
                .unwrap_err()
                .starts_with("no address for the region is free on all drones")
        );
        membership.depart(DroneId(2));
        membership
            .consider(&Newcomer {
                size: 3,
                base_bitmap: 0,
                ..hello(2)
            })
            .unwrap();
        assert!(
            membership
                .base()
                .unwrap_err()
                .starts_with("drone 2 has no room")
        );
    }
}
