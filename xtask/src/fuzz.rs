//! `cargo xtask fuzz`: builds the fuzz targets with coverage and lets libFuzzer drive each for a while.
//!
//! What the targets are stands in the package `hivemind-fuzz`; why it is done like this, in the decision on
//! hostile bytes. The list of targets is the list of folders in `fuzz/corpus`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;

use anyhow::Context;
use clap::Args;

/// What makes the stable compiler count which way a program goes, for libFuzzer to read; as cargo-fuzz does it.
const COVERAGE: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// An input that takes longer has found an endless loop, or the way to one.
const INPUT_SECONDS_MOST: u32 = 20;
/// A target that takes more memory has believed a length.
const MEMORY_MIB_MOST: u32 = 2048;
/// Longer inputs are not tried: every decoder's turns fit into less.
const INPUT_BYTES_MOST: u32 = 16 << 10;

/// Let hostile bytes at everything that reads what others wrote: builds and runs the fuzz targets.
#[derive(Args, Debug)]
pub(crate) struct Fuzz {
    /// Only this target; by default all.
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 6, value_name = "S")]
    seconds: u32,
    /// Run these inputs once, and nothing else; needs one --target.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    replay: Vec<PathBuf>,
    /// Afterwards add to the corpus in the repository what was found and reaches further.
    #[arg(long)]
    keep: bool,
}

impl Fuzz {
    /// Builds, runs every target, and ends with a line that counts.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(remedy) = missing_compiler() {
            println!("skipped: fuzz: {remedy}\n0 passed, 0 failed, 1 skipped");
            return Ok(ExitCode::SUCCESS);
        }
        let targets = self.targets()?;
        let place = Place::build()?;
        if !self.replay.is_empty() {
            anyhow::ensure!(targets.len() == 1, "--replay needs one --target");
            let mut command = place.command(&targets[0]);
            return Err(crate::become_it(command.args(&self.replay)));
        }
        // Each target is one thread: as many at once as there are cores.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (next, passed) = (Mutex::new(targets.iter()), Mutex::new(0));
        std::thread::scope(|scope| {
            for _ in 0..cores.min(targets.len()) {
                scope.spawn(|| {
                    while let Some(target) = take(&next, Iterator::next) {
                        let outcome = place.fuzz(target, &self);
                        take(&passed, |passed| {
                            *passed += usize::from(say(target, outcome))
                        });
                    }
                });
            }
        });
        let passed = take(&passed, |passed| *passed);
        let failed = targets.len() - passed;
        println!("{passed} passed, {failed} failed");
        Ok(ExitCode::from(u8::from(failed > 0)))
    }

    fn targets(&self) -> anyhow::Result<Vec<String>> {
        let mut known: Vec<String> = Vec::new();
        for entry in fs::read_dir(corpus()).context("cannot list fuzz/corpus")? {
            known.push(entry?.file_name().to_string_lossy().into_owned());
        }
        known.sort();
        let unknown = self.target.iter().find(|target| !known.contains(target));
        if let Some(unknown) = unknown {
            anyhow::bail!(
                "there is no target {unknown}: there are {}",
                known.join(", ")
            );
        }
        Ok(if self.target.is_empty() {
            known
        } else {
            self.target.clone()
        })
    }
}

fn take<T, R>(of: &Mutex<T>, with: impl FnOnce(&mut T) -> R) -> R {
    with(&mut of.lock().expect("no thread of ours panics"))
}

fn corpus() -> PathBuf {
    crate::root().join("fuzz/corpus")
}

/// Prints how a target did; gives whether it did well.
fn say(target: &str, outcome: anyhow::Result<String>) -> bool {
    match &outcome {
        Ok(figures) => println!("fuzz {target} ... ok ({figures})"),
        Err(error) => println!("fuzz {target} ... FAILED\n{error:#}"),
    }
    outcome.is_ok()
}

/// Why libFuzzer, which is written in C++, cannot be built here. Installs a compiler where that may be done.
fn missing_compiler() -> Option<&'static str> {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let is_there = || {
        let asked = Command::new(&compiler).arg("--version").output();
        asked.is_ok_and(|output| output.status.success())
    };
    if is_there() {
        return None;
    }
    if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        println!("fuzz: installing a C++ compiler, which libFuzzer needs: apt-get install g++");
        let words = ["install", "--yes", "--no-install-recommends", "g++"];
        let installed = Command::new("apt-get").args(words).output();
        if installed.is_ok_and(|output| output.status.success()) && is_there() {
            return None;
        }
    }
    Some("no C++ compiler here, which libFuzzer needs; `apt-get install g++` installs one")
}

/// Where the built program lies and what it leaves.
struct Place {
    program: PathBuf,
    work: PathBuf,
}

impl Place {
    /// Builds all targets, in a folder of their own: other flags would throw away what other builds made.
    fn build() -> anyhow::Result<Self> {
        let work = crate::target_folder()?.join("fuzz");
        let host = host()?;
        let mut cargo = crate::cargo(&["build", "--profile", "fuzz", "--package", "hivemind-fuzz"]);
        // With a target named, the flags are not for build scripts.
        cargo.args(["--bin", "hivemind-fuzz", "--target", &host, "--target-dir"]);
        cargo.arg(&work).env_remove("RUSTFLAGS");
        cargo.env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"));
        let status = cargo.status().context("cannot run cargo")?;
        anyhow::ensure!(status.success(), "the fuzz targets cannot be built");
        let program = work.join(host).join("fuzz/hivemind-fuzz");
        Ok(Self { program, work })
    }

    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("HIVEMIND_FUZZ_TARGET", target);
        command.arg(format!("-timeout={INPUT_SECONDS_MOST}"));
        command.arg(format!("-rss_limit_mb={MEMORY_MIB_MOST}"));
        command.arg(format!("-max_len={INPUT_BYTES_MOST}"));
        command
    }

    /// Lets libFuzzer at one target; gives its figures, or what it found.
    fn fuzz(&self, target: &str, options: &Fuzz) -> anyhow::Result<String> {
        let (seeds, found) = (corpus().join(target), self.work.join("found").join(target));
        let crashes = self.work.join("crashes").join(target);
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&crashes)?;
        let mut fuzzer = self.command(target);
        fuzzer.arg(format!("-max_total_time={}", options.seconds));
        fuzzer.arg(format!("-artifact_prefix={}/", crashes.display()));
        fuzzer.args(["-use_value_profile=1", "-print_final_stats=1"]);
        let output = fuzzer.args([&found, &seeds]).output();
        let output = output.with_context(|| format!("cannot run {}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            anyhow::bail!("{}", trouble(target, &text));
        }
        if options.keep {
            let merged = self
                .command(target)
                .arg("-merge=1")
                .arg(&seeds)
                .arg(&found)
                .output()?;
            anyhow::ensure!(merged.status.success(), "what was found cannot be merged");
        }
        Ok(figures(&text))
    }
}

/// The end of what libFuzzer said, where it says what is wrong, and what to do about it.
fn trouble(target: &str, text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines[lines.len().saturating_sub(60)..].join("\n");
    let input = lines
        .iter()
        .find_map(|line| line.split_once("Test unit written to "));
    match input {
        Some((_, input)) => format!(
            "{shown}\nonce again: cargo xtask fuzz --target {target} --replay {input}\n\
             when it is mended: mv {input} fuzz/corpus/{target}/"
        ),
        None => shown,
    }
}

/// How many inputs were tried and how much of the program they reach.
fn figures(text: &str) -> String {
    let after = |line: &str, mark: &str| {
        let rest = line.split_once(mark)?.1;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let runs = text
        .lines()
        .find_map(|line| after(line, "stat::number_of_executed_units:"));
    let reached = text.lines().rev().find_map(|line| after(line, " cov: "));
    let known = |figure: Option<String>| figure.unwrap_or_else(|| "?".to_owned());
    format!("{} inputs, {} edges reached", known(runs), known(reached))
}

/// The machine that this compiler builds for.
fn host() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("-vV")
        .current_dir(crate::root())
        .output();
    let output = output.context("cannot run rustc")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_libfuzzer_says() {
        let text = "#2 INITED cov: 8 ft: 8 corp: 1/1b\n#9 DONE   cov: 13 ft: 13 corp: 6/36b lim: 4096\n\
                    stat::number_of_executed_units: 80950638\n";
        assert_eq!(figures(text), "80950638 inputs, 13 edges reached");
        assert_eq!(figures(""), "? inputs, ? edges reached");
    }

    #[test]
    fn trouble_says_how_to_see_it_again_and_where_its_input_goes() {
        let said = trouble(
            "heap",
            "panicked at x\nartifact_prefix='c/'; Test unit written to c/crash-1\n",
        );
        assert!(said.starts_with("panicked at x\n"));
        assert!(
            said.contains("--target heap --replay c/crash-1\n"),
            "{said}"
        );
        assert!(said.ends_with("mv c/crash-1 fuzz/corpus/heap/"), "{said}");
    }

    #[test]
    fn every_target_has_a_folder_of_seeds() {
        let fuzz = Fuzz {
            target: vec!["message".to_owned()],
            seconds: 1,
            replay: Vec::new(),
            keep: false,
        };
        assert_eq!(fuzz.targets().unwrap(), ["message"]);
        let none = Fuzz {
            target: vec!["nothing".to_owned()],
            ..fuzz
        };
        let said = none.targets().unwrap_err().to_string();
        assert!(said.contains("there are core, diff"), "{said}");
    }
}
