//! What changed in a core, a line a change: page, lock, epoch and clock in readable columns.

use crate::trace::{About, Trace};
use hivemind_protocol::{Access, DroneId, Inspection, LockState, PageState};
use std::fmt::Debug;

/// A field of a state: its name and value, in words.
type Field = (&'static str, String);

/// Shows every field that differs.
pub(crate) fn show_changes(
    trace: &mut Trace,
    drone: DroneId,
    before: &Inspection,
    now: &Inspection,
) {
    let mut show = |about: About<'_>, subject: &str, before: Vec<Field>, now: Vec<Field>| {
        for ((name, old), (_, new)) in before.into_iter().zip(now) {
            if old != new {
                let line = format!("| {subject:<10} {name:<11} {old} → {new}");
                trace.note_state(drone, about, &line);
            }
        }
    };
    show(About::Drone, "drone", of_drone(before), of_drone(now));
    for (page, new) in &now.pages {
        let untouched = untouched(new.home);
        let old = of_page(before.pages.get(page).unwrap_or(&untouched));
        show(About::Page(*page), &page.to_string(), old, of_page(new));
    }
    for (lock, new) in &now.locks {
        let old = of_lock(before.locks.get(lock));
        show(
            About::Lock(*lock),
            &lock.to_string(),
            old,
            of_lock(Some(new)),
        );
    }
}

/// A page of which a drone's table has nothing yet.
fn untouched(home: DroneId) -> PageState {
    PageState {
        access: Access::Invalid,
        home,
        copies: None,
        twin: false,
        based: true,
        stale: false,
        lacking: Vec::new(),
        own_diffs: 0,
        asks: Vec::new(),
    }
}

fn of_drone(state: &Inspection) -> Vec<Field> {
    vec![
        ("epoch", format!("{} {}", state.epoch.0, state.phase)),
        ("knows", entries(state)),
        ("metadata", format!("{} bytes", state.metadata_bytes)),
    ]
}

fn entries(state: &Inspection) -> String {
    let entries = state.known.entries().iter();
    let entries: Vec<String> = entries
        .map(|(drone, index)| format!("{}:{}", drone.0, index.0))
        .collect();
    format!("[{}]", entries.join(" "))
}

fn of_page(state: &PageState) -> Vec<Field> {
    let copies = match &state.copies {
        None => "everybody".to_owned(),
        Some(drones) => short(drones),
    };
    vec![
        ("access", format!("{:?}", state.access)),
        ("home", format!("{}", state.home)),
        ("copies", copies),
        ("twin", yes(state.twin)),
        ("based", yes(state.based)),
        ("stale", yes(state.stale)),
        ("lacks", short(&state.lacking)),
        ("own diffs", state.own_diffs.to_string()),
        ("asks", short(&state.asks)),
    ]
}

fn of_lock(state: Option<&LockState>) -> Vec<Field> {
    let state = state.cloned().unwrap_or_default();
    vec![
        ("token", yes(state.token)),
        ("held", yes(state.held)),
        ("wanted", yes(state.wanted)),
        ("ahead", yes(state.ahead)),
        ("unopened", yes(state.unopened)),
        ("next", short(&state.next)),
        ("last asked", short(&state.tail)),
        ("asleep", sleepers(&state)),
    ]
}

fn sleepers(state: &LockState) -> String {
    let sleepers = state.sleepers.iter();
    let sleepers: Vec<String> = sleepers
        .map(|sleeper| format!("{} for {}", sleeper.drone, sleeper.condition))
        .collect();
    sleepers.join(", ")
}

fn yes(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

/// A value without its type's noise.
fn short(value: &impl Debug) -> String {
    let words = format!("{value:?}");
    match words.as_str() {
        "None" | "[]" => "none".to_owned(),
        _ => words
            .replace("IntervalId { creator: ", "")
            .replace(", index: interval ", ":")
            .replace(" }", "")
            .replace("Some(", "")
            .replace(')', ""),
    }
}
