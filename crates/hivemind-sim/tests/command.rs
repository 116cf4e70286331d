//! The command as a user's shell calls it.

#![forbid(unsafe_code)]

use std::io;
use std::process::{Command, Stdio};

fn simulator(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hivemind-sim"));
    command.args(words);
    command
}

#[test]
fn a_reader_that_has_gone_away_ends_it_without_a_word() {
    for words in [
        &["--seed", "3", "--lines", "400"][..],
        &["--seeds", "2"],
        &["explore", "--list"],
        &["model", "--only", "pi", "--drones", "2"],
    ] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let ended = simulator(words)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&ended.stderr);
        // Which models it works on is said there too.
        let troubles = said.lines().filter(|line| !line.ends_with('…'));
        assert_eq!(troubles.count(), 0, "{words:?}: {said}");
        // As a shell says of a command that the signal of a closed pipe ended.
        assert_eq!(ended.status.code(), Some(141), "{words:?}");
    }
}
