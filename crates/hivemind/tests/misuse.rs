//! What a program is told when it does something wrong, on real drones. The mistakes are in
//! `examples/misuse.rs`, which cargo builds for these tests.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// What each drone printed, in order, and whether it ended well.
struct Told {
    text: Vec<String>,
    well: Vec<bool>,
}

fn misuse() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("tests lie in target/PROFILE/deps");
    profile.join("examples/misuse")
}

/// Where these drones make a key of their own: nobody names one to them.
fn settings() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("settings")
}

/// Runs the mistake on `drones` drones, without the launcher.
fn run(mistake: &str, drones: u32) -> Told {
    let place = std::env::temp_dir().join(format!(
        "hivemind-misuse-{}-{mistake}-{drones}",
        std::process::id()
    ));
    let spawn = |rank: u32| -> Child {
        let mut command = Command::new(misuse());
        command.arg(mistake).env("HIVEMIND_RANK", rank.to_string());
        command
            .env("HIVEMIND_SIZE", drones.to_string())
            .env("HIVEMIND_JOB", mistake);
        command.env("HIVEMIND_ROOT", format!("file:{}", place.display()));
        command
            .env("HIVEMIND_LOCAL_DRONES", drones.to_string())
            .env("HIVEMIND_WAIT_LIMIT", "60");
        command
            .env("XDG_CONFIG_HOME", settings())
            .env_remove("HIVEMIND_KEY_FILE")
            .env_remove("HIVEMIND_REPORT")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .spawn()
            .expect("`cargo test -p hivemind-dsm` builds the example before it runs this test")
    };
    let children: Vec<Child> = (0..drones).map(spawn).collect();
    let outputs: Vec<Output> = children
        .into_iter()
        .map(|child| child.wait_with_output().expect("a child can be waited for"))
        .collect();
    let _ = std::fs::remove_file(place);
    let text = |output: &Output| {
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        out + &String::from_utf8_lossy(&output.stderr)
    };
    Told {
        text: outputs.iter().map(text).collect(),
        well: outputs
            .iter()
            .map(|output| output.status.success())
            .collect(),
    }
}

impl Told {
    #[track_caller]
    fn says(&self, drone: usize, sentence: &str) -> &Self {
        let text = &self.text[drone];
        assert!(
            text.contains(sentence),
            "drone {drone} does not say {sentence:?} but:\n{text}"
        );
        self
    }

    #[track_caller]
    fn all_end(&self, well: bool) {
        assert!(
            self.well.iter().all(|end| *end == well),
            "{:?}:\n{}",
            self.well,
            self.text.join("\n")
        );
    }
}

#[test]
fn wrong_locks_are_refused_and_the_hive_goes_on() {
    for drones in [1, 3] {
        let told = run("lock", drones);
        for drone in 0..drones as usize {
            told.says(drone, "release: drone")
                .says(drone, "lock 4 is not held by this drone");
            told.says(drone, "twice: ")
                .says(drone, "lock 5 is held by this drone already");
            told.says(drone, "lock 5 is still held at barrier 9");
            told.says(drone, "lock 5 is still held at an allocation of 1 bytes");
        }
        if drones == 1 {
            told.says(0, "lock 7 is still held at its end (leave)")
                .all_end(false);
        } else {
            told.all_end(true);
        }
    }
}

#[test]
fn bytes_beyond_the_region_are_out_of_bounds() {
    let told = run("bytes", 2);
    for drone in 0..2 {
        told.says(
            drone,
            "far: 1 bytes at address 1125899906842624 are out of bounds",
        );
        told.says(drone, "edge: 8 bytes")
            .says(drone, "huge: ")
            .says(drone, "wrap: 3 bytes")
            .says(drone, "float: 8 bytes");
        told.says(drone, "the region has 1073741824 bytes");
    }
    told.all_end(true);
}

#[test]
fn double_frees_and_too_large_blocks_are_refused() {
    let told = run("memory", 2);
    for drone in 0..2 {
        told.says(drone, "inside: ")
            .says(drone, "is not the start of an allocated block");
        told.says(drone, "again: ")
            .says(drone, "read: 1 bytes at address");
        told.says(drone, "were freed")
            .says(drone, "insufficient shared memory: 2147483648 bytes");
        told.says(drone, "much for all: ")
            .says(drone, "the largest free block has 107");
    }
    told.all_end(true);
}

#[test]
fn between_arriving_and_departing_calls_that_wait_are_refused() {
    for drones in [1, 3] {
        let told = run("between", drones);
        for drone in 0..drones as usize {
            let (early, between) = (
                "at which it has not arrived",
                "no collective call in between",
            );
            told.says(drone, &format!("depart first: drone {drone}"))
                .says(drone, early);
            for call in ["lock", "barrier", "arrive"] {
                told.says(drone, &format!("{call} between: "));
            }
            told.says(drone, between).says(drone, "depart twice: ");
        }
        told.all_end(true);
    }
}

#[test]
fn drones_that_differ_are_told_who_did_what() {
    let told = run("halves", 2);
    for drone in 0..2 {
        told.says(
            drone,
            "drone 0 is at barrier 0 in two calls while drone 1 is at barrier 0",
        );
    }
    told.all_end(true);
    let told = run("barriers", 3);
    for drone in 0..3 {
        told.says(
            drone,
            "drone 0 is at barrier 1 while drone 1 is at barrier 2",
        );
    }
    told.all_end(true);
    let told = run("allocations", 2);
    for drone in 0..2 {
        told.says(
            drone,
            "drone 0 is at an allocation of 80 bytes aligned to 8",
        );
        told.says(
            drone,
            "while drone 1 is at an allocation of 160 bytes aligned to 8",
        );
    }
    told.all_end(true);
    run("ends", 2)
        .says(0, "drone 1 is at a reduction of 4 bytes")
        .all_end(true);
}

#[test]
fn a_drone_that_goes_without_leave_is_named_with_what_the_others_were_doing() {
    for (mistake, doing) in [
        ("gone-barrier", "at barrier 0"),
        ("gone-lock", "for lock 1"),
        ("gone-sleeper", "for condition 3 of lock 2"),
    ] {
        let told = run(mistake, 2);
        told.says(0, "now: drone 1 was lost");
        told.says(0, &format!("while drone 0 was waiting {doing}"));
        told.says(0, "later: drone 1 was lost")
            .says(0, "while drone 0 was allocating 10 bytes");
        told.all_end(true);
    }
}

#[test]
fn who_is_alone_may_not_sleep() {
    let told = run("alone", 1);
    for wait in ["event: ", "wait: "] {
        told.says(0, wait);
    }
    told.says(0, "nobody could wake it from a wait under lock 1")
        .all_end(true);
}

#[test]
fn a_place_that_leads_nowhere_panics_with_the_reason() {
    run("freed", 1)
        .says(0, "a Ptr leads nowhere: 4 bytes at address")
        .all_end(false);
    run("null", 1)
        .says(0, "a null Ptr was followed")
        .all_end(false);
}

#[test]
fn whoever_has_synchronised_with_the_end_of_a_value_is_told_of_it() {
    for drones in [2, 3] {
        let told = run("gone-value", drones);
        for drone in 0..drones as usize {
            told.says(drone, "after the lock: 4 bytes at address")
                .says(drone, "after the barrier: 4 bytes at address")
                .says(drone, "were freed: allocate again, or free later");
            told.says(drone, "the address came back")
                .says(drone, "of another: the 4 bytes at address")
                .says(drone, "are not the value that this place was given for");
            told.says(drone, "a Ptr leads nowhere: ");
        }
        told.all_end(true);
    }
}

#[test]
fn a_process_joins_once() {
    run("twice", 1).says(0, "twice: refused").all_end(true);
}
