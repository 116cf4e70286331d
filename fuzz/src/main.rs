//! The program that libFuzzer drives. One for all targets, so that all are linked once: the environment says
//! which is meant. Without `--cfg fuzzing` it only says how it is to be built.

#![forbid(unsafe_code)]
#![cfg_attr(fuzzing, no_main)]

/// Which target is meant, by its name.
#[cfg(fuzzing)]
const TARGET: &str = "HIVEMIND_FUZZ_TARGET";

#[cfg(fuzzing)]
fn chosen() -> fn(&[u8]) {
    let name = std::env::var(TARGET).unwrap_or_default();
    let mut targets = hivemind_fuzz::TARGETS
        .iter()
        .chain(hivemind_fuzz::BEHIND_DOORS);
    let found = targets.find(|(target, _)| *target == name);
    found
        .unwrap_or_else(|| panic!("{TARGET}={name}: there is no such target"))
        .1
}

#[cfg(fuzzing)]
static BODY: std::sync::OnceLock<fn(&[u8])> = std::sync::OnceLock::new();

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| BODY.get_or_init(chosen)(input));

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    eprintln!("hivemind-fuzz: `cargo xtask fuzz` builds and runs the fuzz targets");
    std::process::ExitCode::FAILURE
}
