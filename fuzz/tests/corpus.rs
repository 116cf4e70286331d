//! Runs every file of the corpus through its target, without a fuzzer. A crash that was found and mended stays
//! mended this way.

use std::fs;
use std::path::{Path, PathBuf};

use hivemind_fuzz::TARGETS;
use hivemind_protocol::Message;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(target: &str) -> Vec<PathBuf> {
    let folder = corpus().join(target);
    let entries = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("no seeds in {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_file_of_the_corpus_passes() {
    for (target, body) in TARGETS {
        let files = files(target);
        assert!(!files.is_empty(), "no seeds for {target}");
        for file in files {
            // Shown when it fails.
            println!("{}", file.display());
            body(&fs::read(&file).expect("it was listed"));
        }
    }
}

#[test]
fn every_kind_of_message_has_a_seed() {
    let read: Vec<&str> = files("message")
        .iter()
        .filter_map(|file| Message::decode(&fs::read(file).expect("it was listed")).ok())
        .map(|message| message.name())
        .collect();
    for tag in 1..=u8::MAX {
        // Whether there is such a kind shows in what is said of its tag alone.
        let alone = Message::decode(&[tag]);
        if alone != Err(hivemind_protocol::WireError::Value("Message")) {
            let with_tag = files("message").into_iter().any(|file| {
                let bytes = fs::read(file).expect("it was listed");
                bytes.first() == Some(&tag) && Message::decode(&bytes).is_ok()
            });
            assert!(
                with_tag,
                "no seed for the message with tag {tag}; there are {read:?}"
            );
        }
    }
}

#[test]
fn the_corpus_stays_small() {
    let mut bytes = 0;
    for target in fs::read_dir(corpus()).expect("a corpus") {
        for file in fs::read_dir(target.expect("an entry").path()).expect("a folder a target") {
            bytes += file.expect("an entry").metadata().expect("metadata").len();
        }
    }
    assert!(bytes < 500_000, "{bytes} bytes");
}
