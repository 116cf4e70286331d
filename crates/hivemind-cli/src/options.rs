//! The command line: every option, its environment variable and its help. What the values mean to a job
//! is decided in `run` and `limits`.
//!
//! The options about hosts, which several subcommands share, are in `hosts`; the words that options take, in `words`.

mod hosts;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::hive_file::HiveFile;
pub(crate) use hosts::HostOptions;
pub(crate) use words::{Bind, Color, Economy, Encrypt, Engine, Launcher, Transport};

use hivemind::settings::{
    self, MAX_DRONES, MAX_THREADS, parse_size, parse_time, show_size, show_time,
};

use crate::trace::Trace;

/// One shared memory for a program that runs as many processes.
#[derive(Parser, Debug)]
#[command(name = "hivemind", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Colours in output: auto colours on a terminal, unless NO_COLOR is set.
    #[arg(
        long,
        global = true,
        env = "HIVEMIND_COLOR",
        value_enum,
        default_value = "auto",
        value_name = "WHEN"
    )]
    pub(crate) color: Color,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Run(Run),
    #[command(subcommand)]
    Trace(Trace),
    Deploy(Deploy),
    Clean(Clean),
    Doctor(Doctor),
    /// Print the completions of a shell.
    ///
    /// For bash: hivemind completions bash > ~/.local/share/bash-completion/completions/hivemind
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages into a directory, or print that of the command itself.
    ///
    /// For man: hivemind man ~/.local/share/man/man1
    Man {
        /// The directory; it must be there.
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Measure the shared memory against its floors, on this machine; --help tells more.
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "OPTIONS"
        )]
        arguments: Vec<OsString>,
    },
    /// Compile and link a C program with the library: the system's cc (or HIVEMIND_CC) with what it needs.
    ///
    /// All arguments are the compiler's. With --show first, the command is printed and not run.
    #[command(disable_help_flag = true)]
    Cc {
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENTS"
        )]
        arguments: Vec<OsString>,
    },
    /// The same for C++: c++ (or HIVEMIND_CXX).
    #[command(name = "c++", disable_help_flag = true)]
    Cxx {
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENTS"
        )]
        arguments: Vec<OsString>,
    },
    /// The same for Fortran: gfortran (or HIVEMIND_FC); a program says `include 'hivemind.f90'` first.
    #[command(disable_help_flag = true)]
    Fc {
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENTS"
        )]
        arguments: Vec<OsString>,
    },
    /// Print the JSON Schema of hive files.
    Schema,
}

/// Run a program on several drones, of this machine or of several hosts.
///
/// Every drone is a process of PROGRAM. Together they have one shared memory. Lines that they print get
/// their drone's number in front; standard input goes to drone 0.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, after_long_help = LONG_HELP)]
pub(crate) struct Run {
    /// How many drones to start [default: as many as the hosts have places, or the allocation of Slurm has tasks].
    #[arg(short = 'n', long, env = "HIVEMIND_DRONES", value_name = "N", value_parser = drones)]
    pub(crate) drones: Option<u32>,

    /// How many threads each drone uses [default: the cores of its machine divided by its drones].
    #[arg(long, env = "HIVEMIND_THREADS", value_name = "T", value_parser = threads)]
    pub(crate) threads: Option<u32>,

    /// How page faults are caught [default: auto, the fastest that the machine allows].
    #[arg(long, env = "HIVEMIND_ENGINE", value_enum)]
    pub(crate) engine: Option<Engine>,

    /// Size of the shared memory, as in 64M or 8GiB.
    #[arg(help = with_default("Size of the shared memory, as in 64M or 8GiB", show_size(settings::REGION_BYTES)), long, env = "HIVEMIND_REGION", value_name = "SIZE", value_parser = parse_size)]
    pub(crate) region: Option<u64>,

    /// Say at the end what the shared memory did: a table, or JSON into a file.
    #[arg(
        long,
        env = "HIVEMIND_STATS",
        value_name = "json:FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "table",
        value_parser = stats
    )]
    pub(crate) stats: Option<Stats>,

    /// End a drone that waits longer than this for an answer.
    #[arg(help = with_default("End a drone that waits longer than this for an answer", show_time(settings::WAIT_LIMIT)), long, env = "HIVEMIND_WAIT_LIMIT", value_name = "TIME", value_parser = parse_time)]
    pub(crate) wait_limit: Option<Duration>,

    /// Call a drone lost that gives no sign of life for this long.
    #[arg(help = with_default("Call a drone lost that gives no sign of life for this long", show_time(settings::SILENCE_LIMIT)), long, env = "HIVEMIND_SILENCE_LIMIT", value_name = "TIME", value_parser = parse_time)]
    pub(crate) silence_limit: Option<Duration>,

    /// Give up when not all drones are together after this long.
    #[arg(help = with_default("Give up when not all drones are together after this long", show_time(settings::START_TIMEOUT)), long, env = "HIVEMIND_START_TIMEOUT", value_name = "TIME", value_parser = parse_time)]
    pub(crate) start_timeout: Option<Duration>,

    /// How much memory a drone's bookkeeping may take before it is tidied up.
    #[arg(help = with_default("How much memory a drone's bookkeeping may take before it is tidied up", show_size(settings::METADATA_LIMIT_BYTES)), long, env = "HIVEMIND_METADATA_LIMIT", value_name = "SIZE", value_parser = parse_size)]
    pub(crate) metadata_limit: Option<u64>,

    /// Write what each drone does into a log d0.log, d1.log … in this directory: see `hivemind trace`.
    #[arg(long, env = "HIVEMIND_TRACE", value_name = "DIR")]
    pub(crate) trace: Option<PathBuf>,

    /// How long the log of a trace may become; what comes after is only counted.
    #[arg(help = with_default("How long each log of a trace may become; what comes after is only counted", show_size(settings::TRACE_LIMIT_BYTES)), long, env = "HIVEMIND_TRACE_LIMIT", value_name = "SIZE", value_parser = parse_size)]
    pub(crate) trace_limit: Option<u64>,

    /// Which links between drones are encrypted. Never is unsafe: whoever sits on the path can read and change what
    /// the drones share.
    #[arg(
        help = "Which links between drones are encrypted: auto spares those within a machine; never is unsafe against \
                  whoever sits on the path [default: auto]",
        long,
        env = "HIVEMIND_ENCRYPT",
        value_enum,
        value_name = "WHEN"
    )]
    pub(crate) encrypt: Option<Encrypt>,

    /// What carries links between drones.
    #[arg(
        help = "What carries links between drones: auto takes shared memory between drones of one machine where they can \
                  share any, shared insists on it, tcp is TCP everywhere [default: auto]",
        long,
        env = "HIVEMIND_TRANSPORT",
        value_enum,
        value_name = "WHAT"
    )]
    pub(crate) transport: Option<Transport>,

    /// What each drone is bound to.
    #[arg(
        help = "What each drone is bound to: its share of its machine's cores where there is one core for each drone at least, or \
                  nothing [default: cores]",
        long,
        env = "HIVEMIND_BIND",
        value_enum,
        value_name = "WHAT"
    )]
    pub(crate) bind: Option<Bind>,

    /// For how many others a drone waits at a barrier: wider hives wait in a tree [default: 16].
    #[arg(long, env = "HIVEMIND_FAN_OUT", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DRONES)), value_name = "N")]
    pub(crate) fan_out: Option<u32>,

    /// Leave out ways of saving messages and faults, to measure what they bring.
    #[arg(
        long,
        env = "HIVEMIND_WITHOUT",
        value_enum,
        value_delimiter = ',',
        value_name = "LIST"
    )]
    pub(crate) without: Vec<Economy>,

    /// Print lines as they come, without the drone's number.
    #[arg(long, env = "HIVEMIND_NO_PREFIX", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) no_prefix: bool,

    /// Print what would be started, and start nothing.
    #[arg(long, env = "HIVEMIND_DRY_RUN", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) dry_run: bool,

    /// Who starts the drones: auto takes srun inside an allocation of Slurm, and else this machine.
    #[arg(
        long,
        env = "HIVEMIND_LAUNCHER",
        value_enum,
        default_value = "auto",
        value_name = "WHO"
    )]
    pub(crate) launcher: Launcher,

    /// Copy nothing: this command and the program lie at the same paths on all hosts.
    #[arg(long, env = "HIVEMIND_NO_COPY", value_parser = clap::builder::FalseyValueParser::new(), help_heading = "Hosts")]
    pub(crate) no_copy: bool,

    /// Where drones run on the hosts [default: the same directory as here where a host has it, else the home].
    #[arg(
        long,
        env = "HIVEMIND_DIRECTORY",
        value_name = "DIR",
        help_heading = "Hosts"
    )]
    pub(crate) directory: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) hosts: HostOptions,

    /// The program and its arguments: a path, or a name that is looked up beside this command, then in PATH.
    #[arg(required = true, trailing_var_arg = true, value_names = ["PROGRAM", "ARGS"])]
    pub(crate) command: Vec<OsString>,
}

/// Copy programs to hosts, so that runs there start at once.
///
/// A run copies by itself what is missing. A host that has a program's very content already is left alone.
#[derive(Args, Debug)]
pub(crate) struct Deploy {
    #[command(flatten)]
    pub(crate) hosts: HostOptions,

    /// The programs: paths, or names that are looked up beside this command, then in PATH.
    #[arg(required = true, value_name = "PROGRAM")]
    pub(crate) programs: Vec<OsString>,
}

/// Remove copied programs and what dead jobs left behind on hosts.
///
/// A host on which a job runs is left alone and said.
#[derive(Args, Debug)]
pub(crate) struct Clean {
    #[command(flatten)]
    pub(crate) hosts: HostOptions,
}

/// Look whether this machine, or hosts, can run a job, and say what to do where they can't.
///
/// Looks at the kernel and its fault engines, memory, limits, places to write, ports, ssh, releases, the libraries of
/// programs, clocks, and at the way between each two hosts. Starts no drone. The exit status is 1 where a job would not run.
#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// For how many drones [default: one a host].
    #[arg(short = 'n', long, env = "HIVEMIND_DRONES", value_name = "N", value_parser = drones)]
    pub(crate) drones: Option<u32>,

    /// How page faults shall be caught [default: auto].
    #[arg(long, env = "HIVEMIND_ENGINE", value_enum)]
    pub(crate) engine: Option<Engine>,

    /// For a shared memory of this size.
    #[arg(long, env = "HIVEMIND_REGION", value_name = "SIZE", value_parser = parse_size)]
    pub(crate) region: Option<u64>,

    /// Write what was found to FILE: a list of objects with host and findings.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Measure no ways between hosts.
    #[arg(long)]
    pub(crate) no_network: bool,

    #[command(flatten)]
    pub(crate) hosts: HostOptions,

    /// Programs that shall run: paths, or names as `run` takes them. They are copied to the hosts.
    #[arg(value_name = "PROGRAM")]
    pub(crate) programs: Vec<OsString>,
}

impl Run {
    /// Whether drones are asked for their statistics.
    pub(crate) fn reports(&self) -> bool {
        matches!(self.stats, Some(Stats::Table | Stats::Json(_)))
    }

    /// The options with a hive file's settings where neither the command line nor the environment has one. What may
    /// differ from host to host stays with the hosts.
    pub(crate) fn filled_from(mut self, file: &HiveFile) -> Self {
        let timeouts = &file.timeouts;
        self.drones = self.drones.or(file.drones);
        self.engine = self.engine.or(file.engine);
        self.encrypt = self.encrypt.or(file.encrypt);
        self.transport = self.transport.or(file.transport);
        self.bind = self.bind.or(file.bind);
        self.region = self.region.or(file.region.map(|size| size.0));
        self.metadata_limit = self
            .metadata_limit
            .or(file.metadata_limit.map(|size| size.0));
        self.trace = self.trace.or_else(|| file.trace.clone());
        self.wait_limit = self.wait_limit.or(timeouts.wait.map(|time| time.0));
        self.silence_limit = self.silence_limit.or(timeouts.silence.map(|time| time.0));
        self.start_timeout = self.start_timeout.or(timeouts.start.map(|time| time.0));
        self
    }
}

/// What is done with the drones' statistics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stats {
    Off,
    Table,
    Json(PathBuf),
}

/// The help of an option whose default the library knows: it is not handed on where nobody sets it.
fn with_default(help: &str, default: String) -> String {
    format!("{help} [default: {default}]")
}

fn drones(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(0) => Err("a hive needs at least one drone".into()),
        Ok(number) if number <= MAX_DRONES => Ok(number),
        _ => Err(format!("write a number from 1 to {MAX_DRONES}")),
    }
}

fn threads(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(number @ 1..=MAX_THREADS) => Ok(number),
        _ => Err(format!("write a number from 1 to {MAX_THREADS}")),
    }
}

fn stats(text: &str) -> Result<Stats, String> {
    match text.trim() {
        "table" | "on" | "1" | "yes" | "true" => Ok(Stats::Table),
        "off" | "0" | "no" | "false" | "" => Ok(Stats::Off),
        other => match other.strip_prefix("json:") {
            Some(file) if !file.is_empty() => Ok(Stats::Json(file.into())),
            _ => Err("write --stats for a table, or --stats=json:FILE".into()),
        },
    }
}

const EXAMPLES: &str = "\
Examples:
  hivemind run -n 4 jacobi --check          a shipped program on four drones
  hivemind run -n 2 --stats ./my-program    your own, with a table at the end
  hivemind run -n 8 --engine mprotect pi    another way to catch page faults
  hivemind run --hosts a,b:4 jacobi         one drone on host a, four on b
  hivemind run --hive hive.toml ./prog      hosts and settings from a file
  hivemind run -n 4 --dry-run tsp FILE      what would be started";

const LONG_HELP: &str = "\
Examples:
  hivemind run -n 4 jacobi --check          a shipped program on four drones
  hivemind run -n 2 --stats ./my-program    your own, with a table at the end
  hivemind run -n 8 --engine mprotect pi    another way to catch page faults
  hivemind run --hosts a,b:4 jacobi         one drone on host a, four on b
  hivemind run --hive hive.toml ./prog      hosts and settings from a file
  hivemind run -n 4 --dry-run tsp FILE      what would be started

Options of the program follow it and reach it untouched. Every option of this command can also be given by
its environment variable; the command line wins.

When a drone fails, all others are ended within two seconds and one sentence says which drone it was and how
it ended. The exit status is that drone's (128 and the signal's number when a signal killed it), and 0 when
all drones gave 0. The command's own: 2 wrong options, 69 a host can't take part or is lost, 71 the machine refuses, 74 output cannot be written,
126 not executable, 127 not found, 129, 130 and 143 when SIGHUP, Ctrl-C or SIGTERM ended the job.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::ValueEnum;

    fn run(words: &[&str]) -> Run {
        let words = ["hivemind", "run"].iter().chain(words);
        match Options::try_parse_from(words)
            .expect("the command line is right")
            .command
        {
            Command::Run(run) => run,
            other => panic!("{other:?} is no run"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn options_after_the_program_belong_to_it() {
        let run = run(&["-n", "2", "prog", "-n", "5", "--stats", "--help", "--", "x"]);
        assert_eq!(run.drones, Some(2));
        assert_eq!(run.stats, None);
        assert_eq!(
            run.command,
            ["prog", "-n", "5", "--stats", "--help", "--", "x"]
        );
    }

    #[test]
    fn stats_takes_its_value_only_behind_an_equals_sign() {
        assert_eq!(run(&["-n1", "--stats", "prog"]).stats, Some(Stats::Table));
        assert_eq!(
            run(&["-n1", "--stats=json:out.json", "prog"]).stats,
            Some(Stats::Json("out.json".into()))
        );
        assert!(
            Options::try_parse_from(["hivemind", "run", "-n1", "--stats=json", "prog"]).is_err()
        );
    }

    #[test]
    fn the_help_tells_the_library_s_defaults() {
        let mut command = Options::command();
        let run = command.find_subcommand_mut("run").expect("it is there");
        let help = run.render_help().to_string();
        // Its lines are broken anywhere.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for default in ["1GiB", "24h", "30s", "1MiB", "16MiB"] {
            assert!(
                help.contains(&format!("[default: {default}]")),
                "{default}: {help}"
            );
        }
    }

    #[test]
    fn each_engine_of_the_library_can_be_asked_for() {
        let asked = Engine::value_variants().iter().map(|engine| {
            let word = engine.to_possible_value().expect("none is hidden");
            assert_eq!(word.get_name(), engine.name());
            engine.name().to_owned()
        });
        let there = hivemind::fault_engines()
            .into_iter()
            .map(|engine| engine.name);
        assert!(asked.eq(std::iter::once("auto".to_owned()).chain(there)));
    }

    #[test]
    fn unknown_options_and_odd_drones_are_refused() {
        for words in [
            ["-n", "2", "--nonsense", "prog"],
            ["-n", "0", "--stats", "prog"],
            ["-n", "65537", "--stats", "prog"],
            ["-n", "2", "--engine=magic", "prog"],
            ["-n", "2", "--encrypt=sometimes", "prog"],
            ["-n", "2", "--transport=pigeons", "prog"],
            ["-n", "2", "--region=big", "prog"],
        ] {
            let words = ["hivemind", "run"].iter().chain(&words);
            assert!(Options::try_parse_from(words).is_err());
        }
    }
}
