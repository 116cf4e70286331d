//! `cargo xtask test`, `cargo xtask torture` and `cargo xtask models`: the steps of a test run, one after the other, up to the
//! first that fails, and one last line that counts.

use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::Context;
use clap::Args;

use crate::packages;
use crate::tally::Tally;

/// How often the integration tests repeat their random parts.
const ROUNDS: &str = "HIVEMIND_TEST_ROUNDS";

/// Run every test: formatting, lints, documents, the build, unit tests, integration tests, examples in the documents.
#[derive(Args, Debug)]
pub(crate) struct Test {
    /// Leave out formatting, lints, documents, mutants and fuzzing, and repeat nothing.
    #[arg(long)]
    fast: bool,
}

/// Run the integration tests of the library and the programs with many rounds.
#[derive(Args, Debug)]
pub(crate) struct Torture {
    /// How often each torture program runs in each setting.
    #[arg(long, default_value_t = 200, value_name = "N")]
    rounds: u32,
}

/// One step: what it is called, what cargo does, and the component it needs beyond a bare toolchain.
struct Step {
    name: &'static str,
    words: &'static [&'static str],
    component: Option<&'static str>,
    counts: bool,
    /// What the environment says beside what it says anyway.
    settings: &'static [(&'static str, &'static str)],
}

/// Each test is a program of its own, and to optimise all of them as a whole would take longer than to run them.
const QUICKLY_BUILT: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_LTO", "false"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
];

const FORMAT: Step = Step {
    name: "formatting",
    words: &["fmt", "--all", "--check"],
    component: Some("rustfmt"),
    counts: false,
    settings: &[],
};
const LINTS: Step = Step {
    name: "lints",
    words: &[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ],
    component: Some("clippy"),
    counts: false,
    settings: &[],
};
/// Links in the documents that lead nowhere, and the like.
const DOCUMENTS: Step = Step {
    name: "documents",
    words: &["doc", "--workspace", "--no-deps"],
    component: None,
    counts: false,
    settings: &[("RUSTDOCFLAGS", "-D warnings")],
};
const BUILD: Step = Step {
    name: "build",
    words: crate::BUILD,
    component: None,
    counts: false,
    settings: QUICKLY_BUILT,
};
/// Output of tests that passed is asked for too: they may say there what they had to skip.
const TESTS: Step = Step {
    name: "tests",
    words: &[
        "test",
        "--release",
        "--workspace",
        "--no-fail-fast",
        "--",
        "--show-output",
    ],
    component: None,
    counts: true,
    settings: QUICKLY_BUILT,
};
const INTEGRATION: Step = Step {
    name: "torture",
    words: &[
        "test",
        "--release",
        "--package",
        "hivemind-dsm",
        "--package",
        "apps",
        "--test",
        "*",
        "--no-fail-fast",
        "--",
        "--show-output",
    ],
    component: None,
    counts: true,
    settings: QUICKLY_BUILT,
};
/// The models of what threads share (see docs/TESTING.md): a build of its own, in a folder of its own.
const MODELS: Step = Step {
    name: "models",
    words: &[
        "test",
        "--profile",
        "checks",
        "--package",
        "hivemind-memory",
        "--package",
        "hivemind-dsm",
        "--lib",
        "--no-fail-fast",
        "--",
        "models::",
        "--show-output",
    ],
    component: None,
    counts: true,
    settings: &[
        ("RUSTFLAGS", "--cfg loom"),
        ("CARGO_TARGET_DIR", "target/models"),
    ],
};

/// Bugs are built in and must be found (see docs/TESTING.md).
const MUTANTS: Step = Step {
    name: "mutants",
    words: &["xtask", "mutants"],
    component: None,
    counts: true,
    settings: &[],
};

/// Hostile bytes, a few seconds for each target (see docs/TESTING.md).
const FUZZ: Step = Step {
    name: "fuzz",
    words: &["xtask", "fuzz"],
    component: None,
    counts: true,
    settings: &[],
};

impl Test {
    /// Runs all steps. Fails with the first that fails.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        packages::provide(&[packages::FOR_HOSTS, packages::FOR_STARTERS, packages::FOR_C]);
        if self.fast {
            run_steps(&[BUILD, TESTS, MODELS], Some(1))
        } else {
            run_steps(
                &[
                    FORMAT, LINTS, DOCUMENTS, BUILD, TESTS, MODELS, MUTANTS, FUZZ,
                ],
                None,
            )
        }
    }
}

impl Torture {
    /// Runs the integration tests with many rounds.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        run_steps(&[BUILD, INTEGRATION], Some(self.rounds))
    }
}

/// Checks the models of what threads share, under every order of their steps.
pub(crate) fn check_models() -> anyhow::Result<ExitCode> {
    run_steps(&[MODELS], None)
}

fn run_steps(steps: &[Step], rounds: Option<u32>) -> anyhow::Result<ExitCode> {
    let mut tally = Tally::default();
    let mut failed = None;
    for step in steps {
        if let Some(component) = step.component.filter(|_| !is_installed(step)) {
            println!(
                "skipped: {}: no {component} here; `rustup component add {component}` installs it",
                step.name
            );
            tally.skip();
            continue;
        }
        println!("\n=== {}: cargo {}", step.name, step.words.join(" "));
        let start = Instant::now();
        if !run_step(step, rounds, &mut tally)? {
            failed = Some(step.name);
            break;
        }
        println!(
            "=== {}: good, {:.0} s",
            step.name,
            start.elapsed().as_secs_f64()
        );
    }
    if let Some(name) = failed {
        println!("\n=== {name}: FAILED");
        tally.fail_at_least_once();
    }
    println!("{tally}");
    Ok(if failed.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Whether cargo knows the step's subcommand.
fn is_installed(step: &Step) -> bool {
    let asked = crate::cargo(&[step.words[0], "--version"]).output();
    asked.is_ok_and(|output| output.status.success())
}

fn run_step(step: &Step, rounds: Option<u32>, tally: &mut Tally) -> anyhow::Result<bool> {
    let mut command = crate::cargo(step.words);
    // Settings of whoever runs the tests are not the tests' own.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("HIVEMIND_") && name != ROUNDS {
            command.env_remove(name.as_ref());
        }
    }
    command.envs(step.settings.iter().copied());
    if let Some(rounds) = rounds {
        command.env(ROUNDS, rounds.to_string());
    }
    if !step.counts {
        return Ok(command.status().context("cannot run cargo")?.success());
    }
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let pipe = child.stdout.take().expect("the pipe was asked for");
    let mut lines = BufReader::new(pipe);
    let mut line = Vec::new();
    let mut output = std::io::stdout().lock();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if tally.hear(&String::from_utf8_lossy(&line)) {
            output.write_all(&line)?;
        }
        line.clear();
    }
    Ok(child.wait()?.success() && tally.is_good())
}
