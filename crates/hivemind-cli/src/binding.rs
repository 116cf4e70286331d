//! Which cores of its machine a drone is bound to: each to its share, so that none of its threads goes where another drone computes.
//!
//! Deliberately elsewhere: who asks for it (`options`), and the last step before the program, which binds itself (`drone`).

use std::fmt;
use std::fs;
use std::str::FromStr;
use std::sync::OnceLock;
use std::thread::available_parallelism;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The word for no binding.
const NONE: &str = "-";

/// The processors of one drone; none in it: it runs wherever the job may.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Binding(Vec<usize>);

/// A processor of the kernel's: a core, or one of the threads of a core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Processor {
    package: u64,
    core: u64,
    number: usize,
}

impl Binding {
    /// The share of the drone at this place among so many of this machine. Nothing where there are fewer processors than drones (a
    /// control group may give time for fewer than there are), or only one drone.
    pub(crate) fn share(place: usize, drones: usize) -> Self {
        static PROCESSORS: OnceLock<Vec<Processor>> = OnceLock::new();
        if drones < 2 || available_parallelism().map_or(1, usize::from) < drones {
            return Self::default();
        }
        Self::of(PROCESSORS.get_or_init(allowed), place, drones)
    }

    /// Of these in order, where those of one core lie together, and neighbouring cores, which mostly share a cache. Whole cores where
    /// there is one for each drone.
    fn of(processors: &[Processor], place: usize, drones: usize) -> Self {
        let core = |one: &Processor, other: &Processor| one.place() == other.place();
        let cores: Vec<&[Processor]> = processors.chunk_by(core).collect();
        let part = |count: usize| count * place / drones..count * (place + 1) / drones;
        let share = match cores.len() < drones {
            true => processors[part(processors.len())].to_vec(),
            false => cores[part(cores.len())].concat(),
        };
        Self(share.iter().map(|processor| processor.number).collect())
    }

    /// Binds this thread, and what it starts from now on. A kernel that refuses leaves the drone as it was, which is slower at worst.
    pub(crate) fn bind(&self) {
        let mut set = CpuSet::new();
        self.0.iter().for_each(|number| set.set(*number));
        if !self.0.is_empty() {
            let _ = sched_setaffinity(None, &set);
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NONE);
        }
        let numbers: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

impl FromStr for Binding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == NONE {
            return Ok(Self::default());
        }
        let number = |word: &str| match word.parse() {
            Ok(number) if number < CpuSet::MAX_CPU => Ok(number),
            _ => Err(format!("`{word}` is no processor")),
        };
        text.split(',')
            .map(number)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// The processors on which this thread may run, in the order of their places.
fn allowed() -> Vec<Processor> {
    let Ok(set) = sched_getaffinity(None) else {
        return Vec::new();
    };
    let numbers = (0..CpuSet::MAX_CPU).filter(|number| set.is_set(*number));
    let mut processors: Vec<Processor> = numbers.map(Processor::of_number).collect();
    processors.sort_unstable();
    processors
}

impl Processor {
    /// Which core it is, or is a thread of.
    fn place(&self) -> (u64, u64) {
        (self.package, self.core)
    }

    /// Where the system does not tell, each is a core of its own.
    fn of_number(number: usize) -> Self {
        let read = |name: &str| {
            let path = format!("/sys/devices/system/cpu/cpu{number}/topology/{name}");
            fs::read_to_string(path).ok()?.trim().parse().ok()
        };
        Self {
            package: read("physical_package_id").unwrap_or(0),
            core: read("core_id").unwrap_or(number as u64),
            number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two packages of two cores with two threads each, numbered as Linux mostly does.
    fn machine() -> Vec<Processor> {
        let of = |number: usize| Processor {
            package: number as u64 / 2 % 2,
            core: number as u64 % 2,
            number,
        };
        let mut processors: Vec<Processor> = (0..8).map(of).collect();
        processors.sort_unstable();
        processors
    }

    fn shares(drones: usize) -> Vec<Vec<usize>> {
        let share = |place| Binding::of(&machine(), place, drones).0;
        (0..drones).map(share).collect()
    }

    #[test]
    fn threads_of_a_core_stay_together_as_long_as_there_are_cores() {
        assert_eq!(shares(2), [vec![0, 4, 1, 5], vec![2, 6, 3, 7]]);
        assert_eq!(shares(4), [[0, 4], [1, 5], [2, 6], [3, 7]]);
        assert_eq!(shares(8).concat(), [0, 4, 1, 5, 2, 6, 3, 7]);
    }

    #[test]
    fn every_processor_is_somebodys_where_they_do_not_come_out_even() {
        assert_eq!(shares(3), [vec![0, 4], vec![1, 5], vec![2, 6, 3, 7]]);
        let five = shares(5);
        let lengths: Vec<usize> = five.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 2, 1, 2, 2]);
        assert_eq!(five.concat(), [0, 4, 1, 5, 2, 6, 3, 7]);
    }

    #[test]
    fn a_drone_alone_and_drones_without_enough_processors_are_bound_to_none() {
        let processors = allowed().len();
        assert_eq!(Binding::share(0, 1), Binding::default());
        assert_eq!(Binding::share(0, processors + 1), Binding::default());
    }

    #[test]
    fn a_binding_is_read_as_it_is_written() {
        for numbers in [vec![], vec![3], vec![0, 64, 5]] {
            let binding = Binding(numbers);
            assert_eq!(binding.to_string().parse(), Ok(binding));
        }
        for wrong in ["", "x", "1,", "-1", "1025"] {
            assert!(wrong.parse::<Binding>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_is_bound_sees_its_processors_alone() {
        let last = allowed().last().expect("this runs somewhere").number;
        std::thread::spawn(move || {
            Binding(vec![last]).bind();
            let seen: Vec<usize> = allowed().iter().map(|processor| processor.number).collect();
            assert_eq!(seen, [last]);
            Binding::default().bind();
            assert_eq!(allowed().len(), 1, "no binding changes nothing");
        })
        .join()
        .unwrap();
    }
}
