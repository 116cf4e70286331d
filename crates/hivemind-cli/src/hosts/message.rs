//! What launcher and agent say to each other. The words travel as JSON in frames.
//!
//! The key of a job, and the word by which a guest is known in a measurement, are
//! in here and nowhere else between two hosts: not in arguments, not in the environment.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::doctor::exam::Wish;
use crate::doctor::finding::Finding;
use crate::doctor::network;
use crate::ending::Ending;
use crate::hive_file::Ports;
use crate::plan::Plan;

/// The version of these words. An agent of another one is refused.
pub(crate) const VERSION: u32 = 3;

/// What the launcher wants of an agent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Say whether a job could run there. Answered by [`Word::Checked`].
    Check(Question),
    /// Store a program, whose pieces follow. Answered by [`Word::Stored`].
    Store(Program),
    /// Find a program that should be there, and look whether it could run. Answered by [`Word::Stored`].
    Find(Program),
    /// Start drones. Answered by [`Word::Started`] or [`Word::Refused`].
    Launch(Box<Launch>),
    /// Where drone 0 of another host is met.
    Root(String),
    /// Send this signal to all drones.
    Signal(i32),
    /// So many bytes of this stream were passed on.
    Passed { stream: usize, bytes: usize },
    /// Drone 0's input has ended.
    InputEnds,
    /// Here I am.
    Alive,
    /// Bury the drones, send what they reported, and end. Answered by [`Word::Finished`].
    Finish,
    /// Remove what dead jobs left behind, and all programs. Answered by [`Word::Cleaned`].
    Clean,
    /// Examine the machine. Answered by [`Word::Examined`].
    Examine(Wish),
    /// Tell the time. Answered by [`Word::Clock`].
    Clock,
    /// Open a door for another host's measurement. Answered by [`Word::Opened`].
    Open {
        address: Option<IpAddr>,
        ports: Option<Ports>,
        word: network::Word,
    },
    /// Measure the way to another host's door. Answered by [`Word::Visited`].
    Visit {
        place: SocketAddr,
        word: network::Word,
    },
}

/// What an agent has to say.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// The first word.
    Hello(Hello),
    Checked(Answer),
    /// A program is in its place, and this is what keeps it from running.
    Stored {
        complaint: Option<String>,
    },
    Started,
    /// It can't be done; the agent ends.
    Refused(String),
    /// Where drone 0 is met.
    Root(String),
    /// So many bytes of the input were taken.
    InputTaken(usize),
    /// Nobody holds that stream of a drone any more.
    Closed {
        drone: u32,
        stream: usize,
    },
    /// A drone ended.
    Ended {
        drone: u32,
        pid: Option<i32>,
        ending: Ending,
    },
    /// The process of a drone.
    Process {
        drone: u32,
        pid: i32,
    },
    /// Here I am.
    Alive,
    /// What a drone counted.
    Report {
        drone: u32,
        text: String,
    },
    Finished,
    Cleaned {
        files: u64,
        bytes: u64,
        jobs: u64,
    },
    Examined(Vec<Finding>),
    Clock {
        unix_s: f64,
    },
    Opened {
        place: Result<SocketAddr, String>,
    },
    Visited {
        way: Result<network::Way, String>,
    },
}

/// Who an agent is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) version: u32,
    /// The release of the command that it is.
    pub(crate) release: String,
}

/// What a job would need of a host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) programs: Vec<Program>,
    /// How many drones would run there; none when programs are only copied.
    pub(crate) drones: u32,
    pub(crate) region_bytes: Option<u64>,
    /// Where others would reach it; without it the address at which ssh reached it.
    pub(crate) address: Option<IpAddr>,
    pub(crate) ports: Option<Ports>,
    /// Whether drones of other hosts must reach it.
    pub(crate) is_called: bool,
    /// Where the drones would run, if they must run there.
    pub(crate) directory: Option<PathBuf>,
}

/// A program, known by its content.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    /// Where it lies on the host, when it isn't copied.
    pub(crate) path: Option<PathBuf>,
}

/// What a host says to a question.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// What keeps the job from running there, each with a remedy.
    pub(crate) complaints: Vec<String>,
    pub(crate) warnings: Vec<String>,
    /// The programs that aren't there yet, by their place in the question.
    pub(crate) missing: Vec<usize>,
    /// Where others reach it.
    pub(crate) address: Option<IpAddr>,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
}

/// A host's part of a job.
#[derive(Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) job: String,
    pub(crate) plan: Plan,
    pub(crate) program: Program,
    /// Where the drones run: the first of these that is there, and else the user's home.
    pub(crate) directories: Vec<PathBuf>,
    /// The job's key, as its file has it.
    pub(crate) key: String,
    /// A side that is silent for this long is lost.
    pub(crate) silence_limit: Duration,
}

impl fmt::Debug for Launch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Launch")
            .field("job", &self.job)
            .field("plan", &self.plan)
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}
