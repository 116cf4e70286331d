//! Goes through every state of a small world, nearest first, and looks at the whole graph afterwards: that no
//! run goes round in circles, and how long the longest is. What a state is stands in `tables`.

use super::moves::{Move, Path};
use super::tables::{State, Tables, Until};
use super::world::SmallWorld;
use crate::finding::{Finding, Verdict};
use crate::trace::Trace;
use foldhash::fast::FixedState;
use indexmap::IndexSet;
use std::fmt;

/// What a search that found nothing has seen.
///
/// ```
/// use hivemind_sim::explore::{SmallWorld, explore};
/// let text = "drones 2
/// d0: lock 0; add p0+0 1; unlock 0
/// d1: lock 0; add p0+0 1; unlock 0
/// result p0+0 = 2";
/// let worlds = SmallWorld::parse("two-adds", text)?;
/// let explored = explore(&worlds[0], 100_000).expect("nothing is wrong");
/// assert!(explored.finals > 0 && explored.transitions >= explored.states - 1);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Explored {
    /// Different states.
    pub states: u64,
    /// Moves from one to another.
    pub transitions: u64,
    /// States in which nothing happens any more.
    pub finals: u64,
    /// The most moves in one run, none if the search was not complete.
    pub longest_path: Option<u64>,
    /// The most moves that are needed to reach a state.
    pub depth: u64,
    /// Different states of single drones.
    pub drone_states: u64,
    /// Events of single drones that were worked out by a core.
    pub core_events: u64,
}

/// Something that is wrong, with a shortest way there.
///
/// ```
/// use hivemind_sim::explore::{SmallWorld, explore};
/// let text = "drones 2
/// d0: lock 0; add p0+0 1; unlock 0
/// d1: lock 0; add p0+0 1; unlock 0
/// result p0+0 = 3";
/// let worlds = SmallWorld::parse("two-adds", text)?;
/// let found = explore(&worlds[0], 100_000).expect_err("one and one are two");
/// println!("{}: {}", found.path, found.finding);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// Which world.
    pub world: String,
    /// What is wrong.
    pub finding: Finding,
    /// The way.
    pub path: Path,
    /// What happens on it, in words.
    pub lines: Vec<String>,
    /// The command that tells it again.
    pub command: String,
}

/// Goes through all states of a world, but no more than `states_most`.
///
/// ```
/// use hivemind_sim::explore::{SmallWorld, explore};
/// let text = "drones 2
/// d0: lock 0; add p0+0 1; unlock 0
/// d1: lock 0; add p0+0 1; unlock 0
/// result p0+0 = 2";
/// for world in SmallWorld::parse("two-adds", text)? {
///     explore(&world, 100_000).expect("nothing is wrong");
/// }
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// The first thing that is found to be wrong, by a path than which none is shorter.
pub fn explore(world: &SmallWorld, states_most: u64) -> Result<Explored, Box<Counterexample>> {
    Search::new(world).go_through(states_most)
}

/// Goes one path and tells what happens on it.
///
/// ```
/// use hivemind_sim::explore::{Path, SmallWorld, tell};
/// let text = "drones 2
/// d0: lock 0; add p0+0 1; unlock 0
/// d1: lock 0; add p0+0 1; unlock 0
/// result p0+0 = 2";
/// let worlds = SmallWorld::parse("two-adds", text)?;
/// let told = tell(&worlds[0], &"0".parse::<Path>()?)?; // drone 0's first move
/// assert!(told.finding.is_none());
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// The move that cannot be made.
pub fn tell(world: &SmallWorld, path: &Path) -> Result<Told, String> {
    let mut tables = Tables::new(world);
    let mut state = tables.start();
    let mut trace = Trace::recording(usize::MAX);
    let mut finding = None;
    for (at, what) in path.0.iter().enumerate() {
        trace.note(|| format!("{:>3}. {what}", at + 1));
        match tables.apply(&state, *what, &mut trace) {
            Ok(Some(next)) => state = next,
            Ok(None) => return Err(format!("move {}, {what}, cannot be made", at + 1)),
            Err(found) => {
                finding = Some(found);
                break;
            }
        }
    }
    if finding.is_none() {
        finding = rest(&mut tables, &state, &mut trace).err();
    }
    Ok(Told {
        lines: trace.lines().map(str::to_owned).collect(),
        standing: tables.standing(&state),
        finding,
    })
}

/// A path that was told.
///
/// ```
/// use hivemind_sim::explore::{Path, SmallWorld, tell};
/// let text = "drones 2
/// d0: lock 0; add p0+0 1; unlock 0
/// d1: lock 0; add p0+0 1; unlock 0
/// result p0+0 = 2";
/// let worlds = SmallWorld::parse("two-adds", text)?;
/// let told = tell(&worlds[0], &Path::default())?; // nothing has happened yet
/// println!("{}", told.standing);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
pub struct Told {
    /// What happened.
    pub lines: Vec<String>,
    /// What everybody did at its end.
    pub standing: String,
    /// What is wrong.
    pub finding: Option<Finding>,
}

struct Search {
    tables: Tables,
    states: IndexSet<State, FixedState>,
    /// The state from which each was reached first.
    parents: Vec<u32>,
    /// For each state that was looked at, where its successors begin.
    edges_from: Vec<usize>,
    edges: Vec<u32>,
    depth: u64,
    finals: u64,
}

impl Search {
    fn new(world: &SmallWorld) -> Self {
        let mut tables = Tables::new(world);
        let start = tables.start();
        Self {
            tables,
            states: IndexSet::from_iter([start]),
            parents: vec![0],
            edges_from: Vec::new(),
            edges: Vec::new(),
            depth: 0,
            finals: 0,
        }
    }

    fn go_through(mut self, states_most: u64) -> Result<Explored, Box<Counterexample>> {
        let mut nexts = Vec::new();
        let (mut at, mut depth_ends) = (0, 1);
        while at < self.states.len() && self.states.len() as u64 <= states_most {
            if at == depth_ends {
                self.depth += 1;
                depth_ends = self.states.len();
            }
            let state = self.states[at];
            if let Err((what, finding)) = self.tables.next(&state, Until::World, &mut nexts) {
                return Err(self.blame(at, Some(what), finding));
            }
            if !nexts.iter().any(|(what, _)| Tables::is_progress(*what)) {
                self.finals += 1;
                if let Err(finding) = rest(&mut self.tables, &state, &mut Trace::hash_only()) {
                    return Err(self.blame(at, None, finding));
                }
            }
            self.edges_from.push(self.edges.len());
            for (_, next) in &nexts {
                let (number, new) = self.states.insert_full(*next);
                self.edges.push(number as u32);
                if new {
                    self.parents.push(at as u32);
                }
            }
            at += 1;
        }
        let complete = at == self.states.len();
        let longest_path = match complete.then(|| self.longest_path()) {
            None => None,
            Some(Ok(moves)) => Some(moves),
            Some(Err(at)) => {
                let what = "from here the same state can be reached again: a run without an end";
                return Err(self.blame(at, None, Finding::new("no progress", what)));
            }
        };
        Ok(Explored {
            states: self.states.len() as u64,
            transitions: self.edges.len() as u64,
            finals: self.finals,
            longest_path,
            depth: self.depth,
            drone_states: self.tables.seats() as u64,
            core_events: self.tables.worked_out() as u64,
        })
    }

    /// The most moves in one run; or a state that lies on a circle or behind one. (Kahn 1962.)
    fn longest_path(&self) -> Result<u64, usize> {
        let count = self.states.len();
        let mut ways_in = vec![0u32; count];
        for next in &self.edges {
            ways_in[*next as usize] += 1;
        }
        let mut longest = vec![0u32; count];
        let mut ready = vec![0];
        let mut seen = 0;
        while let Some(at) = ready.pop() {
            seen += 1;
            let end = self.edges_from.get(at + 1).copied();
            for next in &self.edges[self.edges_from[at]..end.unwrap_or(self.edges.len())] {
                let next = *next as usize;
                longest[next] = longest[next].max(longest[at] + 1);
                ways_in[next] -= 1;
                if ways_in[next] == 0 {
                    ready.push(next);
                }
            }
        }
        if seen < count {
            return Err(ways_in.iter().position(|ways| *ways > 0).unwrap_or(0));
        }
        Ok(u64::from(longest.into_iter().max().unwrap_or(0)))
    }

    /// How a state is reached, and what happens on the way.
    fn blame(&mut self, at: usize, last: Option<Move>, finding: Finding) -> Box<Counterexample> {
        let mut way = vec![at];
        while let Some(&first) = way.last()
            && first != 0
        {
            way.push(self.parents[first] as usize);
        }
        way.reverse();
        let mut path = Path::default();
        let mut nexts = Vec::new();
        for step in way.windows(2) {
            let (from, to) = (self.states[step[0]], self.states[step[1]]);
            // Nothing was found at a state that others come after.
            let _ = self.tables.next(&from, Until::World, &mut nexts);
            path.0.extend(
                nexts
                    .iter()
                    .find(|(_, next)| *next == to)
                    .map(|(what, _)| *what),
            );
        }
        path.0.extend(last);
        let world = self.tables.world();
        let command = format!(
            "cargo xtask explore --world {} --detection {} --path {path}",
            world.name, world.detection
        );
        let (lines, standing) = match tell(world, &path) {
            Ok(told) => (told.lines, told.standing),
            Err(what) => (vec![what], String::new()),
        };
        let lines = lines.into_iter().chain(standing.lines().map(str::to_owned));
        Box::new(Counterexample {
            world: format!("{}, {}", world.name, world.detection),
            finding,
            lines: lines.collect(),
            path,
            command,
        })
    }
}

/// Nothing happens any more. All programs are over; and where all drones live, they are asked to meet and to
/// load the results, in one order of many: this proves what the memory holds, not that the loading works.
fn rest(tables: &mut Tables, state: &State, trace: &mut Trace) -> Verdict<()> {
    let mut nexts = Vec::new();
    let going_on = tables.next(state, Until::World, &mut nexts);
    if going_on.is_err() || nexts.iter().any(|(what, _)| Tables::is_progress(*what)) {
        return Ok(());
    }
    tables.check_rest(state, Until::World)?;
    if !tables.everybody_lives(state) {
        return Ok(());
    }
    tables.check_results(state)?;
    trace.note(|| "     At the end all meet, load the results and leave.".to_owned());
    let mut state = *state;
    loop {
        tables
            .next(&state, Until::Epilogue, &mut nexts)
            .map_err(|(_, finding)| finding)?;
        let Some((what, next)) = nexts.first().copied() else {
            break;
        };
        if trace.is_recording() {
            tables.apply(&state, what, trace)?;
        }
        state = next;
    }
    tables.check_rest(&state, Until::Epilogue)?;
    tables.check_books(&state)
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            states,
            transitions,
            finals,
            ..
        } = self;
        write!(
            f,
            "{states} states, {transitions} transitions, {finals} final states, "
        )?;
        match self.longest_path {
            Some(moves) => write!(f, "longest path {moves}"),
            None => write!(
                f,
                "NOT COMPLETE: the bound on states was hit at depth {}",
                self.depth
            ),
        }
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        writeln!(
            f,
            "{}: found after {} moves: {}",
            self.world,
            self.path.0.len(),
            self.finding
        )?;
        write!(f, "replay: {}", self.command)
    }
}

impl std::error::Error for Counterexample {}
