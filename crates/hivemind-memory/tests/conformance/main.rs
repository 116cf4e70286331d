//! One suite for all fault engines: each body runs once an engine. An engine that this machine lacks is reported as
//! skipped. `bodies` looks at pages in this process, `fresh` at those that are filled for the first time, `scattered` at those that lie apart; `children` at what
//! ends a process, so it starts some.
//!
//! An engine more is a line in `suite!`'s list of engines.

mod bodies;
mod children;
mod costs;
mod fixture;
mod fresh;
mod scattered;

use fixture::Case;
use hivemind_memory::EngineKind;

macro_rules! suite {
    ($($place:ident: $($name:ident),+ ;)+) => {
        suite!(@engine uffd, EngineKind::Uffd, $($($place $name)+)+);
        suite!(@engine uffd_sync, EngineKind::UffdSync, $($($place $name)+)+);
        suite!(@engine guard, EngineKind::Guard, $($($place $name)+)+);
        suite!(@engine mprotect, EngineKind::Mprotect, $($($place $name)+)+);
    };
    (@engine $module:ident, $kind:expr, $($place:ident $name:ident)+) => {
        mod $module {
            use super::*;
            $(
                #[test]
                fn $name() {
                    Case::run($kind, concat!(stringify!($module), "::", stringify!($name)), $place::$name);
                }
            )+
        }
    };
}

suite! {
    fresh:
        pages_opened_for_stores_take_no_fault_and_are_told_of_once,
        valid_pages_opened_for_stores_keep_their_bytes,
        stores_to_valid_pages_opened_for_them_take_no_fault_in_the_kernel,
        stores_to_pages_of_one_drone_alone_take_no_fault_in_the_kernel,
        pages_that_are_left_are_found_once_more_and_the_others_as_ever,
        stores_to_pages_that_were_left_and_opened_take_no_fault_in_the_kernel,
        what_is_cleared_is_zero_and_filled_as_at_the_start,
        a_page_that_comes_as_a_whole_is_seen_each_time,
        what_is_filled_in_order_is_whole_and_all_else_is_untouched,
        stores_are_found_where_a_large_page_was_taken_apart,
        who_comes_where_another_thread_is_about_to_fill_loses_no_store;
    bodies:
        a_first_access_faults_with_its_page_and_kind,
        a_read_modify_write_is_a_write_and_an_access_across_pages_faults_on_both,
        a_write_after_a_read_is_noticed,
        written_pages_are_reported_exactly_and_once,
        a_store_that_the_core_saw_is_reported_though_it_is_taken_back,
        a_store_by_the_kernel_is_reported,
        a_store_before_the_scan_outlives_the_invalidation,
        invalidation_forgets_the_write_but_no_byte,
        what_the_core_writes_is_what_the_program_reads,
        an_untouched_page_is_zero_for_the_program_and_the_core,
        runs_of_pages_change_together_and_again_without_harm,
        two_threads_on_one_page_both_get_through,
        eight_threads_lose_no_store_to_invalidations,
        stores_to_read_write_pages_concern_no_scan,
        no_store_is_missed_by_scans_that_run_beside_it,
        errno_survives_a_fault,
        a_fault_is_handled_on_the_threads_own_stack,
        a_thread_without_an_alternate_stack_is_served,
        a_handler_on_the_alternate_stack_is_served,
        a_system_call_is_refused_until_the_page_is_touched,
        two_regions_have_their_own_handlers,
        a_terabyte_costs_nothing_until_it_is_touched,
        a_taken_base_is_said_and_becomes_free_again,
        a_write_into_a_visible_page_breaks_an_invariant,
        a_page_beyond_the_region_breaks_an_invariant,
        a_second_handler_is_refused;
    scattered:
        stores_are_found_exactly_among_pages_of_all_kinds,
        pages_between_those_that_are_watched_stay_as_they_are;
    costs:
        a_fault_waits_for_no_other;
    children:
        a_foreign_segv_kills_as_if_we_were_not_there,
        a_foreign_bus_error_kills_as_if_we_were_not_there,
        a_signal_sent_by_kill_kills_as_if_we_were_not_there,
        an_ignored_signal_stays_ignored,
        an_ignored_fault_kills_all_the_same,
        the_programs_own_handler_gets_its_faults,
        the_programs_own_handler_of_bad_addresses_gets_its_faults,
        a_one_shot_handler_of_the_program_runs_once,
        executing_the_region_kills,
        a_stack_overflow_is_said,
        a_panic_in_the_handler_ends_the_process,
        a_fault_after_the_guard_is_gone_kills,
        a_view_that_outlives_its_region_kills,
        a_region_that_is_gone_kills_though_its_handler_is_there,
        a_forked_child_has_no_region_and_harms_none,
        a_forked_child_may_make_its_own_region,
        nothing_is_left_after_a_drop,
        an_ordinary_user_is_served,
        a_limit_on_address_space_is_said,
        a_limit_on_file_size_is_said_and_does_not_kill;
}

#[test]
fn auto_falls_back_with_a_sentence_where_a_filter_refuses_userfaultfd() {
    Case::run(
        EngineKind::Guard,
        "auto_falls_back_with_a_sentence_where_a_filter_refuses_userfaultfd",
        children::seccomp_refuses_userfaultfd,
    );
}

#[test]
fn auto_falls_back_with_a_sentence_where_page_tables_cannot_be_scanned() {
    Case::run(
        EngineKind::UffdSync,
        "auto_falls_back_with_a_sentence_where_page_tables_cannot_be_scanned",
        children::seccomp_refuses_scans,
    );
}

#[test]
fn scattered_pages_need_no_mappings() {
    for engine in [EngineKind::Uffd, EngineKind::UffdSync, EngineKind::Guard] {
        Case::run(
            engine,
            "scattered_pages_need_no_mappings",
            costs::scattered_pages_need_no_mappings,
        );
    }
}

#[test]
fn pages_near_each_other_are_looked_at_together() {
    Case::run(
        EngineKind::Uffd,
        "pages_near_each_other_are_looked_at_together",
        scattered::pages_near_each_other_are_looked_at_together,
    );
}

#[test]
fn long_runs_near_each_other_are_looked_at_one_by_one() {
    Case::run(
        EngineKind::Uffd,
        "long_runs_near_each_other_are_looked_at_one_by_one",
        scattered::long_runs_near_each_other_are_looked_at_one_by_one,
    );
}

#[test]
fn too_many_pieces_end_the_process_with_the_remedy() {
    Case::run(
        EngineKind::Mprotect,
        "too_many_pieces_end_the_process_with_the_remedy",
        children::too_many_pieces,
    );
}
