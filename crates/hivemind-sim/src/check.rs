//! One seed from its number to its verdict, panics included, and its replay with a readable record.

use crate::finding::{Finding, Verdict};
use crate::plan::Plan;
use crate::run::{Report, Run};
use crate::trace::Trace;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// A plan that found something.
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
}

thread_local! {
    /// Whether a panic on this thread is a finding, not a crash.
    static SIMULATING: Cell<bool> = const { Cell::new(false) };
    static PANICKED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a plan without a record.
///
/// # Errors
/// What was found.
pub fn check(plan: &Plan) -> Result<Report, Box<Failed>> {
    run(plan, Trace::hash_only())
}

/// Runs a plan and keeps the last `lines` lines of its record.
///
/// # Errors
/// What was found, with the record.
pub fn replay(plan: &Plan, lines: usize) -> Result<Report, Box<Failed>> {
    run(plan, Trace::recording(lines))
}

fn run(plan: &Plan, trace: Trace) -> Result<Report, Box<Failed>> {
    let mut run = Run::new(plan.clone(), trace);
    let finding = match catching(|| run.to_end()) {
        Ok(report) => return Ok(report),
        Err(finding) => finding,
    };
    let lines = run.trace().lines().map(str::to_owned).collect();
    Err(Box::new(Failed {
        seed: plan.seed,
        finding,
        lines,
        standing: run.standing(),
    }))
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
        write!(f, "replay: cargo xtask sim --seed {}", self.seed)
    }
}

impl std::error::Error for Failed {}
