//! A build that has bugs built in is refused unless it is one for tests, so that no release can have them by accident.

use std::path::Path;
use std::process::Command;

/// Checks the core in a profile, with the mutants; gives whether that went well, and what the compiler said.
fn check(profile: &str) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "check",
            "--package",
            "hivemind-protocol",
            "--profile",
            profile,
        ])
        .args(["--target-dir", "target/mutants"])
        .env("RUSTFLAGS", "--cfg hivemind_mutants")
        .current_dir(root)
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn a_release_with_mutants_is_refused() {
    let (good, said) = check("release");
    assert!(
        !good && said.contains("hivemind_mutants builds bugs in"),
        "{said}"
    );
}

#[test]
fn their_own_profile_has_them() {
    let (good, said) = check("checks");
    assert!(good, "{said}");
}
