//! Starts drones on this machine: processes of their own process group, bound to the launcher's life, with
//! pipes for what they print.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use rustix::termios::tcgetpgrp;

use crate::binding::Binding;
use crate::drone;
use crate::ending::Ending;
use crate::plan::Plan;

/// This very binary, whatever became of the file that it was started from.
pub(crate) const COMMAND: &str = "/proc/self/exe";

/// How often a launcher in the background looks whether the terminal is its own again.
const TERMINAL_LOOK_MS: u64 = 250;

/// A started drone. Its process stays known to the kernel until [`Local::bury`], so its number is nobody
/// else's as long as it can be signalled here.
#[derive(Debug)]
pub(crate) struct Local {
    child: Child,
    pid: Pid,
}

/// What a drone has as standard input.
#[derive(Debug)]
pub(crate) enum Input {
    /// The launcher's own.
    Own,
    /// This pipe.
    Pipe(OwnedFd),
    Nothing,
}

/// Starts one drone. Gives its standard output and standard error, which never block.
///
/// To be called on a thread that lives as long as the launcher: with it the kernel ends the drones.
///
/// # Errors
/// The system's refusal to make pipes or a process.
pub(crate) fn start(
    plan: &Plan,
    number: u32,
    directory: &Path,
    input: Input,
) -> io::Result<(Local, [OwnedFd; 2])> {
    let place = plan.ranks.iter().position(|rank| *rank == number);
    let binding = match place.filter(|_| plan.binds) {
        Some(place) => Binding::share(place, plan.ranks.len()),
        None => Binding::default(),
    };
    let mut command = bound(directory, &binding);
    command
        .arg(&plan.program)
        .args(plan.arguments.iter().map(AsRef::<OsStr>::as_ref))
        .envs(plan.environment(number, directory));
    spawn(command, input)
}

/// Starts a command that is bound to this process's life. Gives its standard output and standard error, which never block.
///
/// # Errors
/// The system's refusal to make pipes or a process.
pub(crate) fn spawn(mut command: Command, input: Input) -> io::Result<(Local, [OwnedFd; 2])> {
    let stdin = match input {
        Input::Own if is_terminal() => Stdio::piped(),
        Input::Own => Stdio::inherit(),
        Input::Pipe(pipe) => pipe.into(),
        Input::Nothing => Stdio::null(),
    };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    if let Some(stdin) = child.stdin.take() {
        pass_input_on(stdin.into());
    }
    let pipe = "the pipe was asked for";
    let pipes: [OwnedFd; 2] = [
        child.stdout.take().expect(pipe).into(),
        child.stderr.take().expect(pipe).into(),
    ];
    for pipe in &pipes {
        rustix::io::ioctl_fionbio(pipe, true)?;
    }
    Ok((Local::of(child), pipes))
}

/// A command that lacks only what is to be run: bound to this process's life and to these cores, and signed in with the keeper of
/// the job with this private directory.
pub(crate) fn bound(directory: &Path, binding: &Binding) -> Command {
    let mut command = Command::new(COMMAND);
    command
        .arg0("hivemind")
        .arg(drone::SUBCOMMAND)
        .arg(std::process::id().to_string())
        .arg(directory)
        .arg(binding.to_string());
    command
}

impl Local {
    /// A process that was started so that it leads its process group.
    pub(crate) fn of(child: Child) -> Self {
        let pid = Pid::from_child(&child);
        Self { child, pid }
    }

    /// How the process ended; None while it runs. It stays a zombie, so that its number stays its own.
    pub(crate) fn ending(&self) -> Option<Ending> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.pid), options).ok()??;
        match status.terminating_signal() {
            Some(signal) => Some(Ending::Killed {
                signal,
                core_dumped: status.dumped(),
            }),
            None => Some(Ending::Exited(status.exit_status().unwrap_or_default())),
        }
    }

    /// The drone's process, which leads its process group.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to the drone and all that it has started. Who is gone already needs none.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.pid, signal);
    }

    /// Frees the number of an ended drone.
    pub(crate) fn bury(mut self) {
        let _ = self.child.wait();
    }
}

fn is_terminal() -> bool {
    rustix::termios::isatty(rustix::stdio::stdin())
}

/// Copies the launcher's input to drone 0 until either ends. The drone can't read a terminal itself: its
/// process group is not the one in front, and the kernel would stop it.
pub(crate) fn pass_input_on(drone: OwnedFd) {
    let copy = move || {
        let terminal = rustix::stdio::stdin();
        let mut bytes = [0; 4096];
        loop {
            let mut waiting = [PollFd::new(&terminal, PollFlags::IN)];
            if poll(&mut waiting, None).is_err() {
                continue;
            }
            if tcgetpgrp(terminal).is_ok_and(|front| front != rustix::process::getpgrp()) {
                std::thread::sleep(std::time::Duration::from_millis(TERMINAL_LOOK_MS));
                continue;
            }
            let mut rest = match rustix::io::read(terminal, &mut bytes) {
                Ok(0) => return,
                Ok(length) => &bytes[..length],
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            };
            while !rest.is_empty() {
                match rustix::io::write(&drone, rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return,
                }
            }
        }
    };
    // Without the thread drone 0 finds its input at its end, as all others do.
    let _ = std::thread::Builder::new().name("input".into()).spawn(copy);
}
