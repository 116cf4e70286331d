//! Programs that try to catch the shared memory in a mistake. None has a data race, so each has exactly one
//! right result, and checks it. Those that write pages are in `pages`, those that live on locks in
//! `locks`, those that wait for one another in `waits`, lists and tables in `structures`, the heap in `heap`, barriers in two calls in `halves`, those that run for long and watch
//! their memory in `endurance`.

mod endurance;
mod halves;
mod heap;
mod locks;
mod pages;
mod structures;
mod waits;

use crate::program::{Console, Failure, parse_count, seconds, timed};
use clap::{Parser, ValueEnum};
use hivemind::Hive;
use std::fmt::Debug;
use std::time::Duration;

/// Torture for the shared memory: each program checks its own result and ends with 1 where it is wrong.
#[derive(Parser, Debug)]
#[command(name = "torture", version)]
pub struct Arguments {
    /// Which program to run
    #[arg(value_enum)]
    pub name: Name,
    /// How many rounds; each program has its own default
    #[arg(long, value_parser = parse_rounds)]
    pub rounds: Option<u64>,
    /// How long `silence` is silent, in seconds
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// All programs check themselves; the option is there because the others have it
    #[arg(long)]
    pub check: bool,
}

/// The torture programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Name {
    /// A counter under one lock, taken over and over
    Counter,
    /// Every drone writes its own bytes of the same pages between barriers
    Bytes,
    /// Four locks, each guarding slots of one page
    Slots,
    /// A linked list that all drones grow under one lock
    List,
    /// A hash table that all drones grow under many locks
    Table,
    /// Allocations and frees from every drone
    Heap,
    /// A lock passed round a ring of drones
    Ring,
    /// A bounded queue that drones fill, empty, and wait for
    Queue,
    /// A counter under a lock that is only ever tried for
    Tries,
    /// Words that are changed in single steps
    Words,
    /// A section for two drones at once, which an event opens
    Permits,
    /// Work that drone 0 has all drones do, and what it does alone between
    Forks,
    /// Two threads of each drone fault on the same pages
    Threads,
    /// Barriers in two calls, with work of every length in between
    Halves,
    /// Sums of floating-point numbers that must be the same to the last bit
    Sums,
    /// One drone says nothing for some seconds
    Silence,
    /// Very many barriers; memory must stay flat
    Barriers,
    /// Very many hand-overs of a lock; memory must stay flat
    Handoffs,
    /// Memory of many gibibytes, 64 MiB a round, of which each drone touches every page of its share
    Large,
    /// All but `large`, whose rounds fill a region, one after the other
    All,
}

/// Does what the command line says; collective.
pub fn run(arguments: &Arguments, hive: &mut Hive, console: &Console) -> Result<(), Failure> {
    let single = [arguments.name];
    let names = if arguments.name == Name::All {
        ALL.as_slice()
    } else {
        &single
    };
    for &name in names {
        let rounds = arguments.rounds.unwrap_or_else(|| default_rounds(name));
        let torture = Torture {
            name,
            rounds,
            silence: Duration::from_secs(arguments.seconds),
            console,
        };
        let (outcome, time) = timed(|| torture.run(hive));
        outcome?;
        let drones = hive.drones();
        let (name, time) = (torture.label(), seconds(time));
        console.answer(format_args!(
            "{name}: right (drones {drones}, rounds {rounds}, {time})"
        ));
    }
    Ok(())
}

/// All programs but `all` and `large`.
const ALL: [Name; 18] = [
    Name::Counter,
    Name::Bytes,
    Name::Slots,
    Name::List,
    Name::Table,
    Name::Heap,
    Name::Ring,
    Name::Queue,
    Name::Tries,
    Name::Words,
    Name::Permits,
    Name::Forks,
    Name::Threads,
    Name::Halves,
    Name::Sums,
    Name::Silence,
    Name::Barriers,
    Name::Handoffs,
];

/// Enough to hit what goes wrong one time in thousands, and done in about a second.
fn default_rounds(name: Name) -> u64 {
    match name {
        Name::Counter | Name::Slots | Name::Handoffs => 2000,
        Name::Bytes | Name::Ring | Name::Permits | Name::Forks => 100,
        Name::List | Name::Tries | Name::Words => 300,
        Name::Table | Name::Queue => 500,
        Name::Heap | Name::Barriers => 1000,
        Name::Halves => 400,
        Name::Threads | Name::Sums => 50,
        Name::Large => 4,
        Name::Silence | Name::All => 1,
    }
}

/// One torture program on its way.
struct Torture<'a> {
    name: Name,
    rounds: u64,
    silence: Duration,
    console: &'a Console,
}

impl Torture<'_> {
    fn run(&self, hive: &mut Hive) -> Result<(), Failure> {
        match self.name {
            Name::Counter => locks::counter(self, hive),
            Name::Bytes => pages::bytes(self, hive),
            Name::Slots => locks::slots(self, hive),
            Name::List => structures::list(self, hive),
            Name::Table => structures::table(self, hive),
            Name::Heap => heap::heap(self, hive),
            Name::Ring => locks::ring(self, hive),
            Name::Queue => waits::queue(self, hive),
            Name::Tries => waits::tries(self, hive),
            Name::Words => waits::words(self, hive),
            Name::Permits => waits::permits(self, hive),
            Name::Forks => waits::forks(self, hive),
            Name::Threads => pages::threads(self, hive),
            Name::Halves => halves::halves(self, hive),
            Name::Sums => pages::sums(self, hive),
            Name::Silence => endurance::silence(self, hive),
            Name::Barriers => endurance::barriers(self, hive),
            Name::Handoffs => endurance::handoffs(self, hive),
            Name::Large => endurance::large(self, hive),
            Name::All => Ok(()),
        }
    }

    fn label(&self) -> String {
        format!("{:?}", self.name).to_lowercase()
    }

    /// Right where `found` is `expected`; otherwise the sentence that the drone ends with.
    fn expect<T: PartialEq + Debug>(
        &self,
        hive: &Hive,
        what: &str,
        found: T,
        expected: T,
    ) -> Result<(), Failure> {
        if found == expected {
            return Ok(());
        }
        let name = self.label();
        let me = hive.me();
        Err(Failure::WrongHere(format!(
            "{name}: drone {me} found {what} to be {found:?} and not {expected:?}"
        )))
    }
}

fn parse_rounds(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        0 => Err("at least 1 round is needed".to_owned()),
        rounds if rounds > MOST_ROUNDS => Err(format!("at most {MOST_ROUNDS} rounds")),
        rounds => Ok(rounds),
    }
}

/// So many that a product with the number of drones still fits easily.
const MOST_ROUNDS: u64 = 1 << 40;
