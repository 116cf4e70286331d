//! Every scenario in tests/scenarios holds, with both kinds of write detection. Their language is described in
//! the simulator's `script`.

use std::collections::BTreeSet;
use std::path::Path;

fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scenarios")
        .join(name);
    let text = std::fs::read_to_string(&path).expect("the scenario can be read");
    if let Err(what) = hivemind_sim::scenario::run(&text) {
        panic!("{name}, {what}");
    }
}

macro_rules! scenarios {
    ($($test:ident: $file:literal,)*) => {
        $(
            #[test]
            fn $test() {
                check($file);
            }
        )*

        #[test]
        fn every_file_is_run() {
            let listed = [$($file),*];
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
            for entry in std::fs::read_dir(folder).expect("the folder can be read") {
                let name = entry.expect("an entry").file_name();
                let name = name.to_string_lossy();
                assert!(listed.contains(&name.as_ref()), "{name} is in no test");
            }
        }
    };
}

scenarios! {
    a_miss_of_one_writers_page_is_two_messages: "page-miss-one-writer.txt",
    a_miss_of_k_writers_page_is_2k_messages: "page-miss-many-writers.txt",
    a_lock_is_0_2_or_3_messages: "locks.txt",
    a_try_is_0_2_or_4_messages: "tries.txt",
    a_page_that_was_prefetched_costs_nothing_when_it_is_touched: "prefetch.txt",
    who_says_again_what_it_will_touch_is_believed: "prefetch-again.txt",
    who_says_so_in_vain_is_not_believed_for_ever: "prefetch-in-vain.txt",
    a_lock_that_two_want_all_the_time_is_1_message: "again.txt",
    a_token_goes_on_unopened_once: "again-unopened.txt",
    a_token_for_which_nobody_waits_leaves_a_barrier: "again-in-a-barrier.txt",
    who_is_merely_ahead_makes_no_try_fail: "again-tries.txt",
    who_sleeps_is_known_wherever_a_token_goes_unopened: "again-conditions.txt",
    who_sleeps_is_woken_by_who_holds_the_lock: "conditions.txt",
    a_barrier_is_two_messages_a_drone: "barrier.txt",
    nobody_passes_a_barrier_early: "barrier-nobody-early.txt",
    arrivals_combine_and_departures_fan_out: "barrier-in-a-line.txt",
    the_eighteenth_drone_arrives_at_the_second: "eighteen-drones.txt",
    a_call_for_a_collection_goes_down_the_tree: "collection-in-a-line.txt",
    a_lost_drone_in_a_tree_ends_every_wait: "lost-drone-in-a-tree.txt",
    a_page_used_alone_costs_nothing: "page-alone.txt",
    a_page_used_alone_moves_home: "page-alone-moves-home.txt",
    a_page_with_readers_stays_watched: "page-with-readers.txt",
    message_passing: "message-passing.txt",
    write_to_read_causality: "write-to-read-causality.txt",
    a_forwarded_grant_carries_all_notices: "forwarded-grant-two-locks.txt",
    independent_reads_of_independent_writes: "independent-reads-of-independent-writes.txt",
    two_and_two_writes_on_one_page: "two-and-two-writes.txt",
    neighbouring_bytes_stay_apart: "neighbouring-bytes.txt",
    a_silent_store_is_no_store_too_few: "silent-store.txt",
    a_store_that_is_taken_back_is_taken_back_everywhere: "taken-back.txt",
    a_token_leaves_a_drone_that_waits_in_a_barrier: "token-in-a-barrier.txt",
    a_store_that_was_cut_between_arrival_and_departure_is_told: "cut-between-arrival-and-departure.txt",
    a_store_between_arrival_and_departure_stays: "stored-between-arrival-and-departure.txt",
    a_page_may_contain_more_than_is_known: "page-contains-more-than-is-known.txt",
    a_thousand_drones_and_the_last_of_the_locks: "a-thousand-drones.txt",
    a_lost_drone_ends_every_wait: "lost-drone.txt",
    a_request_that_overtakes_a_forward_waits_its_turn: "request-overtakes-forward.txt",
    locks_whose_numbers_agree_in_part_are_different: "locks-far-apart.txt",
    a_diff_that_a_page_contains_does_not_apply_again: "covered-diff.txt",
    a_late_flush_is_not_taken_for_the_next: "late-flush.txt",
    three_hundred_intervals_in_one_epoch: "many-intervals.txt",
    a_page_that_is_fetched_again_is_pushed: "push.txt",
    a_page_that_is_touched_after_each_push_is_opened_as_it_comes: "push-opened.txt",
    what_only_its_home_wrote_goes_with_its_arrival: "push-with-the-arrival.txt",
    what_went_with_an_arrival_is_void_where_another_wrote_it: "push-void.txt",
    what_went_with_an_arrival_may_come_late: "push-that-comes-late.txt",
    who_has_arrived_goes_on_until_it_departs: "split-barrier.txt",
    a_page_keeps_its_home_at_a_split_barrier: "split-barrier-home-stays.txt",
    what_is_written_before_departing_is_told_at_the_next_barrier: "split-barrier-writes.txt",
    a_page_that_comes_under_a_running_program_waits_for_it: "split-push.txt",
    a_page_of_several_writers_is_pushed_from_home: "push-several-writers.txt",
    data_that_migrates_comes_with_the_lock: "migratory.txt",
    a_walk_upwards_takes_ever_longer_runs: "walk-upwards.txt",
    a_walk_downwards_takes_them_too: "walk-downwards.txt",
    what_was_walked_over_before_is_asked_for_at_once: "walk-known.txt",
    who_fills_fresh_pages_tells_of_those_alone: "fill-upwards.txt",
    who_fills_fresh_pages_tells_of_all_those: "fill-and-read.txt",
    what_nobody_filled_is_closed_unless_somebody_stored_there: "fill-and-stop.txt",
    what_the_epochs_end_opens_is_not_watched_again: "left.txt",
    what_is_left_while_pages_come_counts_once: "left-while-pages-come.txt",
    a_block_that_all_free_is_held_and_watched_by_none: "freed-together.txt",
    who_reads_a_page_of_each_row_asks_for_those_of_the_next_rows: "walk-in-strides.txt",
    who_reads_a_page_of_each_short_row_gets_whole_rows: "walk-in-short-strides.txt",
    who_takes_turns_at_pages_walks_over_those_that_it_has: "turns.txt",
    pages_that_several_write_are_opened_with_those_before_them: "walk-where-others-write.txt",
    pages_that_migrate_side_by_side_all_come_with_the_lock: "migratory-neighbours.txt",
    a_pushed_page_is_left_closed_now_and_then_whatever_is_opened_near_it: "push-near-home.txt",
    whole_pages_that_all_allocate_are_as_nobody_ever_wrote_them: "anew.txt",
    a_diff_that_comes_home_after_its_page_was_made_anew_goes_into_nothing: "anew-with-flush.txt",
    a_store_in_a_rhythm_is_expected: "rhythm.txt",
    a_rhythm_that_ends_is_forgotten: "rhythm-ends.txt",
    a_page_of_writers_in_a_row_comes_from_the_last: "page-miss-migratory.txt",
    a_lock_without_news_ends_no_interval: "lock-without-news.txt",
    a_call_to_the_heap_is_two_messages: "heap.txt",
    a_collection_is_three_messages_a_drone: "collection.txt",
    who_waits_in_a_meeting_asks_for_no_collection: "collection-not-from-a-meeting.txt",
}

/// A program that walks through the same pages in every epoch asks for no more of them one by one in a later one: where
/// a walk ended in the last epoch is no reason to end there in this.
#[test]
fn a_walk_that_is_walked_again_takes_no_more_messages_each_time() {
    // Until pages have found their home and pushes have begun; then two barriers, 320 pages that are pushed in runs, and two messages
    // for each run of the others.
    walk_again(|pages| pages, 132, 19);
}

#[test]
fn a_walk_downwards_that_is_walked_again_takes_no_more_messages_each_time() {
    walk_again(Iterator::rev, 166, 27);
}

/// 600 pages, nine epochs: so many messages in the first six, and in each later one.
#[track_caller]
fn walk_again<I: Iterator<Item = u32>>(
    order: fn(std::ops::Range<u32>) -> I,
    first_six: u32,
    each_later: u32,
) {
    const PAGES: u32 = 600;
    let mut text = format!("drones 2\npages {PAGES}\n");
    for epoch in 1..=9 {
        for page in 0..PAGES {
            text += &format!("d0: write p{page}+0 = {epoch}\n");
        }
        text += "all: barrier 0\nsettle\n";
        for page in order(0..PAGES) {
            text += &format!("expect d1 read p{page}+0 = {epoch}\n");
        }
        text += "all: barrier 0\nsettle\n";
        match epoch {
            6 => text += &format!("expect messages {first_six}\n"),
            7.. => text += &format!("expect messages {each_later}\n"),
            _ => {}
        }
    }
    if let Err(what) = hivemind_sim::scenario::run(&text) {
        panic!("{what}");
    }
}

/// Two drones that write the same forty pages: each home gets the other's diffs in pieces of sixteen pages, and every
/// byte is there. One message for all of them was once too long for a link.
#[test]
fn a_large_flush_comes_in_pieces() {
    const PAGES: u32 = 40;
    let mut text = format!("drones 2\npages {PAGES}\n");
    for page in 0..PAGES {
        text += &format!("d0: write p{page}+0 = 1\nd1: write p{page}+1 = 2\n");
    }
    // 24 of them live with drone 0 and 16 with drone 1: two pieces one way, one the other.
    text += "all: barrier 0\nsettle\n";
    text += "expect sends d1>d0 Arrive, d0>d1 Depart, d0>d1 Flush, d1>d0 Flush, d1>d0 Flush\n";
    for page in 0..PAGES {
        text += &format!("expect d0 read p{page}+0 = 1\nexpect d1 read p{page}+0 = 1\n");
        text += &format!("expect d0 read p{page}+1 = 2\nexpect d1 read p{page}+1 = 2\n");
    }
    if let Err(what) = hivemind_sim::scenario::run(&text) {
        panic!("{what}");
    }
}

/// The names of the rows of the table of costs in docs/PROTOCOL.md.
fn rows_of_the_table() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/PROTOCOL.md");
    let text = std::fs::read_to_string(path).expect("the protocol's document can be read");
    let section = text.split("## What it costs").nth(1).expect("the section");
    let table = section.split("## ").next().expect("its text");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let names = rows.filter_map(|row| row.split(" | ").next());
    names
        .filter(|name| !name.starts_with("| "))
        .map(str::to_owned)
        .collect()
}

/// The rows that scenarios hold, each by a line `# row: NAME` with an exact count of messages behind it.
fn rows_that_are_held() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut held = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a scenario");
        for part in text.split("# row: ").skip(1) {
            let (name, lines) = part.split_once('\n').expect("a scenario behind it");
            let mut lines = lines.lines();
            let counts = |line: &str| {
                ["expect messages", "expect sends"]
                    .iter()
                    .any(|what| line.starts_with(what))
            };
            assert!(
                lines.any(counts),
                "`{name}` is named and nothing is counted"
            );
            held.insert(name.trim().to_owned());
        }
    }
    held
}

#[test]
fn every_row_of_the_table_of_costs_is_held_by_a_scenario() {
    let rows = rows_of_the_table();
    assert!(rows.len() >= 11, "{rows:?}");
    assert_eq!(rows, rows_that_are_held());
}
