//! Which cores drones run on.

use crate::harness::{Ended, script};

const WHERE: &str = "sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status";

/// The processors of each drone, as the kernel writes them.
fn places(drones: u32, options: &[&str]) -> Vec<String> {
    let ended: Ended = script(drones, options, WHERE).run();
    assert_eq!(ended.status, Some(0), "{}", ended.error);
    let lines = ended.sorted().into_iter();
    lines
        .map(|line| line.rsplit("] ").next().unwrap_or(line).to_owned())
        .collect()
}

#[test]
fn each_drone_has_cores_of_its_own_unless_told_otherwise_or_there_are_too_few() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let everywhere = places(1, &[]);
    let unbound = places(2, &["--bind", "none"]);
    assert_eq!(unbound, [everywhere[0].clone(), everywhere[0].clone()]);
    let too_many = places(cores as u32 + 1, &[]);
    assert!(too_many.iter().all(|place| *place == everywhere[0]));
    let bound = places(2, &[]);
    if cores >= 2 {
        assert_ne!(bound[0], bound[1]);
        assert!(bound.iter().all(|place| *place != everywhere[0]));
    }
}
