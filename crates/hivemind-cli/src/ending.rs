//! How drones end and who is to blame. Pure: told what ended in which order, it finds the drone whose end
//! the user must hear about, and the words for it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGABRT, SIGTERM};
use signal_hook::low_level::signal_name;

use crate::trouble;

/// What a program gives whose `main` returns an error, such as that another drone was lost.
const EXIT_OF_ERROR: i32 = 1;
/// What the library gives for a program that cannot go on in the middle of a page fault.
const EXIT_OF_LIBRARY: i32 = 75;
/// The blame of who surely is the cause.
const SURE: u8 = 4;

/// How a drone ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal.
    Killed { signal: i32, core_dumped: bool },
    /// With its host, and nobody knows how.
    Lost,
}

impl Ending {
    /// Whether it makes the job fail.
    pub(crate) fn failed(self) -> bool {
        self != Self::Exited(0)
    }

    /// The exit status as a shell shows it.
    pub(crate) fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status as u8,
            Self::Killed { signal, .. } => of_signal(signal),
            Self::Lost => trouble::HOSTS,
        }
    }

    /// How surely it is the cause and no consequence. A drone that notices the loss of another one exits
    /// with an error, or its program makes something worse of that; nobody is killed because a peer is gone.
    fn blame(self) -> u8 {
        match self {
            Self::Exited(0) => 0,
            Self::Exited(EXIT_OF_ERROR | EXIT_OF_LIBRARY) => 1,
            Self::Exited(_) => 2,
            Self::Killed {
                signal: SIGABRT, ..
            } => 3,
            Self::Killed { .. } | Self::Lost => SURE,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Exited(status) => format!("exited with status {status}"),
            Self::Killed {
                signal,
                core_dumped,
            } => {
                let core = if core_dumped { ", core dumped" } else { "" };
                format!("was killed by {}{core}", words_of_signal(signal))
            }
            Self::Lost => "was lost".into(),
        }
    }
}

/// The exit status of what a signal ended.
pub(crate) fn of_signal(signal: i32) -> u8 {
    (128 + signal) as u8
}

fn words_of_signal(signal: i32) -> String {
    match signal_name(signal) {
        Some(name) => format!("signal {signal} ({name})"),
        None => format!("signal {signal}"),
    }
}

/// Who failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    /// A drone, on a host where it isn't on this machine.
    Drone {
        drone: u32,
        /// Where it is known.
        pid: Option<i32>,
        host: Option<Arc<str>>,
    },
    /// What starts the drones of another's: srun.
    Starter { name: Arc<str> },
    /// A host with all its drones, and why it is lost.
    Host { name: Arc<str>, why: String },
}

/// A drone or host that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Culprit {
    pub(crate) who: Who,
    pub(crate) ending: Ending,
    /// How many others ran when it ended.
    pub(crate) others: usize,
}

/// Finds the drone that failed first and not only because of another.
#[derive(Default, Debug)]
pub(crate) struct Inquiry {
    culprit: Option<Culprit>,
    failures: usize,
    same_status: bool,
}

impl Inquiry {
    /// Takes the end of a drone into account. To be told in the order in which they ended, and only those
    /// that nobody ended on purpose.
    pub(crate) fn hear(&mut self, ended: Culprit) {
        if !ended.ending.failed() {
            return;
        }
        self.failures += 1;
        let Some(before) = &mut self.culprit else {
            self.culprit = Some(ended);
            self.same_status = true;
            return;
        };
        self.same_status &= before.ending == ended.ending;
        if ended.ending.blame() > before.ending.blame() {
            // The others are counted from the moment when the trouble began.
            *before = Culprit {
                others: before.others,
                ..ended
            };
        }
    }

    /// The culprit so far.
    pub(crate) fn culprit(&self) -> Option<&Culprit> {
        self.culprit.as_ref()
    }

    /// Whether no later end can change the answer.
    pub(crate) fn is_sure(&self) -> bool {
        self.culprit
            .as_ref()
            .is_some_and(|culprit| culprit.ending.blame() == SURE)
    }

    /// The sentence about it, when somebody failed in a job of so many drones.
    pub(crate) fn sentence(&self, drones: usize) -> Option<String> {
        let Culprit {
            who,
            ending,
            others,
        } = self.culprit.as_ref()?;
        let words = ending.words();
        if self.failures == drones && drones > 1 && self.same_status && !self.is_sure() {
            return Some(format!(
                "all {drones} drones {}",
                words.replacen("was", "were", 1)
            ));
        }
        let rest = match others {
            0 => String::new(),
            1 => "; ending the other drone".into(),
            _ => format!("; ending the other {others} drones"),
        };
        Some(match who {
            Who::Drone { drone, pid, host } => {
                let pid = pid.map(|pid| format!("pid {pid}"));
                let host = host.as_ref().map(|host| format!("on host {host}"));
                let place: Vec<String> = pid.into_iter().chain(host).collect();
                match place.is_empty() {
                    true => format!("drone {drone} {words}{rest}"),
                    false => format!("drone {drone} ({}) {words}{rest}", place.join(" ")),
                }
            }
            Who::Starter { name } => {
                format!("{name}, which starts the drones, {words}; look at what it said")
            }
            Who::Host { name, why } => format!("host {name} {words}: {why}{rest}"),
        })
    }
}

/// The sentence about a signal that the launcher itself got.
pub(crate) fn sentence_of_signal(signal: i32, running: usize) -> String {
    let what = if signal == SIGTERM {
        "asked to end"
    } else {
        "interrupted"
    };
    let drones = if running == 1 { "drone" } else { "drones" };
    format!(
        "{what} by {}; ending {running} {drones}",
        words_of_signal(signal)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::consts::{SIGINT, SIGKILL, SIGSEGV};

    fn killed(signal: i32) -> Ending {
        Ending::Killed {
            signal,
            core_dumped: false,
        }
    }

    fn inquiry(ends: &[(u32, Ending)]) -> Inquiry {
        let mut inquiry = Inquiry::default();
        for (before, &(drone, ending)) in ends.iter().enumerate() {
            inquiry.hear(Culprit {
                who: Who::Drone {
                    drone,
                    pid: Some(4711 + drone as i32),
                    host: None,
                },
                ending,
                others: 3 - before,
            });
        }
        inquiry
    }

    fn blamed(inquiry: &Inquiry) -> Option<u32> {
        match inquiry.culprit()?.who {
            Who::Drone { drone, .. } => Some(drone),
            Who::Host { .. } | Who::Starter { .. } => None,
        }
    }

    #[test]
    fn a_lost_host_is_named_and_comes_before_those_who_missed_it() {
        let mut inquiry = inquiry(&[(1, Ending::Exited(1))]);
        inquiry.hear(Culprit {
            who: Who::Host {
                name: "queen".into(),
                why: "ssh lost the connection".into(),
            },
            ending: Ending::Lost,
            others: 1,
        });
        assert_eq!(
            inquiry.sentence(4).as_deref(),
            Some("host queen was lost: ssh lost the connection; ending the other 3 drones")
        );
        let status = inquiry.culprit().map(|culprit| culprit.ending.status());
        assert_eq!(status, Some(trouble::HOSTS));
    }

    #[test]
    fn the_sentence_names_drone_pid_and_signal() {
        let inquiry = inquiry(&[(2, killed(SIGKILL))]);
        assert_eq!(
            inquiry.sentence(4).as_deref(),
            Some("drone 2 (pid 4713) was killed by signal 9 (SIGKILL); ending the other 3 drones")
        );
        assert_eq!(
            inquiry.culprit().map(|culprit| culprit.ending.status()),
            Some(137)
        );
    }

    #[test]
    fn a_drone_killed_by_a_signal_comes_before_those_that_noticed() {
        let noticed = [
            (0, Ending::Exited(1)),
            (1, killed(SIGABRT)),
            (3, killed(SIGKILL)),
            (2, killed(SIGSEGV)),
        ];
        let inquiry = inquiry(&noticed);
        assert_eq!(blamed(&inquiry), Some(3));
        assert!(inquiry.is_sure());
        assert!(
            inquiry
                .sentence(4)
                .is_some_and(|sentence| sentence.ends_with("other 3 drones"))
        );
    }

    #[test]
    fn a_panic_comes_before_the_errors_that_it_brings() {
        // A panicking drone lets go of its links before it ends, so others may end first.
        let inquiry = inquiry(&[(2, Ending::Exited(1)), (0, Ending::Exited(101))]);
        assert_eq!(blamed(&inquiry), Some(0));
    }

    #[test]
    fn the_first_of_equals_is_named() {
        let inquiry = inquiry(&[(3, Ending::Exited(7)), (1, Ending::Exited(9))]);
        assert_eq!(
            inquiry.culprit().map(|culprit| culprit.ending.status()),
            Some(7)
        );
        assert!(!inquiry.is_sure());
    }

    #[test]
    fn good_ends_are_no_failure() {
        let inquiry = inquiry(&[(0, Ending::Exited(0)), (1, Ending::Exited(0))]);
        assert_eq!(inquiry.sentence(4), None);
    }

    #[test]
    fn drones_that_agree_are_told_in_one_go() {
        let all: Vec<_> = (0..4).map(|drone| (drone, Ending::Exited(2))).collect();
        assert_eq!(
            inquiry(&all).sentence(4).as_deref(),
            Some("all 4 drones exited with status 2")
        );
        let alone = inquiry(&[(0, Ending::Exited(2))]);
        assert_eq!(
            alone.sentence(4).as_deref(),
            Some("drone 0 (pid 4711) exited with status 2; ending the other 3 drones")
        );
    }

    #[test]
    fn of_a_drone_that_another_started_only_the_host_may_be_known() {
        let mut inquiry = Inquiry::default();
        inquiry.hear(Culprit {
            who: Who::Drone {
                drone: 2,
                pid: None,
                host: Some("ann".into()),
            },
            ending: killed(SIGSEGV),
            others: 1,
        });
        assert_eq!(
            inquiry.sentence(2).as_deref(),
            Some("drone 2 (on host ann) was killed by signal 11 (SIGSEGV); ending the other drone")
        );
        let mut inquiry = Inquiry::default();
        inquiry.hear(Culprit {
            who: Who::Starter {
                name: "srun".into(),
            },
            ending: Ending::Exited(1),
            others: 2,
        });
        assert_eq!(
            inquiry.sentence(2).as_deref(),
            Some("srun, which starts the drones, exited with status 1; look at what it said")
        );
    }

    #[test]
    fn the_launchers_own_signals_have_words() {
        assert_eq!(
            sentence_of_signal(SIGINT, 4),
            "interrupted by signal 2 (SIGINT); ending 4 drones"
        );
    }
}
