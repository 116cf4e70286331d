//! `hivemind-sim explore …`: goes through small worlds one after the other and says how large they were, or
//! what was found and how to see it again. Everything else is the library's.

use crate::output::say;
use hivemind_sim::explore::{Detection, Path, SmallWorld, explore, tell};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: hivemind-sim explore [--world NAME | --file FILE] [--detection traps|scans|mixed] [--large] [--states N]
       hivemind-sim explore --list
       hivemind-sim explore --world NAME --detection KIND --path MOVES
  --world NAME      only this one
  --file FILE       a world of your own; what its lines mean stands in the library's explore/world.rs
  --detection KIND  only with this way to learn of writes
  --large           the large worlds too; a world that is named need not be asked for
  --states N        give up a world with more states than this (default 50000000)
  --list            names the worlds
  --path MOVES      tells what happens when these moves are made, as a finding prints them
exit status: 0 when every world was gone through and nothing was found, 1 when something was or a bound was hit, 2 when the call is wrong";

/// Some five gigabytes.
const STATES_MOST: u64 = 50_000_000;

#[derive(Debug, Default)]
struct Wanted {
    world: Option<String>,
    file: Option<PathBuf>,
    detection: Option<Detection>,
    large: bool,
    states: Option<u64>,
    list: bool,
    help: bool,
    path: Option<Path>,
}

/// Does what the words behind `explore` say.
pub(crate) fn run(words: impl Iterator<Item = String>) -> ExitCode {
    let wanted = wanted(words).and_then(|wanted| Ok((chosen(&wanted)?, wanted)));
    match wanted {
        Ok((_, wanted)) if wanted.help => {
            say!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok((worlds, wanted)) if wanted.list => list(&worlds),
        Ok((worlds, wanted)) => match wanted.path {
            Some(path) => replay(&worlds, &path),
            None => search(&worlds, wanted.states.unwrap_or(STATES_MOST)),
        },
        Err(what) => complain(&what),
    }
}

fn complain(what: &str) -> ExitCode {
    eprintln!("hivemind-sim explore: {what}\n{USAGE}");
    ExitCode::from(2)
}

fn wanted(mut words: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        match word.as_str() {
            "--help" | "-h" => wanted.help = true,
            "--large" => wanted.large = true,
            "--list" => wanted.list = true,
            "--world" => wanted.world = Some(value()?),
            "--file" => wanted.file = Some(value()?.into()),
            "--detection" => wanted.detection = Some(value()?.parse()?),
            "--path" => wanted.path = Some(value()?.parse()?),
            "--states" => {
                let states = value()?;
                let number = states.parse().ok().filter(|number| *number > 0);
                wanted.states = Some(number.ok_or(format!("{states} is no number of states"))?);
            }
            other => return Err(format!("{other} is no option")),
        }
    }
    Ok(wanted)
}

/// The worlds that the call is about.
fn chosen(wanted: &Wanted) -> Result<Vec<SmallWorld>, String> {
    let mut worlds = match &wanted.file {
        None => SmallWorld::shipped(),
        Some(file) => {
            let cannot = |error| format!("cannot read {}: {error}", file.display());
            let text = std::fs::read_to_string(file).map_err(cannot)?;
            SmallWorld::parse(&file.display().to_string(), &text)?
        }
    };
    let all = wanted.large || wanted.list || wanted.world.is_some() || wanted.file.is_some();
    worlds.retain(|world| {
        wanted.world.as_ref().is_none_or(|name| world.name == *name)
            && wanted.detection.is_none_or(|kind| world.detection == kind)
            && (all || !world.large)
    });
    if worlds.is_empty() {
        return Err("there is no such world; --list names them".to_owned());
    }
    Ok(worlds)
}

fn list(worlds: &[SmallWorld]) -> ExitCode {
    for world in worlds {
        let size = if world.large { "  large" } else { "" };
        say!("{:<32} {:<6}{size}", world.name, world.detection);
    }
    ExitCode::SUCCESS
}

fn replay(worlds: &[SmallWorld], path: &Path) -> ExitCode {
    let [world] = worlds else {
        return complain("--path wants one world: name it and its --detection");
    };
    let told = match tell(world, path) {
        Ok(told) => told,
        Err(what) => return complain(&what),
    };
    for line in &told.lines {
        say!("{line}");
    }
    say!("{}", told.standing);
    match told.finding {
        None => {
            say!("nothing found");
            ExitCode::SUCCESS
        }
        Some(finding) => {
            say!("found: {finding}");
            ExitCode::FAILURE
        }
    }
}

fn search(worlds: &[SmallWorld], states_most: u64) -> ExitCode {
    let begun = Instant::now();
    let (mut states, mut transitions, mut complete) = (0, 0, 0);
    for world in worlds {
        let world_begun = Instant::now();
        match explore(world, states_most) {
            Ok(explored) => {
                states += explored.states;
                transitions += explored.transitions;
                complete += u64::from(explored.longest_path.is_some());
                say!(
                    "{:<32} {:<6} {explored}; {} states of single drones, {} events of cores; {:.1} s",
                    world.name,
                    world.detection,
                    explored.drone_states,
                    explored.core_events,
                    world_begun.elapsed().as_secs_f64()
                );
            }
            Err(found) => {
                say!("{found}");
                return ExitCode::FAILURE;
            }
        }
    }
    let count = worlds.len() as u64;
    say!(
        "{count} worlds, {complete} complete, 0 found, {states} states, {transitions} transitions, {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    if complete == count {
        ExitCode::SUCCESS
    } else {
        say!("a bound was hit: nothing is proved of the worlds that are not complete");
        ExitCode::FAILURE
    }
}
