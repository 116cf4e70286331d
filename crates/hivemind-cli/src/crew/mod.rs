//! The drones of a job, wherever they run: what a job can do with them, and what they have to tell.
//!
//! Drones of this machine are in `here`, those of other hosts in `there`, those that Slurm starts in `srun`. None decides anything: who is to
//! blame and when all end is the business of `job`.

pub(crate) mod here;
pub(crate) mod srun;
pub(crate) mod there;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::process::Signal;

use crate::ending::Ending;
use crate::local::Input;
use crate::plan::Plan;
use crate::run::refused;
use crate::trouble::Trouble;
use here::Here;
use srun::Srun;
use there::There;

/// What a crew waits for is numbered below this; what its owner waits for, above.
pub(crate) const TOKENS: u64 = 1 << 32;

/// How long after SIGKILL a process that hangs in the kernel is given up.
const LAST_WAIT: Duration = Duration::from_millis(500);
/// The same where a network is in between.
const LAST_WAIT_THERE: Duration = Duration::from_secs(2);
/// The same where Slurm ends drones: by default it gives a step half a minute.
const LAST_WAIT_SRUN: Duration = Duration::from_secs(40);

/// What became known.
#[derive(Debug)]
pub(crate) enum News {
    /// A drone wrote to one of its streams.
    Printed {
        drone: u32,
        stream: usize,
        bytes: Vec<u8>,
    },
    /// Nobody holds that stream any more.
    Closed { drone: u32, stream: usize },
    /// A drone ended. What it printed before has been told.
    Ended {
        drone: u32,
        /// Where it is known.
        pid: Option<i32>,
        /// Where, if not here.
        host: Option<Arc<str>>,
        ending: Ending,
    },
    /// A host is lost, and its drones with it.
    HostLost {
        host: Arc<str>,
        why: String,
        drones: Vec<u32>,
    },
    /// ssh or the agent of a host printed a line, or Slurm did.
    Said { who: Arc<str>, line: String },
    /// What starts the drones failed by itself.
    StarterFailed { name: Arc<str>, ending: Ending },
}

/// All drones of a job.
#[derive(Debug)]
pub(crate) enum Crew {
    /// All on this machine, as this plan has it.
    Here { here: Here, plan: Plan },
    /// All on hosts.
    There(There),
    /// All where Slurm has put them.
    Srun(Srun),
}

impl Crew {
    /// Starts all drones. `epoll` is where their tokens will come up.
    ///
    /// # Errors
    /// Which drone could not be started and the system's refusal; those begun stay in the crew.
    pub(crate) fn start(&mut self, directory: &Path, epoll: &OwnedFd) -> Result<(), Trouble> {
        match self {
            Self::Here { here, plan } => {
                here.start(plan, directory, Input::Own, epoll)
                    .map_err(|(drone, error)| {
                        refused(&format!("drone {drone} of {}", plan.ranks.len()), &error)
                    })
            }
            Self::There(there) => there
                .start(epoll)
                .map_err(|error| refused("waiting for hosts", &error)),
            Self::Srun(srun) => srun.start(epoll).map_err(|error| refused("srun", &error)),
        }
    }

    /// How many drones there are.
    pub(crate) fn count(&self) -> u32 {
        match self {
            Self::Here { here, .. } => here.count(),
            Self::There(there) => there.count(),
            Self::Srun(srun) => srun.count(),
        }
    }

    /// Something happened to what has this token.
    pub(crate) fn hear(&mut self, token: u64, news: &mut Vec<News>) {
        match self {
            Self::Here { here, .. } => here.hear(token, news),
            Self::There(there) => there.hear(token, news),
            Self::Srun(srun) => srun.hear(token, news),
        }
    }

    /// A process of this machine ended.
    pub(crate) fn look_for_ends(&mut self, news: &mut Vec<News>) {
        match self {
            Self::Here { here, .. } => here.look_for_ends(news),
            // The end of an ssh is seen on its pipes.
            Self::There(_) => {}
            Self::Srun(srun) => srun.look_for_ends(news),
        }
    }

    /// When the crew itself wants to look at the clock.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Here { .. } | Self::Srun(_) => None,
            Self::There(there) => there.deadline(),
        }
    }

    /// Does what is due by now.
    pub(crate) fn look_at_clock(&mut self, now: Instant, news: &mut Vec<News>) {
        match self {
            Self::Here { .. } | Self::Srun(_) => {}
            Self::There(there) => there.look_at_clock(now, news),
        }
    }

    /// Sends a signal to all drones and all that they have started.
    pub(crate) fn signal_all(&mut self, signal: Signal) {
        match self {
            Self::Here { here, .. } => here.signal_all(signal),
            Self::There(there) => there.signal_all(signal),
            Self::Srun(srun) => srun.signal_all(signal),
        }
    }

    /// Lets drones wait that write to this stream, or go on.
    pub(crate) fn pause(&mut self, stream: usize, pause: bool, epoll: &OwnedFd) {
        match self {
            Self::Here { here, .. } => here.pause(stream, pause, epoll),
            Self::There(there) => there.pause(stream, pause),
            Self::Srun(srun) => srun.pause(stream, pause, epoll),
        }
    }

    /// A drone as a sentence names it: its number, its process, and its host if it isn't here.
    pub(crate) fn name(&self, drone: u32) -> String {
        match self {
            Self::Here { here, .. } => here.name(drone),
            Self::There(there) => there.name(drone),
            Self::Srun(_) => drone.to_string(),
        }
    }

    /// How long after SIGKILL a drone is waited for.
    pub(crate) fn last_wait(&self) -> Duration {
        match self {
            Self::Here { .. } => LAST_WAIT,
            Self::There(_) => LAST_WAIT_THERE,
            Self::Srun(_) => LAST_WAIT_SRUN,
        }
    }

    /// The sentence about drones that SIGKILL didn't end, by their names.
    pub(crate) fn sentence_of_stuck(&self, names: &str) -> String {
        match self {
            Self::Here { .. } => format!(
                "the kernel does not let go of drone {names}; it ends when the kernel's own operation does"
            ),
            Self::There(_) => format!(
                "nothing is heard of drone {names}; its host ends it as soon as it misses the launcher"
            ),
            Self::Srun(_) => format!(
                "Slurm has not ended drone {names} yet; `squeue --steps` shows its step and `scancel` ends it"
            ),
        }
    }

    /// All is over: ends what ended drones have left behind, frees their numbers, and has what drones of hosts
    /// counted in this directory.
    pub(crate) fn bury(&mut self, directory: &Path) {
        match self {
            Self::Here { here, .. } => here.bury(),
            Self::There(there) => there.bury(directory),
            Self::Srun(srun) => srun.bury(),
        }
    }
}

/// Adds something readable to what is waited for.
pub(crate) fn watch(
    epoll: &OwnedFd,
    source: impl std::os::fd::AsFd,
    token: u64,
) -> rustix::io::Result<()> {
    epoll::add(
        epoll,
        source,
        epoll::EventData::new_u64(token),
        epoll::EventFlags::IN,
    )
}
