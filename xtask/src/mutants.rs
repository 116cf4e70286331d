//! `cargo xtask mutants`: builds the project with its mutants, proves that every test that is to find one passes
//! without it, switches them on one at a time and expects each to be found.
//!
//! What finds which is not said here: the table in docs/TESTING.md is what is run. That the table has every mutant
//! of the code is a test of `hivemind-protocol`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process_group};

/// Where the table stands, and how it begins.
const TABLE: &str = "docs/TESTING.md";
const HEAD: &str = "| bug | mutant | where | killed by |";

/// Built apart: the bugs shall be in no program that anybody runs by mistake.
const TARGET: &str = "target/mutants";
const PROFILE: &str = "checks";
const FLAG: &str = "--cfg hivemind_mutants";
const CHOICE: &str = "HIVEMIND_MUTANT";

/// The simulator stops at the first seed that finds something; a mutant that so many don't find survives.
const SEEDS: &str = "3000";

/// A mutant may make its test hang. Then it is found by this limit, or by some times what the test takes without it.
const LIMIT: Duration = Duration::from_secs(15);
const LIMIT_TIMES: u32 = 8;

/// How often a test that takes turns with others is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Switch on one bug after the other in a build of its own and expect the tests to find each: the table in
/// docs/TESTING.md says which test finds which.
#[derive(Args, Debug)]
pub(crate) struct Mutants {
    /// Only this mutant.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Print the mutants and what kills them; build and run nothing.
    #[arg(long)]
    list: bool,
}

/// A line of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    mutant: String,
    killer: Killer,
}

/// What is to find a mutant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Killer {
    /// A test: its package, its program (`lib`, or a file in `tests`), its name.
    Test {
        package: String,
        program: String,
        name: String,
    },
    /// The worlds of the simulator's first seeds.
    Seeds,
}

/// What a program that is no test is called with, as it may have the name of one.
const BIN: &str = "bin ";

/// The programs of the build, by package and program.
type Programs = BTreeMap<(String, String), Program>;

#[derive(Clone, Debug)]
struct Program {
    executable: PathBuf,
    /// Where cargo would run it.
    folder: PathBuf,
}

/// How a killer ended.
struct Ended {
    /// None: it was ended by its time limit.
    status: Option<ExitStatus>,
    took: Duration,
    output: String,
}

impl Mutants {
    /// Builds and runs.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut rows = parse(&fs::read_to_string(crate::root().join(TABLE))?)?;
        if let Some(only) = &self.only {
            rows.retain(|row| row.mutant == *only);
            ensure!(
                !rows.is_empty(),
                "{TABLE} has no mutant {only}; `--list` prints those that it has"
            );
        }
        // Those that are found fastest first.
        rows.sort_by(|one, other| one.killer.cmp(&other.killer));
        if self.list {
            for Row { mutant, killer } in &rows {
                println!("{mutant:<26} {killer}");
            }
            return Ok(ExitCode::SUCCESS);
        }
        let programs = build(&rows)?;
        let limits = prove_killers(&rows, &programs)?;
        let survivors = hunt(rows.clone(), &programs, &limits);
        println!("{} passed, {survivors} failed", rows.len() - survivors);
        Ok(match survivors {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

/// Reads the table: its rows that have a mutant.
fn parse(text: &str) -> anyhow::Result<Vec<Row>> {
    let mut lines = text
        .lines()
        .skip_while(|line| *line != HEAD)
        .skip(2)
        .peekable();
    ensure!(
        lines.peek().is_some(),
        "{TABLE} has no table that begins with {HEAD}"
    );
    let rows = lines
        .take_while(|line| line.starts_with('|'))
        .map(parse_row);
    rows.filter_map(Result::transpose).collect()
}

fn parse_row(line: &str) -> anyhow::Result<Option<Row>> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, _bug, mutant, _place, killer, _] = cells[..] else {
        bail!("{TABLE}: not four cells: {line}");
    };
    let Some(mutant) = mutant
        .strip_prefix('`')
        .and_then(|rest| rest.strip_suffix('`'))
    else {
        return Ok(None);
    };
    let words: Vec<&str> = killer.trim_matches('`').split_whitespace().collect();
    let killer = match words[..] {
        ["seeds"] => Killer::Seeds,
        [package, program, name] => Killer::Test {
            package: package.to_owned(),
            program: program.to_owned(),
            name: name.to_owned(),
        },
        _ => bail!("{TABLE}: neither `seeds` nor `PACKAGE PROGRAM TEST`: {line}"),
    };
    let mutant = mutant.to_owned();
    Ok(Some(Row { mutant, killer }))
}

/// Builds every program that is needed. All packages whose programs lie in `tests` in one call: what others need of what
/// they share is chosen together, and so is built once.
fn build(rows: &[Row]) -> anyhow::Result<Programs> {
    let start = Instant::now();
    let needed: BTreeSet<(String, String)> = rows.iter().map(|row| row.killer.program()).collect();
    let (libraries, tests): (Vec<_>, Vec<_>) = needed
        .iter()
        .filter(|(_, program)| !program.starts_with(BIN))
        .partition(|(_, program)| program == "lib");
    let mut programs = Programs::new();
    if !tests.is_empty() {
        let packages = needed.iter().map(|(package, _)| ["--package", package]);
        let files = tests.iter().map(|(_, program)| ["--test", program]);
        let words: Vec<&str> = packages.chain(files).flatten().collect();
        programs.extend(built(&[&["test", "--no-run"], &words[..]].concat())?);
    }
    for (package, _) in libraries {
        programs.extend(built(&["test", "--no-run", "--package", package, "--lib"])?);
    }
    for place in &needed {
        // A package's tests bring its programs along.
        if !programs.contains_key(place) {
            let (package, program) = (&place.0, place.1.trim_start_matches(BIN));
            programs.extend(built(&["build", "--package", package, "--bin", program])?);
        }
    }
    println!("=== built, {:.0} s", start.elapsed().as_secs_f64());
    Ok(programs)
}

/// Lets cargo build, with the mutants; gives the programs.
fn built(words: &[&str]) -> anyhow::Result<Programs> {
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    flags.push(' ');
    flags.push_str(FLAG);
    let mut command = crate::cargo(words);
    command
        .args([
            "--profile",
            PROFILE,
            "--target-dir",
            TARGET,
            "--message-format=json-render-diagnostics",
        ])
        .env("RUSTFLAGS", flags)
        .stderr(Stdio::inherit());
    let output = command.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo {} failed", words.join(" "));
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice(line).ok());
    Ok(messages
        .filter_map(|message: serde_json::Value| program(&message))
        .collect())
}

/// The program that a message of cargo's tells of, if it does.
fn program(message: &serde_json::Value) -> Option<((String, String), Program)> {
    let executable = PathBuf::from(message["executable"].as_str()?);
    let folder = Path::new(message["manifest_path"].as_str()?)
        .parent()?
        .to_owned();
    // As in `path+file:///…/crates/hivemind#hivemind-dsm@0.1.0`, or `…/apps#0.1.0` where the folder is called so.
    let (place, name) = message["package_id"].as_str()?.rsplit_once('#')?;
    let package = match name.split_once('@') {
        Some((name, _)) => name,
        None => place.rsplit('/').next()?,
    };
    let (target, is_test) = (&message["target"], message["profile"]["test"].as_bool()?);
    let name = target["name"].as_str()?;
    let program = match target["kind"][0].as_str()? {
        "lib" => "lib".to_owned(),
        "test" => name.to_owned(),
        "bin" if !is_test => format!("{BIN}{name}"),
        _ => return None,
    };
    Some((
        (package.to_owned(), program),
        Program { executable, folder },
    ))
}

/// Runs every killer without a mutant; each must pass. Gives how long each may take with one.
fn prove_killers(rows: &[Row], programs: &Programs) -> anyhow::Result<BTreeMap<Killer, Duration>> {
    let start = Instant::now();
    let mut limits = BTreeMap::new();
    for Row { killer, .. } in rows {
        if limits.contains_key(killer) {
            continue;
        }
        let ended = killer.run(None, programs, Duration::from_secs(120))?;
        let passed = ended.status.is_some_and(|status| status.success());
        if !(passed && killer.has_run(&ended.output)) {
            bail!(
                "without any mutant this does not pass: {killer}\n{}",
                ended.output
            );
        }
        limits.insert(killer.clone(), LIMIT.max(ended.took * LIMIT_TIMES));
    }
    let count = limits.len();
    println!(
        "=== {count} tests pass without a mutant, {:.0} s",
        start.elapsed().as_secs_f64()
    );
    Ok(limits)
}

/// Switches on one mutant after the other, several at a time in processes of their own. Gives how many survive.
fn hunt(rows: Vec<Row>, programs: &Programs, limits: &BTreeMap<Killer, Duration>) -> usize {
    let hunters = thread::available_parallelism().map_or(1, usize::from);
    let (waiting, survivors) = (Mutex::new(VecDeque::from(rows)), Mutex::new(0));
    let next = || waiting.lock().expect("no hunter panics").pop_front();
    thread::scope(|scope| {
        for _ in 0..hunters {
            scope.spawn(|| {
                while let Some(row) = next() {
                    let verdict = judge(&row, programs, limits[&row.killer]);
                    // One line at a time, whole.
                    let mut survivors = survivors.lock().expect("no hunter panics");
                    match verdict {
                        Ok(how) => println!("killed    {:<26} {how}", row.mutant),
                        Err(why) => {
                            *survivors += 1;
                            println!("SURVIVED  {:<26} {why}", row.mutant);
                        }
                    }
                }
            });
        }
    });
    survivors.into_inner().expect("no hunter panics")
}

/// Switches one mutant on. Gives what killed it, or how it survived.
fn judge(row: &Row, programs: &Programs, limit: Duration) -> Result<String, String> {
    let Row { mutant, killer } = row;
    let ended = killer
        .run(Some(mutant), programs, limit)
        .map_err(|error| format!("{error:#}"))?;
    let took = format!("{:.1} s", ended.took.as_secs_f64());
    match ended.status {
        None => Ok(format!("{killer}: it never ended ({took})")),
        Some(status) if status.success() => Err(format!("{killer} finds nothing ({took})")),
        Some(status) => match killer {
            Killer::Test { .. } => Ok(format!("{killer} ({took})")),
            Killer::Seeds => match ended.output.lines().find(|line| line.starts_with("seed ")) {
                Some(found) => Ok(format!("{} ({took})", shorten(found))),
                None => Err(format!(
                    "the simulator ended with {status}:\n{}",
                    ended.output
                )),
            },
        },
    }
}

/// A finding's seed and rule.
fn shorten(found: &str) -> String {
    found.split(':').take(2).collect::<Vec<_>>().join(":")
}

impl Killer {
    /// The package, and the program in it that is to be run.
    fn program(&self) -> (String, String) {
        match self {
            Self::Test {
                package, program, ..
            } => (package.clone(), program.clone()),
            Self::Seeds => ("hivemind-sim".to_owned(), format!("{BIN}hivemind-sim")),
        }
    }

    /// Whether what it printed is that of the one test.
    fn has_run(&self, output: &str) -> bool {
        match self {
            Self::Test { .. } => output.contains("test result: ok. 1 passed"),
            Self::Seeds => true,
        }
    }

    fn run(
        &self,
        mutant: Option<&str>,
        programs: &Programs,
        limit: Duration,
    ) -> anyhow::Result<Ended> {
        let words = match self {
            Self::Test { name, .. } => ["--exact", name, "--test-threads=1"].to_vec(),
            Self::Seeds => vec!["--seeds", SEEDS],
        };
        let place = self.program();
        let program = programs.get(&place);
        let program = program.with_context(|| format!("{} has no program {}", place.0, place.1))?;
        let mut command = Command::new(&program.executable);
        command.args(words).current_dir(&program.folder);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HIVEMIND_") {
                command.env_remove(name);
            }
        }
        if let Some(mutant) = mutant {
            command.env(CHOICE, mutant);
        }
        bounded(command, mutant.unwrap_or("none"), limit)
    }
}

/// Runs a command for at most `limit`; its output goes through a file, which no orphan can keep open for us.
fn bounded(mut command: Command, name: &str, limit: Duration) -> anyhow::Result<Ended> {
    let path = crate::root().join(TARGET).join(format!("{name}.txt"));
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0);
    let start = Instant::now();
    let mut child = command.spawn().context("cannot start a test")?;
    let mut status = None;
    while status.is_none() && start.elapsed() < limit {
        status = child.try_wait()?;
        if status.is_none() {
            thread::sleep(LOOK);
        }
    }
    // Also where it ended by itself: a test that failed may have left processes behind.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // An error says that nobody is left.
        let _ = kill_process_group(group, Signal::KILL);
    }
    if status.is_none() {
        child.wait()?;
    }
    let output = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
    Ok(Ended {
        status,
        took: start.elapsed(),
        output,
    })
}

impl fmt::Display for Killer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test {
                package,
                program,
                name,
            } => write!(formatter, "{package} {program} {name}"),
            Self::Seeds => write!(formatter, "seeds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_mutant_are_passed_over() {
        let text = format!(
            "# Title\n{HEAD}\n|---|---|---|---|\n\
             | 1 short read | `short-read` | `a.rs` | `hivemind-dsm lib net::reads` |\n\
             | 2 none | nothing like it here | | |\n\
             | 3 more | `more` | `b.rs` | seeds |\n\
             \n| no | `row` | of | it |\n"
        );
        let rows = parse(&text).expect("a table");
        let names: Vec<&str> = rows.iter().map(|row| row.mutant.as_str()).collect();
        assert_eq!(names, ["short-read", "more"]);
        assert_eq!(rows[0].killer.to_string(), "hivemind-dsm lib net::reads");
        assert_eq!(rows[1].killer, Killer::Seeds);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        assert!(parse("| bug |").is_err());
        let text = format!("{HEAD}\n|---|---|---|---|\n| 1 | `a` | `b` | two words |\n");
        assert!(parse(&text).is_err());
    }

    #[test]
    fn a_test_that_hangs_is_ended_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]);
        fs::create_dir_all(crate::root().join(TARGET)).expect("a folder");
        let ended = bounded(command, "hangs", Duration::from_millis(300)).expect("a shell");
        assert!(ended.status.is_none());
        let stat = format!("/proc/{}/stat", ended.output.trim());
        // Dead, though perhaps not yet taken leave of.
        let alive = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let start = Instant::now();
        while alive() {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "its child lives on"
            );
            thread::sleep(LOOK);
        }
    }

    #[test]
    fn of_a_finding_its_seed_and_rule_are_told() {
        assert_eq!(
            shorten("seed 7: a read of a wrong value: drone 1: 2"),
            "seed 7: a read of a wrong value"
        );
    }
}
