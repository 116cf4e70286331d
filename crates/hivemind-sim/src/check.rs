//! One seed from its number to its verdict, panics included, and its replay with a readable record.

use crate::finding::{Finding, Verdict};
use crate::hostile::Hostility;
use crate::plan::Plan;
use crate::run::{Report, Run};
use crate::trace::{Trace, Wanted};
use hivemind_trace::Entry;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// A plan that found something.
///
/// ```
/// use hivemind_sim::{Deed, Item, Plan, Touch, check};
/// let plan = (1..).map(Plan::draw).find(|plan| plan.drones() == 2 && plan.kill.is_none());
/// let mut plan = plan.expect("there are such plans");
/// let at = plan.program.layout.cells[0].start;
/// for work in &mut plan.program.phases[0].work {
///     let store = Touch::Store { at, content: vec![1] };
///     work.main.push(Item::Section(vec![Deed::Touch(store)])); // both store to one byte
/// }
/// let failed = check(&plan).expect_err("the program races");
/// assert_eq!(failed.finding.rule, "the simulator's program races");
/// ```
#[derive(Clone, Debug)]
pub struct Failed {
    /// The seed that it was drawn from.
    pub seed: u64,
    /// What was found.
    pub finding: Finding,
    /// The last events, if they were recorded.
    pub lines: Vec<String>,
    /// What everybody did and waited for at the end.
    pub standing: String,
    /// Whether the world was hostile.
    pub hostile: bool,
    /// The whole record, for ShiViz.
    pub entries: Vec<Entry>,
}

/// What a replay is to show.
///
/// ```
/// use hivemind_sim::{Plan, Show, Wanted, replay};
/// let show = Show {
///     lines: 10,
///     wanted: Wanted::default(),
/// };
/// let replayed = replay(&Plan::draw(1), &show)?;
/// assert_eq!(replayed.lines.len(), 10);
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Show {
    /// How many of the last lines are kept.
    pub lines: usize,
    /// Which of them.
    pub wanted: Wanted,
}

/// A replay that found nothing.
///
/// ```
/// use hivemind_sim::{Plan, Show, Wanted, check, replay};
/// let show = Show {
///     lines: usize::MAX,
///     wanted: Wanted::default(),
/// };
/// let replayed = replay(&Plan::draw(1), &show)?;
/// assert_eq!(replayed.report, check(&Plan::draw(1))?); // looking changes nothing
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What it did.
    pub report: Report,
    /// The lines that were to be shown.
    pub lines: Vec<String>,
    /// The same for ShiViz.
    pub entries: Vec<Entry>,
}

thread_local! {
    /// Whether a panic on this thread is a finding, not a crash.
    static SIMULATING: Cell<bool> = const { Cell::new(false) };
    static PANICKED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a plan without a record.
///
/// ```
/// use hivemind_sim::{Plan, check};
/// let report = check(&Plan::draw(1))?;
/// assert!(report.reads_checked > 0);
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
///
/// # Errors
/// What was found.
pub fn check(plan: &Plan) -> Result<Report, Box<Failed>> {
    run(plan, Trace::hash_only()).map(|replayed| replayed.report)
}

/// Runs a plan and keeps a record of it.
///
/// ```
/// use hivemind_sim::{Plan, Show, Wanted, replay};
/// use hivemind_protocol::DroneId;
/// let wanted = Wanted {
///     drone: Some(DroneId(0)),
///     ..Wanted::default()
/// };
/// let replayed = replay(&Plan::draw(1), &Show { lines: 100, wanted })?;
/// for line in &replayed.lines {
///     println!("{line}");
/// }
/// # assert!(!replayed.lines.is_empty());
/// # Ok::<(), Box<hivemind_sim::Failed>>(())
/// ```
///
/// # Errors
/// What was found, with the record.
pub fn replay(plan: &Plan, show: &Show) -> Result<Replayed, Box<Failed>> {
    run(plan, Trace::showing(show.lines, show.wanted.clone()))
}

fn run(plan: &Plan, trace: Trace) -> Result<Replayed, Box<Failed>> {
    let mut run = Run::new(plan.clone(), trace);
    let result = catching(|| run.finish());
    let lines = run.trace().lines().map(str::to_owned).collect();
    let entries = run.trace().entries();
    match result.or_else(|finding| excuse(plan, &run, finding)) {
        Ok(report) => Ok(Replayed {
            report,
            lines,
            entries,
        }),
        Err(finding) => Err(Box::new(Failed {
            seed: plan.seed,
            finding,
            lines,
            standing: run.standing(),
            hostile: plan.world.hostility.is_some(),
            entries,
        })),
    }
}

/// What may be found in a hostile world. A madman's lies may be believed, and his own core may stumble over what it is
/// told then; that a correct drone panics, or that all go on for ever, is found in every world.
fn excuse(plan: &Plan, run: &Run, finding: Finding) -> Verdict<Report> {
    let Some(hostility) = plan.world.hostility else {
        return Err(finding);
    };
    let excused = match finding.rule {
        "a panic" => hostility.liar() == Some(run.driven()),
        "no progress" => false,
        _ => matches!(hostility, Hostility::Madman(..)),
    };
    if !excused {
        return Err(finding);
    }
    let mut report = run.report();
    let hostilities = &mut report.hostilities;
    if hostilities.detected == 0 {
        (hostilities.harmless, hostilities.believed) = (0, 1);
    }
    Ok(report)
}

/// Does something that drives cores; a panic of theirs is a finding.
pub(crate) fn catching<T>(what: impl FnOnce() -> Verdict<T>) -> Verdict<T> {
    listen_to_panics();
    SIMULATING.set(true);
    let result = catch_unwind(AssertUnwindSafe(what));
    SIMULATING.set(false);
    result.unwrap_or_else(|_| Err(Finding::new("a panic", PANICKED.take())))
}

/// Panics while simulating are kept instead of printed.
fn listen_to_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if SIMULATING.get() {
                PANICKED.set(info.to_string());
            } else {
                before(info);
            }
        }));
    });
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{}", self.standing)?;
        writeln!(f, "found: {}", self.finding)?;
        write!(f, "replay: {}", self.command())
    }
}

impl Failed {
    /// The command that replays it.
    ///
    /// ```
    /// use hivemind_sim::{Deed, Item, Plan, Touch, check};
    #[doc = racing!()]
    /// let failed = check(&plan).expect_err("the program races");
    /// assert_eq!(failed.command(), format!("cargo xtask sim --seed {}", plan.seed));
    /// ```
    pub fn command(&self) -> String {
        let hostile = if self.hostile { " --hostile" } else { "" };
        format!("cargo xtask sim{hostile} --seed {}", self.seed)
    }
}

impl std::error::Error for Failed {}
