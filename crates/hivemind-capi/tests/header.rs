//! The committed header is the one that this source makes.

use std::path::Path;

#[test]
fn the_header_is_made_of_this_source() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = cbindgen::generate(here).expect("the source can be read");
    let mut text = Vec::new();
    made.write(&mut text);
    let text = String::from_utf8(text).expect("a header is text");
    // What is for Rust alone.
    let text = text
        .lines()
        .filter(|line| line.trim() != "// # Safety")
        .collect::<Vec<_>>()
        .join("\n")
        + "\n";
    let place = here.join("include/hivemind.h");
    if std::env::var_os("HIVEMIND_WRITE_HEADER").is_some() {
        std::fs::write(&place, &text).expect("the header can be written");
    }
    let committed = std::fs::read_to_string(&place).unwrap_or_default();
    assert!(
        committed == text,
        "include/hivemind.h is not what the source makes: HIVEMIND_WRITE_HEADER=1 cargo test -p hivemind-capi writes it"
    );
}
