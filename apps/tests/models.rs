//! The models of `hivemind-sim model` send what real drones send: as many messages, and as many bytes. That holds where
//! nobody's pace decides what is sent: no two drones write one page, and nobody waits for a lock.

mod hive;

use hive::{User, engines, model, run_with};
use serde_json::Value;
use std::fs;

/// In front of each message stand its frame's length and kind, and an envelope.
const FRAME_BYTES: u64 = 5 + 8;

/// Messages and bytes that all drones sent, frames included.
fn sent(drones: usize, engine: &str, program: &str, arguments: &[&str]) -> (u64, u64) {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("stats.json");
    let stats = format!("--stats=json:{}", file.display());
    // With more threads it is chance which of them touches a page first.
    let options = [stats.as_str(), "--threads", "1"];
    run_with(User::Own, &options, drones, engine, program, arguments).right();
    let stats: Value = serde_json::from_slice(&fs::read(file).expect("it is there")).expect("JSON");
    let sum = |name: &str| {
        let drones = stats["drones"].as_array().expect("a list").iter();
        drones
            .map(|drone| drone[name].as_u64().expect("a number"))
            .sum()
    };
    (sum("messages_sent"), sum("bytes_sent"))
}

/// The same of a model.
fn modelled(drones: usize, program: &str, arguments: &[&str]) -> (u64, u64) {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("model.json");
    let file_word = file.to_str().expect("a plain path");
    let drones = drones.to_string();
    let words = [
        "--drones",
        &drones,
        "--network",
        "10",
        "--only",
        program,
        "--json",
        file_word,
    ];
    model(&[&words, arguments].concat()).right();
    let whole: Value =
        serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("JSON");
    let forecast = &whole["forecasts"][0];
    let number = |name: &str| forecast[name].as_u64().expect("a number");
    let messages = number("messages");
    (messages, number("bytes") + FRAME_BYTES * messages)
}

#[track_caller]
fn check_alike(program: &str, real: &[&str], model: &[&str]) {
    for drones in [2, 4] {
        let modelled = modelled(drones, program, model);
        for engine in engines() {
            let sent = sent(drones, engine, program, real);
            assert_eq!(
                sent.0, modelled.0,
                "messages of {program} on {drones} drones with {engine}"
            );
            // A label names a drone more or less as messages overtake one another, and an idle link beats.
            let apart = sent.1.abs_diff(modelled.1);
            assert!(
                apart * 1000 < sent.1,
                "{program} on {drones} drones with {engine}: {} bytes, modelled {}",
                sent.1,
                modelled.1
            );
        }
    }
}

#[test]
fn a_model_of_jacobi_sends_what_jacobi_sends() {
    // Rows that fill pages: no two drones write one.
    check_alike(
        "jacobi",
        &["--size", "512", "--steps", "20"],
        &["--size", "512", "--rounds", "20"],
    );
}

#[test]
fn a_model_of_pi_sends_what_pi_sends() {
    check_alike("pi", &["--steps", "30000000"], &["--size", "30000000"]);
}

#[test]
fn a_model_of_matmul_sends_what_matmul_sends() {
    check_alike("matmul", &["--size", "256"], &["--size", "256"]);
}
