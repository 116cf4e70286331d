//! What an examination finds: a fact, whether it is as it should be, and what to do where it isn't.

use serde::{Deserialize, Serialize};

/// How it stands with something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// A job runs, and not as well as it could.
    Warning,
    /// A job doesn't run.
    Failure,
}

impl State {
    /// The word that people read.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One line of an examination.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) subject: String,
    pub(crate) state: State,
    /// What was found.
    pub(crate) fact: String,
    /// What to do; empty where nothing need be done.
    pub(crate) remedy: String,
}

impl Finding {
    /// All is well.
    pub(crate) fn ok(subject: &str, fact: impl Into<String>) -> Self {
        Self::new(subject, State::Ok, fact, "")
    }

    /// Something that isn't as it should be.
    pub(crate) fn new(
        subject: &str,
        state: State,
        fact: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            subject: subject.to_owned(),
            state,
            fact: fact.into(),
            remedy: remedy.into(),
        }
    }

    /// Of a sentence that says what is wrong and, behind its last semicolon, what to do.
    pub(crate) fn complaint(subject: &str, state: State, sentence: &str) -> Self {
        let (fact, remedy) = sentence.rsplit_once("; ").unwrap_or((sentence, ""));
        Self::new(subject, state, fact, remedy)
    }
}

/// What was found out about one host, or about the way between two.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Chart {
    /// The host, or both.
    pub(crate) host: String,
    pub(crate) findings: Vec<Finding>,
}

impl Chart {
    /// The worst that was found.
    pub(crate) fn state(&self) -> State {
        let states = self.findings.iter().map(|finding| finding.state);
        states.max().unwrap_or(State::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_split_into_what_is_wrong_and_what_to_do() {
        let finding =
            Finding::complaint("disk", State::Failure, "it is full; or nearly; make room");
        assert_eq!(finding.fact, "it is full; or nearly");
        assert_eq!(finding.remedy, "make room");
        let bare = Finding::complaint("disk", State::Failure, "it is full");
        assert_eq!(
            (bare.fact.as_str(), bare.remedy.as_str()),
            ("it is full", "")
        );
    }

    #[test]
    fn the_worst_finding_says_how_a_host_stands() {
        let chart = |states: &[State]| Chart {
            host: "a".into(),
            findings: states
                .iter()
                .map(|&state| Finding::new("x", state, "", ""))
                .collect(),
        };
        assert_eq!(chart(&[]).state(), State::Ok);
        assert_eq!(
            chart(&[State::Note, State::Failure, State::Ok]).state(),
            State::Failure
        );
        assert_eq!(chart(&[State::Ok, State::Warning]).state(), State::Warning);
    }
}
