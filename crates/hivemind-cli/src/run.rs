//! `hivemind run` from the checked options to the exit status. The parts are elsewhere: what is asked for in
//! `options`, what a machine bears in `limits`, other hosts in `hosts`, the life of the drones in `job`, the
//! table in `stats`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use hivemind::settings::{SILENCE_LIMIT, START_TIMEOUT};

use crate::batch::{self, Allocation, Batch};
use crate::crew::Crew;
use crate::crew::here::Here;
use crate::crew::srun::Srun;
use crate::crew::there::There;
use crate::hive_file::HostEntry;
use crate::hosts::boot::Agent;
use crate::hosts::digest;
use crate::hosts::fleet::{Cargo, Fleet, Needs};
use crate::hosts::message::{Answer, Launch, Program};
use crate::hosts::ssh::Ssh;
use crate::job::Job;
use crate::keeper::Keeper;
use crate::options::{Color, Run};
use crate::placement::{self, Berth};
use crate::plan::{self, Part, Plan, quoted};
use crate::scratch::Scratch;
use crate::signals::Signals;
use crate::stats::Destination;
use crate::trouble::{MACHINE, OUTPUT, Trouble, USAGE};
use crate::{key, limits, local, program};

/// What nobody has told yet about a host, in a plan that is only shown.
const UNKNOWN: &str = "(the address at which ssh reaches it)";

/// Runs a job. Gives the exit status.
///
/// # Errors
/// Everything that keeps the job from starting.
pub(crate) fn run(options: Run, color: Color) -> Result<u8, Trouble> {
    let hosts = options.hosts.read()?;
    if let Some(allocation) =
        batch::choose(&options, hosts.is_some(), |name| std::env::var(name).ok())?
    {
        return run_in_batch(&options, &allocation, color);
    }
    match hosts {
        None => run_here(&options, color),
        Some(file) => {
            let options = options.filled_from(&file);
            run_there(&options, &file.hosts, color)
        }
    }
}

fn run_here(options: &Run, color: Color) -> Result<u8, Trouble> {
    let drones = options.drones.ok_or_else(|| {
        Trouble::new(
            USAGE,
            "say how many drones to start by -n N, or on which hosts by --hosts a,b or --hive FILE",
        )
    })?;
    let program = program::find(&options.command[0])?;
    limits::check_drones(drones)?;
    let warning = match options.region {
        Some(region_bytes) => limits::check_region(region_bytes, drones)?,
        None => None,
    };
    if let Some(warning) = warning {
        eprintln!("hivemind: warning: {warning}");
    }
    let job = plan::job_name();
    let part = Part {
        ranks: (0..drones).collect(),
        drones,
        cores: available_parallelism().map_or(1, NonZero::get),
        threads: None,
        listen: None,
    };
    let plan = Plan::new(options, program, &job, terminal(), part);
    if options.dry_run {
        return print(&plan.show(&Scratch::preview(&job)), "the plan");
    }
    if let Some(directory) = plan.trace() {
        fs::create_dir_all(directory).map_err(|error| cannot_trace(directory, &error))?;
    }
    let stage = Stage {
        options,
        color,
        drones,
        job: &job,
        starts: "drone",
    };
    stage.play(|scratch, _| {
        key::fresh()
            .and_then(|key| key::write(scratch.path(), &key))
            .map_err(|error| refused("the job: its key cannot be made", &error))?;
        let here = Here::new();
        Ok(Crew::Here { here, plan })
    })
}

fn run_in_batch(options: &Run, allocation: &Allocation, color: Color) -> Result<u8, Trouble> {
    let program = program::find(&options.command[0])?;
    let program = std::path::absolute(&program).unwrap_or(program);
    let job = plan::job_name();
    let batch = Batch::new(options, program.as_ref(), &job, terminal(), allocation)?;
    if options.dry_run {
        return print(&batch.show(), "the plan");
    }
    if let Some(directory) = &options.trace {
        fs::create_dir_all(directory).map_err(|error| cannot_trace(directory, &error))?;
    }
    let stage = Stage {
        options,
        color,
        drones: batch.drones,
        job: &job,
        starts: "srun",
    };
    stage.play(|_, _| Ok(Crew::Srun(Srun::new(batch))))
}

fn run_there(options: &Run, hosts: &[HostEntry], color: Color) -> Result<u8, Trouble> {
    let mut berths =
        placement::place(hosts, options.drones).map_err(|why| Trouble::new(USAGE, why))?;
    if let Some(directory) = &options.directory {
        for berth in &mut berths {
            berth.host.directory = Some(directory.clone());
        }
    }
    let drones = berths.iter().map(|berth| berth.ranks.len() as u32).sum();
    let cargo = cargo(&options.command[0], !options.no_copy)?;
    let agent = Agent::new(!options.no_copy)?;
    let ssh = options.hosts.ssh(options.silence_limit);
    let job = plan::job_name();
    let voyage = Voyage {
        options,
        job: &job,
        drones,
        cargo: &cargo,
    };
    if options.dry_run {
        return print(&voyage.show(&berths, &ssh, &agent)?, "the plan");
    }
    let stage = Stage {
        options,
        color,
        drones,
        job: &job,
        starts: "connection",
    };
    stage.play(|scratch, signals| {
        let patience = options.start_timeout.unwrap_or(START_TIMEOUT);
        let mut fleet = Fleet::set_out(
            berths,
            &ssh,
            &agent,
            scratch.path(),
            patience,
            "nothing was started",
        )?;
        fleet.boot_all(&agent, signals)?;
        let needs = Needs {
            cargo: std::slice::from_ref(&cargo),
            region_bytes: options.region,
            runs: true,
        };
        let answers = fleet.check(needs, signals)?;
        fleet.supply(needs.cargo, &answers, signals)?;
        voyage.begin(fleet, answers)
    })
}

/// What is the same for jobs here and there: the keeper, the private directory, the output, the end.
struct Stage<'a> {
    options: &'a Run,
    color: Color,
    drones: u32,
    job: &'a str,
    /// What it starts on this machine.
    starts: &'static str,
}

impl Stage<'_> {
    fn play(
        self,
        crew: impl FnOnce(&Scratch, &mut Signals) -> Result<Crew, Trouble>,
    ) -> Result<u8, Trouble> {
        let stats = Destination::open(self.options.stats.as_ref(), self.drones)?;
        let mut signals =
            Signals::install().map_err(|error| refused("a signal handler", &error))?;
        let mut keeper = Keeper::start(Path::new(local::COMMAND), "launcher", self.starts)
            .map_err(|error| refused("the keeper process", &error))?;
        let scratch = Scratch::create(self.job, |directory| keeper.look_after(directory));
        let watched = scratch.and_then(|scratch| {
            let crew = crew(&scratch, &mut signals)?;
            let mut job = Job::start(
                crew,
                self.drones,
                scratch.path(),
                signals,
                self.color,
                !self.options.no_prefix,
            )?;
            job.watch();
            stats.finish(self.drones, scratch.path(), &mut job);
            Ok(job)
        });
        // The directory is gone, the drones are; only their output may still be on its way.
        keeper.dismiss();
        Ok(watched?.finish())
    }
}

/// A job on hosts.
struct Voyage<'a> {
    options: &'a Run,
    job: &'a str,
    drones: u32,
    cargo: &'a Cargo,
}

impl Voyage<'_> {
    /// A host's plan, once it is known how many cores it has and where it is reached.
    fn plan(&self, berth: &Berth, cores: usize, listen: Option<String>) -> Plan {
        let part = Part {
            ranks: berth.ranks.clone(),
            drones: self.drones,
            cores,
            // What the command line says for all wins over what a file says for one.
            threads: self.options.threads.or(berth.host.threads),
            listen,
        };
        let program = self.cargo.path.clone();
        Plan::new(self.options, program, self.job, terminal(), part)
    }

    /// Everything that the hosts need to start.
    fn begin(&self, mut fleet: Fleet, answers: Vec<Answer>) -> Result<Crew, Trouble> {
        let key =
            key::fresh().map_err(|error| refused("the job: its key cannot be made", &error))?;
        let silence_limit = self.options.silence_limit.unwrap_or(SILENCE_LIMIT);
        let host_limit = limit_of_host(silence_limit);
        let links = std::mem::take(&mut fleet.links);
        let launches = links.iter().zip(answers).map(|(link, answer)| {
            let host = &link.berth.host;
            let listen = answer.address.map(|address| listen(address, host));
            let own = host.directory.clone().into_iter();
            Launch {
                job: self.job.to_owned(),
                plan: self.plan(&link.berth, answer.cores, listen),
                program: self.cargo.program.clone(),
                directories: own.chain(std::env::current_dir().ok()).collect(),
                key: key.clone(),
                silence_limit: host_limit,
            }
        });
        let launches = launches.collect();
        Ok(Crew::There(There::new(
            links,
            launches,
            self.drones,
            host_limit,
        )))
    }

    /// The plan to read, as `--dry-run` shows it.
    fn show(&self, berths: &[Berth], ssh: &Ssh, agent: &Agent) -> Result<String, Trouble> {
        let mut text = String::new();
        let words: Vec<String> = std::iter::once(self.cargo.path.as_os_str())
            .chain(self.options.command[1..].iter().map(AsRef::as_ref))
            .map(quoted)
            .collect();
        let _ = writeln!(text, "command    {}", words.join(" "));
        let _ = writeln!(
            text,
            "program    sha256 {}, {} bytes{}",
            self.cargo.program.sha256,
            self.cargo.program.bytes,
            if self.options.no_copy {
                ", not copied"
            } else {
                ""
            }
        );
        let _ = writeln!(text, "drones     {} on {} hosts", self.drones, berths.len());
        for berth in berths {
            let ranks: Vec<String> = berth.ranks.iter().map(u32::to_string).collect();
            let script = agent.script(berth.host.cache.as_deref())?;
            let command = ssh.command_line(&berth.host, &script);
            let command: Vec<String> = command.iter().map(|word| quoted(word.as_ref())).collect();
            let _ = writeln!(
                text,
                "\nhost {}: drones {}",
                berth.host.name,
                ranks.join(", ")
            );
            let _ = writeln!(text, "  {}", command.join(" "));
            let listen = match (&berth.host.address, berth.host.ports) {
                (None, None) => UNKNOWN.to_owned(),
                (address, ports) => {
                    let address = address.as_ref().map_or(UNKNOWN, |address| address.as_str());
                    ports.map_or(address.to_owned(), |ports| format!("{address}:{ports}"))
                }
            };
            let threads = self.options.threads.or(berth.host.threads);
            let threads = threads.map_or("its cores divided by its drones".into(), |threads| {
                threads.to_string()
            });
            let _ = writeln!(text, "  listens at {listen}; threads of a drone: {threads}");
        }
        Ok(text)
    }
}

/// A host is called lost before its drones are, so that the sentence names the host.
fn limit_of_host(silence_limit: Duration) -> Duration {
    silence_limit * 2 / 3
}

/// Where the drones of a host listen.
fn listen(address: IpAddr, host: &HostEntry) -> String {
    let address = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    match host.ports {
        Some(ports) => format!("{address}:{ports}"),
        None => address,
    }
}

/// A program of ours, as hosts get it. Where nothing is copied it lies at the same path everywhere.
///
/// # Errors
/// It isn't there, or cannot be read.
pub(crate) fn cargo(name: &std::ffi::OsStr, copies: bool) -> Result<Cargo, Trouble> {
    let path = program::find(name)?;
    let unreadable = |error: io::Error| {
        let message = format!("cannot read {} to copy it: {error}", path.display());
        Trouble::new(MACHINE, message)
    };
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let program = digest::program(&path, &file_name).map_err(unreadable)?;
    let absolute: PathBuf = std::path::absolute(&path).map_err(unreadable)?;
    Ok(Cargo {
        program: Program {
            path: (!copies).then_some(absolute),
            ..program
        },
        path,
    })
}

fn cannot_trace(directory: &Path, error: &io::Error) -> Trouble {
    let directory = directory.display();
    Trouble::new(
        OUTPUT,
        format!("cannot write a trace into {directory}: {error}"),
    )
}

/// Whether somebody watches.
fn terminal() -> bool {
    rustix::termios::isatty(rustix::stdio::stderr())
}

/// Prints a text on standard output. Gives the exit status.
///
/// # Errors
/// Nobody takes it.
pub(crate) fn print(text: &str, what: &str) -> Result<u8, Trouble> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Trouble::new(OUTPUT, format!("cannot print {what}: {error}")))?;
    Ok(0)
}

/// The machine's refusal of something that every job needs.
pub(crate) fn refused(what: &str, error: &io::Error) -> Trouble {
    Trouble::new(
        MACHINE,
        format!(
            "cannot start {what}: {error}; look at `ulimit -a` for limits of processes, files and memory"
        ),
    )
}
