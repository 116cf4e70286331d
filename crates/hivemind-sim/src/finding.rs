//! What a check says when something is wrong. How it is shown and replayed is the runner's affair.

use std::fmt;

/// Something that is wrong: in the core, or in the simulator itself.
///
/// ```
/// use hivemind_sim::{Deed, Item, Plan, Touch, check};
#[doc = racing!()]
/// let failed = check(&plan).expect_err("the program races");
/// let told = failed.finding.to_string();
/// assert!(told.starts_with(failed.finding.rule) && told.ends_with(&failed.finding.what));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Which rule was broken, in few words: findings with the same rule are of one kind.
    pub rule: &'static str,
    /// What happened, with names and numbers.
    pub what: String,
}

/// The result of a check.
pub(crate) type Verdict<T> = Result<T, Finding>;

impl Finding {
    /// A broken rule and how it was broken.
    pub(crate) fn new(rule: &'static str, what: impl Into<String>) -> Self {
        Self {
            rule,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

impl std::error::Error for Finding {}
