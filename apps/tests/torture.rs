//! The torture programs are right on every number of drones under every fault engine, as often as
//! `HIVEMIND_TEST_ROUNDS` says (once by default). What they do is in `src/torture`.

mod hive;

use hive::{User, engines, run, run_as, run_with, torture_rounds, users};

#[track_caller]
fn check(name: &str, arguments: &[&str]) {
    let arguments = [&[name], arguments].concat();
    for round in 0..torture_rounds() {
        for drones in [2, 3, 4, 8] {
            for engine in engines() {
                let ended = run(drones, engine, "torture", &arguments).right();
                assert!(
                    ended.out.contains(&format!("{name}: right")),
                    "round {round}: {ended}"
                );
                assert_eq!(ended.err, "", "round {round}: {ended}");
            }
        }
    }
}

#[test]
fn a_counter_under_one_lock_loses_no_count() {
    check("counter", &["--rounds", "500"]);
}

#[test]
fn bytes_of_the_same_pages_keep_what_each_drone_wrote() {
    check("bytes", &["--rounds", "30"]);
}

#[test]
fn slots_of_one_page_under_four_locks_keep_their_values() {
    check("slots", &["--rounds", "500"]);
}

#[test]
fn a_list_grown_by_all_drones_has_every_cell_once() {
    check("list", &["--rounds", "150"]);
}

#[test]
fn a_table_grown_by_all_drones_has_every_key_once() {
    check("table", &["--rounds", "200"]);
}

#[test]
fn blocks_of_the_heap_belong_to_one_drone_each() {
    check("heap", &["--rounds", "1000"]);
}

#[test]
fn what_was_written_before_an_arrival_is_there_after_the_departure_however_long_others_compute() {
    check("halves", &["--rounds", "300"]);
}

#[test]
fn much_memory_keeps_its_words_and_costs_the_protocol_little() {
    check("large", &["--rounds", "8"]);
}

#[test]
fn a_lock_goes_round_a_ring_and_takes_its_pages_along() {
    check("ring", &["--rounds", "30"]);
}

#[test]
fn what_goes_into_a_queue_comes_out_once() {
    check("queue", &["--rounds", "200"]);
}

#[test]
fn a_lock_that_is_tried_for_is_had_by_one_at_a_time() {
    check("tries", &["--rounds", "50"]);
}

#[test]
fn words_are_changed_in_single_steps() {
    check("words", &["--rounds", "50"]);
}

#[test]
fn no_more_drones_are_in_a_section_than_it_has_permits() {
    check("permits", &["--rounds", "20"]);
}

#[test]
fn all_drones_do_what_the_first_gives_them_and_nothing_else() {
    check("forks", &["--rounds", "20"]);
}

#[test]
fn two_threads_of_a_drone_may_fault_on_one_page() {
    check("threads", &["--rounds", "20"]);
}

#[test]
fn sums_have_the_same_bits_in_every_run() {
    check("sums", &["--rounds", "50"]);
}

#[test]
fn a_silent_drone_harms_nothing() {
    for engine in engines() {
        run(3, engine, "torture", &["silence", "--seconds", "2"]).right();
    }
}

#[test]
fn many_barriers_hold_their_memory_flat() {
    for engine in engines() {
        run(2, engine, "torture", &["barriers", "--rounds", "20000"]).right();
    }
    run(8, "auto", "torture", &["barriers", "--rounds", "500"]).right();
}

#[test]
fn many_hand_overs_of_a_lock_hold_their_memory_flat() {
    // So little room for bookkeeping that it must be tidied up many times.
    let options = ["--metadata-limit", "256K"];
    let arguments = ["handoffs", "--rounds", "20000"];
    for engine in engines() {
        run_with(User::Own, &options, 2, engine, "torture", &arguments).right();
    }
    run(8, "auto", "torture", &["handoffs", "--rounds", "500"]).right();
}

#[test]
fn barriers_and_collections_through_a_deep_tree_are_right() {
    for (drones, fan_out) in [(4, "1"), (8, "2")] {
        for engine in engines() {
            let options = ["--fan-out", fan_out, "--metadata-limit", "64K"];
            let arguments = ["all", "--rounds", "20", "--seconds", "0"];
            run_with(User::Own, &options, drones, engine, "torture", &arguments).right();
        }
    }
}

#[test]
fn torture_is_right_for_an_ordinary_user_too() {
    for user in users() {
        for engine in engines() {
            run_as(
                user,
                3,
                engine,
                "torture",
                &["all", "--rounds", "20", "--seconds", "0"],
            )
            .right();
        }
    }
}
