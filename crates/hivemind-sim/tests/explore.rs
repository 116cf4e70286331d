//! Every order of events in the shipped small worlds finds nothing; and the search finds what is there.

use hivemind_sim::explore::{Detection, Path, SmallWorld, explore, tell};

/// Without optimisation only the nearest states of a world are gone through.
const STATES_MOST: u64 = if cfg!(debug_assertions) && !cfg!(hivemind_mutants) {
    60_000
} else {
    50_000_000
};

fn check(name: &str) {
    let worlds = SmallWorld::shipped();
    let worlds = worlds
        .iter()
        .filter(|world| world.name == name && !world.large);
    for world in worlds {
        let explored = explore(world, STATES_MOST).unwrap_or_else(|found| panic!("{found}"));
        println!("{name}, {}: {explored}", world.detection);
        if cfg!(debug_assertions) && explored.longest_path.is_none() {
            println!(
                "skipped: the rest of {name}, {}: it takes a release build",
                world.detection
            );
            continue;
        }
        assert!(
            explored.longest_path.is_some(),
            "{name} is too large: {explored}"
        );
        assert!(explored.finals > 0, "{name} never ends");
    }
}

macro_rules! worlds {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*

        #[test]
        fn every_world_is_run() {
            let listed = [$($name),*];
            for world in SmallWorld::shipped() {
                let listed = listed.contains(&world.name.as_str());
                assert!(listed || world.large, "{} is in no test", world.name);
            }
        }
    };
}

worlds! {
    one_lock: "one-lock",
    two_locks: "two-locks",
    causality: "causality",
    forwarding: "forwarding",
    a_token_in_a_barrier: "token-in-a-barrier",
    a_barrier_and_a_lock: "barrier-and-lock",
    false_sharing: "false-sharing",
    early_requests: "early-requests",
    one_home_asked_by_two: "one-home-asked-by-two",
    a_walk: "a-walk",
    pushed_pages: "pushed-pages",
    pushes_with_arrivals: "pushes-with-arrivals",
    pushes_with_split_arrivals: "pushes-with-split-arrivals",
    split_barriers: "split-barriers",
    split_barriers_in_a_line: "split-barriers-in-a-line",
    a_split_barrier_and_a_lock: "split-barrier-and-lock",
    a_split_barrier_and_pushes: "split-barrier-and-pushes",
    a_split_barrier_under_collections: "split-barrier-under-collections",
    split_pushes_under_collections: "split-pushes-under-collections",
    three_homes: "three-homes",
    leaving: "leaving",
    collections: "collections",
    a_collection_and_a_barrier: "collection-and-barrier",
    unnoticed_stores: "unnoticed-stores",
    stores_under_the_core: "stores-under-the-core",
    stores_under_a_collection: "stores-under-a-collection",
    stores_under_a_copy: "stores-under-a-copy",
    tries: "tries",
    tries_under_collections: "tries-under-collections",
    a_death_of_who_tries: "a-death-of-who-tries",
    a_hot_lock: "hot-lock",
    a_hot_lock_of_three: "hot-lock-of-three",
    a_hot_lock_and_tries: "hot-lock-and-tries",
    a_hot_lock_and_another: "hot-lock-and-two",
    a_hot_lock_and_a_barrier: "hot-lock-and-barrier",
    a_hot_lock_and_sleepers: "hot-lock-and-sleepers",
    a_hot_lock_under_collections: "hot-lock-under-collections",
    tries_for_a_hot_lock_under_collections: "hot-tries-under-collections",
    a_death_of_a_hot_lock: "a-death-of-a-hot-lock",
    prefetches: "prefetches",
    prefetches_under_collections: "prefetches-under-collections",
    a_signal: "a-signal",
    sleepers: "sleepers",
    sleepers_under_collections: "sleepers-under-collections",
    a_death_of_a_sleeper: "a-death-of-a-sleeper",
    a_death: "a-death",
    a_death_in_a_collection: "a-death-in-a-collection",
    barriers_in_a_line: "barriers-in-a-line",
    pushes_in_a_line: "pushes-in-a-line",
    leaving_a_line: "leaving-a-line",
    a_collection_in_a_line: "collection-in-a-line",
    a_death_in_a_line: "a-death-in-a-line",
    a_fetch_and_the_end_of_an_epoch: "fetch-and-the-end-of-an-epoch",
    stale_copies: "stale-copies",
}

fn world(text: &str) -> SmallWorld {
    let text = format!("drones 2\ndetection traps\n{text}");
    let mut worlds = SmallWorld::parse("written", &text).expect("a world");
    worlds.pop().expect("one kind of detection")
}

fn found(text: &str) -> (&'static str, usize) {
    let world = world(text);
    let found = explore(&world, STATES_MOST).expect_err("something is wrong");
    let told = tell(&world, &found.path).expect("the path can be gone");
    assert_eq!(told.finding.as_ref(), Some(&found.finding), "{found}");
    assert!(found.command.ends_with(&format!("--path {}", found.path)));
    (found.finding.rule, found.path.0.len())
}

#[test]
fn a_program_that_waits_for_ever_is_found() {
    // Both ask, and d1's wish comes to d0, which keeps the lock.
    let (rule, moves) = found("d0: lock 0\nd1: lock 0");
    assert_eq!((rule, moves), ("programs that never end", 3));
}

#[test]
fn a_race_is_found_in_the_order_in_which_it_shows() {
    let (rule, moves) = found("d0: write p0+0 = 1\nd1: lock 0; read p0+0 1; unlock 0");
    assert_eq!(rule, "the simulator's program races");
    assert!(moves >= 4, "two drones' faults and accesses: {moves}");
}

#[test]
fn a_result_that_depends_on_the_order_is_found() {
    let text =
        "d0: lock 0; add p0+0 1; unlock 0\nd1: lock 0; write p0+0 = 5; unlock 0\nresult p0+0 = 6";
    assert_eq!(found(text).0, "a result of its own");
    assert_eq!(
        found(&text.replace("= 6", "= 5")).0,
        "a result of its own",
        "nor is the other order's result that of all"
    );
}

#[test]
fn a_bound_that_is_hit_is_no_success() {
    let small = world("d0: lock 0; add p0+0 1; unlock 0\nd1: lock 0; add p0+0 1; unlock 0");
    let whole = explore(&small, u64::MAX).expect("nothing is wrong");
    assert!(whole.longest_path.is_some());
    let part = explore(&small, whole.states / 2).expect("nothing is wrong");
    assert_eq!(part.longest_path, None);
    assert!(part.to_string().contains("NOT COMPLETE"));
}

#[test]
fn a_search_is_the_same_each_time() {
    let worlds = SmallWorld::shipped();
    let world = worlds
        .iter()
        .find(|world| world.name == "forwarding" && world.detection == Detection::Mixed)
        .expect("a shipped world");
    assert_eq!(
        explore(world, STATES_MOST).expect("nothing is wrong"),
        explore(world, STATES_MOST).expect("nothing is wrong")
    );
}

#[test]
fn a_path_that_cannot_be_gone_says_where() {
    let world = world("d0: lock 0; unlock 0");
    let path: Path = "0,1-0".parse().expect("a path");
    let wrong = tell(&world, &path).expect_err("d1 sends nothing");
    assert!(wrong.contains("move 2"), "{wrong}");
}

#[test]
fn a_wrong_world_is_told_where_it_is_wrong() {
    for text in [
        "drones 4",
        "drones 2\nd2: lock 0",
        "drones 2\nd0: jump",
        "drones 2\npages",
    ] {
        assert!(SmallWorld::parse("wrong", text).is_err(), "{text}");
    }
    let wrong = SmallWorld::parse("wrong", "drones 2\nd0: jump").expect_err("no deed");
    assert!(wrong.contains("line 2"), "{wrong}");
}
