//! Every order of events in small worlds, with the shipped core and the simulator's memory.
//!
//! A [`SmallWorld`] is a few lines of text: what the programs of up to three drones do. [`explore`] goes
//! through every state that can be reached by any order of: the message at the head of each link arriving,
//! each program's next call, store or fault, and where the world allows it a drone's death, or a store in the
//! middle of what the core does. In each state the oracle judges what was loaded, who holds which lock and who
//! comes out of a meeting; the memory, what the core did to pages; at each end, that all programs are over
//! and the bytes are what they should be. What is wrong comes back with a shortest path to it, and [`tell`]
//! goes a path again and says what happens on it.
//!
//! What is left out, and why nothing is lost by it:
//!
//! - *Counts and times.* Two cores are equal when the same events make them do the same (`Core`'s equality
//!   leaves out what is only counted). Tickets are numbered by the deed that waits, not by a counter: the core
//!   only hands them back.
//! - *When a load is made.* A load that needs no fault is made at once, not as a move of its own: the bytes
//!   of a valid page do not change and the page stays valid until the program's next acquire (INV-1, INV-6),
//!   which the memory checks in every state, so nothing that happens in between can make a difference to it;
//!   nor can it to anything else.
//! - *Deaths that lose nothing.* See `Tables::kill`.
//!
//! Deliberately elsewhere: large worlds, times, two threads in a drone, the heap, links that break their
//! contract; those are drawn by seeds (`plan`, `run`).

mod moves;
mod search;
mod seat;
mod tables;
mod world;

pub use moves::{Move, Path};
pub use search::{Counterexample, Explored, Told, explore, tell};
pub use world::{Detection, SmallWorld};

macro_rules! shipped {
    ($($name:literal,)*) => {
        /// The worlds that are shipped, by name.
        const SHIPPED: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../worlds/", $name, ".txt"))),)*
        ];
    };
}

shipped! {
    "one-lock",
    "two-locks",
    "causality",
    "forwarding",
    "token-in-a-barrier",
    "barrier-and-lock",
    "false-sharing",
    "early-requests",
    "one-home-asked-by-two",
    "a-walk",
    "pushed-pages",
    "pushes-with-arrivals",
    "pushes-with-split-arrivals",
    "split-barriers",
    "split-barriers-in-a-line",
    "split-barrier-and-lock",
    "split-barrier-and-pushes",
    "split-barrier-under-collections",
    "split-pushes-under-collections",
    "three-homes",
    "leaving",
    "collections",
    "collection-and-barrier",
    "unnoticed-stores",
    "stores-under-the-core",
    "stores-under-a-collection",
    "stores-under-a-copy",
    "tries",
    "tries-under-collections",
    "a-death-of-who-tries",
    "hot-lock",
    "hot-lock-of-three",
    "hot-lock-and-tries",
    "hot-lock-and-two",
    "hot-lock-and-barrier",
    "hot-lock-and-sleepers",
    "hot-lock-under-collections",
    "hot-tries-under-collections",
    "a-death-of-a-hot-lock",
    "prefetches",
    "prefetches-under-collections",
    "a-signal",
    "sleepers",
    "sleepers-under-collections",
    "a-death-of-a-sleeper",
    "a-death",
    "a-death-in-a-collection",
    "barriers-in-a-line",
    "pushes-in-a-line",
    "leaving-a-line",
    "collection-in-a-line",
    "a-death-in-a-line",
    "fetch-and-the-end-of-an-epoch",
    "three-fetches-and-the-end-of-an-epoch",
    "stale-copies",
    "three-stale-copies",
    "a-death-of-stale-copies",
    "stores-under-stale-copies",
}
