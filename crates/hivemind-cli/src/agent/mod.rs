//! `hivemind __agent CACHE`: the launcher's hand on another host.
//!
//! It speaks frames on standard input and output, which ssh carries. First it answers questions and stores
//! programs; then it starts this host's drones (`life`) exactly as a local run does: bound to its own life, with a
//! keeper beside it. When its input ends, the launcher or the way to it is gone, and so are the drones.

mod cache;
pub(crate) mod check;
mod life;

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::doctor;
use crate::hosts::frame::ORDER_BYTES_MAX;
use crate::hosts::message::{Hello, Order, VERSION, Word};
use crate::hosts::wire::{Silence, Wire};
use crate::trouble::{MACHINE, USAGE};
use cache::Cache;

pub(crate) use crate::hosts::boot::SUBCOMMAND;

/// How long the launcher may think, or be busy with other hosts, before anything runs.
const IDLE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The agent itself.
pub(crate) fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(cache) = arguments.next() else {
        eprintln!(
            "hivemind: `{SUBCOMMAND}` is what `hivemind run` calls on hosts; it is of no use by hand"
        );
        return ExitCode::from(USAGE);
    };
    let wire = own(rustix::stdio::stdin())
        .and_then(|input| Wire::new(input, own(rustix::stdio::stdout())?, ORDER_BYTES_MAX));
    let wire = match wire {
        Ok(wire) => wire,
        Err(error) => {
            eprintln!("hivemind: the agent cannot use its input and output: {error}");
            return ExitCode::from(MACHINE);
        }
    };
    serve(wire, Path::new(&cache))
}

fn own(stream: impl AsFd) -> std::io::Result<OwnedFd> {
    stream.as_fd().try_clone_to_owned()
}

/// Does what the launcher wants until a job runs, or nothing more is wanted.
fn serve(mut wire: Wire, place: &Path) -> ExitCode {
    let cache = Cache::open(place);
    wire.say(&Word::Hello(Hello {
        version: VERSION,
        release: env!("CARGO_PKG_VERSION").to_owned(),
    }));
    loop {
        let order = match wire.await_message::<Order>(Instant::now() + IDLE_LIMIT) {
            Ok(order) => order,
            Err(Silence::Ended) => return ExitCode::SUCCESS,
            Err(silence) => {
                return refuse(
                    wire,
                    &format!("the launcher is not understood: {silence:?}"),
                );
            }
        };
        let answer = match order {
            Order::Check(question) => Word::Checked(check::answer(&cache, &question)),
            Order::Store(program) => match cache.store(&program, &mut wire) {
                Ok(stored) => Word::Stored {
                    complaint: stored.err().or_else(|| check::complaint(&cache, &program)),
                },
                Err(_) => return ExitCode::FAILURE,
            },
            Order::Find(program) => Word::Stored {
                complaint: check::complaint(&cache, &program),
            },
            Order::Clean => {
                let jobs = crate::scratch::remove_all_stale();
                match cache.clean() {
                    Ok((files, bytes)) => Word::Cleaned { files, bytes, jobs },
                    Err(why) => Word::Refused(why),
                }
            }
            Order::Examine(wish) => doctor::examine_host(&wish),
            Order::Clock => doctor::tell_clock(),
            Order::Open {
                address,
                ports,
                word,
            } => doctor::open_door(address, ports, word),
            Order::Visit { place, word } => doctor::visit_door(place, &word),
            Order::Launch(launch) => return life::live(wire, &cache, *launch),
            Order::Alive => Word::Alive,
            Order::Finish => return ExitCode::SUCCESS,
            _ => return refuse(wire, "the launcher wants something out of turn"),
        };
        wire.say(&answer);
    }
}

/// Says why it can't go on, as long as somebody hears it.
fn refuse(mut wire: Wire, why: &str) -> ExitCode {
    wire.say(&Word::Refused(why.to_owned()));
    let _ = wire.drain_to(0, || Instant::now() + Duration::from_secs(1));
    ExitCode::from(MACHINE)
}
