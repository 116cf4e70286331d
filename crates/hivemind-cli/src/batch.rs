//! Inside an allocation of Slurm: whether there is one, how many drones it has room for, and the `srun` that starts them.
//! Pure; who runs it is `crew/srun.rs`.
//!
//! Drones find their place by Slurm's own variables, so none is numbered here.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

use crate::options::{Launcher, Run};
use crate::plan::{self, quoted};
use crate::trouble::{Trouble, USAGE};

/// Steps that are no job's own, such as the shell of an allocation, are numbered from here.
const FIRST_SPECIAL_STEP: u64 = 0xffff_fff0;

/// srun puts the number of its task in front of each line.
const LABEL: &str = "--label";
/// What comes now are no options of srun.
const PROGRAM_FOLLOWS: &str = "--";

/// What a drone would take for its own place if it came from whoever started the launcher.
pub(crate) const FOREIGN: [&str; 6] = [
    "HIVEMIND_RANK",
    "HIVEMIND_SIZE",
    "HIVEMIND_LOCAL_DRONES",
    "HIVEMIND_LOCAL_CORES",
    "HIVEMIND_LISTEN",
    "HIVEMIND_REPORT",
];

/// The allocation that the launcher runs in.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Allocation {
    nodes: Option<u32>,
    tasks: Option<u32>,
    cpus_per_task: Option<u32>,
}

impl Allocation {
    /// The allocation of this environment; none outside of one, and for a task of a step, whose cores are given away.
    pub(crate) fn find(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        lookup("SLURM_JOB_ID")?;
        let step = lookup("SLURM_STEP_ID").and_then(|step| step.parse::<u64>().ok());
        if step.is_some_and(|step| step < FIRST_SPECIAL_STEP) {
            return None;
        }
        let number = |name| lookup(name).and_then(|text| text.trim().parse().ok());
        Some(Self {
            nodes: number("SLURM_JOB_NUM_NODES"),
            tasks: number("SLURM_NTASKS"),
            cpus_per_task: number("SLURM_CPUS_PER_TASK"),
        })
    }

    /// How many drones: as many as tasks were asked for, or else one a host, which has all its cores.
    fn drones(&self) -> Option<u32> {
        self.tasks.or(self.nodes)
    }
}

/// Whether `srun` starts the drones: none where this machine does.
///
/// # Errors
/// It is asked for where it can't be.
pub(crate) fn choose(
    options: &Run,
    has_hosts: bool,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Option<Allocation>, Trouble> {
    let found = Allocation::find(&lookup);
    let chosen = match options.launcher {
        Launcher::Local => None,
        Launcher::Srun => Some(found.unwrap_or_default()),
        Launcher::Auto if has_hosts => None,
        Launcher::Auto => found,
    };
    if has_hosts && options.launcher != Launcher::Auto {
        return Err(Trouble::new(
            USAGE,
            "--launcher and --hosts or --hive exclude each other: hosts are reached by ssh; leave one out",
        ));
    }
    if chosen.is_some() && options.reports() {
        return Err(Trouble::new(
            USAGE,
            "--stats cannot be had from drones that srun starts; leave it out, or take --launcher local or --hosts",
        ));
    }
    Ok(chosen)
}

/// A job that `srun` starts.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// How many drones.
    pub(crate) drones: u32,
    /// `srun` with all its words.
    pub(crate) command: Vec<OsString>,
    /// What is said to every drone.
    pub(crate) environment: Vec<(String, OsString)>,
}

impl Batch {
    /// The job that the options ask for.
    ///
    /// # Errors
    /// Nobody says how many drones.
    pub(crate) fn new(
        options: &Run,
        program: &OsStr,
        job: &str,
        terminal: bool,
        allocation: &Allocation,
    ) -> Result<Self, Trouble> {
        let drones = options.drones.or(allocation.drones()).ok_or_else(|| {
            Trouble::new(
                USAGE,
                "say how many drones srun shall start, by -n N: there is no allocation here that says it",
            )
        })?;
        let mut command: Vec<OsString> = ["srun", "--export=ALL", "--kill-on-bad-exit=1"]
            .map(Into::into)
            .to_vec();
        command.push(format!("--ntasks={drones}").into());
        if let Some(nodes) = allocation.nodes {
            command.push(format!("--nodes={}", nodes.min(drones)).into());
        }
        if let Some(cores) = allocation.cpus_per_task {
            command.push(format!("--cpus-per-task={cores}").into());
        }
        // Without it all drones would read what drone 0 shall.
        command.push("--input=0".into());
        if !options.no_prefix {
            command.push(LABEL.into());
        }
        command.push(PROGRAM_FOLLOWS.into());
        command.push(program.into());
        command.extend_from_slice(&options.command[1..]);
        let mut environment = plan::settings(options, job, terminal);
        if let Some(threads) = options.threads {
            for name in ["HIVEMIND_THREADS", "RAYON_NUM_THREADS"] {
                environment.push((name.to_owned(), threads.to_string().into()));
            }
        }
        Ok(Self {
            drones,
            command,
            environment,
        })
    }

    /// Whether the number of its task stands in front of each line.
    pub(crate) fn is_labelled(&self) -> bool {
        let own = self
            .command
            .iter()
            .take_while(|word| **word != PROGRAM_FOLLOWS);
        own.into_iter().any(|word| word == LABEL)
    }

    /// The job to read, as `--dry-run` shows it.
    pub(crate) fn show(&self) -> String {
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        let mut text = String::new();
        let _ = writeln!(text, "command    {}", words.join(" "));
        let _ = writeln!(text, "drones     {}, placed by Slurm", self.drones);
        let _ = writeln!(text, "\nenvironment of all drones");
        for (name, value) in &self.environment {
            let _ = writeln!(text, "  {name}={}", quoted(value));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Command, Options};
    use clap::Parser;

    const SCRIPT: [(&str, &str); 4] = [
        ("SLURM_JOB_ID", "17"),
        ("SLURM_PROCID", "0"),
        ("SLURM_JOB_NUM_NODES", "2"),
        ("SLURM_CPUS_PER_TASK", "8"),
    ];

    fn run(words: &[&str]) -> Run {
        let words = ["hivemind", "run"].iter().chain(words);
        match Options::try_parse_from(words).expect("right words").command {
            Command::Run(run) => run,
            other => panic!("{other:?} is no run"),
        }
    }

    fn chosen(words: &[&str], variables: &[(&str, &str)]) -> Result<Option<Allocation>, String> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let options = run(words);
        let has_hosts = !options.hosts.hosts.is_empty();
        choose(&options, has_hosts, lookup).map_err(|trouble| trouble.to_string())
    }

    fn batch(words: &[&str], variables: &[(&str, &str)]) -> Result<Batch, String> {
        let allocation = chosen(words, variables)?.expect("an allocation");
        Batch::new(&run(words), "/bin/prog".as_ref(), "job", false, &allocation)
            .map_err(|trouble| trouble.to_string())
    }

    fn words(batch: &Batch) -> String {
        let words: Vec<String> = batch.command.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    }

    #[test]
    fn srun_is_taken_inside_an_allocation_and_not_inside_a_step() {
        assert!(chosen(&["prog"], &SCRIPT).expect("right").is_some());
        assert!(chosen(&["prog"], &[]).expect("right").is_none());
        let step = |number| [&SCRIPT[..], &[("SLURM_STEP_ID", number)]].concat();
        assert!(chosen(&["prog"], &step("0")).expect("right").is_none());
        let shell = chosen(&["prog"], &step("4294967290"));
        assert!(shell.expect("right").is_some());
    }

    #[test]
    fn one_can_say_no_and_yes() {
        let local = chosen(&["--launcher=local", "prog"], &SCRIPT);
        assert_eq!(local, Ok(None));
        let hosts = chosen(&["--hosts=a,b", "prog"], &SCRIPT);
        assert_eq!(hosts, Ok(None));
        assert!(
            chosen(&["--launcher=srun", "prog"], &[])
                .expect("right")
                .is_some()
        );
        for launcher in ["local", "srun"] {
            let why = chosen(&["--launcher", launcher, "--hosts=a", "prog"], &[]);
            assert!(why.expect_err("both").contains("exclude each other"));
        }
        let why = chosen(&["--stats", "prog"], &SCRIPT).expect_err("no statistics");
        assert!(why.contains("--launcher local"), "{why}");
    }

    #[test]
    fn the_number_of_drones_is_told_or_that_of_tasks_or_of_hosts() {
        let told = batch(&["-n5", "prog"], &SCRIPT).expect("right");
        assert_eq!(told.drones, 5);
        let tasks = [&SCRIPT[..], &[("SLURM_NTASKS", "6")]].concat();
        assert_eq!(batch(&["prog"], &tasks).expect("right").drones, 6);
        assert_eq!(batch(&["prog"], &SCRIPT).expect("right").drones, 2);
        let why = batch(&["--launcher=srun", "prog"], &[]).expect_err("nobody says");
        assert!(why.contains("-n N"), "{why}");
    }

    #[test]
    fn srun_gets_what_the_allocation_says_and_the_program_its_own_words() {
        let job = batch(&["-n4", "--threads=3", "prog", "-x", "it's"], &SCRIPT).expect("right");
        let wanted = r"srun --export=ALL --kill-on-bad-exit=1 --ntasks=4 --nodes=2 --cpus-per-task=8 --input=0 --label -- /bin/prog -x 'it'\''s'";
        assert_eq!(words(&job), wanted);
        let one = batch(&["-n1", "--no-prefix", "prog"], &SCRIPT).expect("right");
        assert!(words(&one).contains("--ntasks=1 --nodes=1 "));
        assert!(!words(&one).contains("--label"));
        let names: Vec<&str> = job.environment.iter().map(|(name, _)| &**name).collect();
        assert!(names.contains(&"HIVEMIND_JOB") && names.contains(&"RAYON_NUM_THREADS"));
        assert!(FOREIGN.iter().all(|name| !names.contains(name)));
    }
}
