//! What an envelope costs: sealing and opening bodies of several sizes, in nanoseconds each (the quickest of many
//! rounds, cache warm).
//!
//! `cargo run --release -p hivemind-protocol --features std --example envelope_cost`; without the feature it shows
//! what a processor without carry-less multiplication pays.

#![forbid(unsafe_code)]

use hivemind_protocol::{DroneId, Opener, Sealer};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 200;
const BODIES: u32 = 1_000;

fn main() {
    println!("{:>10} {:>10} {:>10}", "bytes", "seal ns", "open ns");
    for bytes in [0, 16, 64, 512, 4096, 65_536] {
        let body = vec![0x5a; bytes];
        let (mut seal_ns, mut open_ns) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            let mut sealer = Sealer::new(DroneId(0), DroneId(1));
            let mut opener = Opener::new(DroneId(0), DroneId(1));
            let begun = Instant::now();
            let sealed: Vec<_> = (0..BODIES)
                .map(|_| sealer.seal(0, black_box(&body)))
                .collect();
            seal_ns = seal_ns.min(nanoseconds_each(begun));
            let begun = Instant::now();
            for envelope in sealed {
                let opened = opener.open(envelope, 0, black_box(&body));
                assert_eq!(opened, Ok(()));
            }
            open_ns = open_ns.min(nanoseconds_each(begun));
        }
        println!("{bytes:>10} {seal_ns:>10.0} {open_ns:>10.0}");
    }
}

fn nanoseconds_each(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(BODIES)
}
