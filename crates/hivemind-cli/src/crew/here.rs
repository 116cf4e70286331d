//! The drones that this process has started on its own machine: their processes, their pipes, their ends.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::process::Signal;

use super::{News, watch};
use crate::console::{ERROR, OUTPUT};
use crate::local::{self, Input, Local};
use crate::plan::Plan;

/// How much is read from a pipe at once.
const READ_BYTES: usize = 64 << 10;

/// Drones of this machine.
#[derive(Debug)]
pub(crate) struct Here {
    drones: Vec<Drone>,
    /// The stream's pipes are not read for now: too much waits to be written.
    paused: [bool; 2],
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Drone {
    number: u32,
    process: Local,
    ended: bool,
    /// None: its end was reached.
    pipes: [Option<OwnedFd>; 2],
}

impl Here {
    /// A crew without anybody.
    pub(crate) fn new() -> Self {
        Self {
            drones: Vec::new(),
            paused: [false; 2],
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Starts a plan's drones of this machine; `input` is what drone 0 reads.
    ///
    /// # Errors
    /// Which drone could not be started and the system's refusal; those begun stay in the crew.
    pub(crate) fn start(
        &mut self,
        plan: &Plan,
        directory: &Path,
        mut input: Input,
        epoll: &OwnedFd,
    ) -> Result<(), (u32, io::Error)> {
        for &number in &plan.ranks {
            let input = match number {
                0 => std::mem::replace(&mut input, Input::Nothing),
                _ => Input::Nothing,
            };
            self.start_drone(plan, number, directory, input, epoll)
                .map_err(|error| (number, error))?;
        }
        Ok(())
    }

    fn start_drone(
        &mut self,
        plan: &Plan,
        number: u32,
        directory: &Path,
        input: Input,
        epoll: &OwnedFd,
    ) -> io::Result<()> {
        let (process, pipes) = local::start(plan, number, directory, input)?;
        let place = self.drones.len();
        self.drones.push(Drone {
            number,
            process,
            ended: false,
            pipes: pipes.map(Some),
        });
        for (stream, pipe) in self.drones[place].pipes.iter().flatten().enumerate() {
            watch(epoll, pipe, token(place, stream))?;
        }
        Ok(())
    }

    /// How many drones there are.
    pub(crate) fn count(&self) -> u32 {
        self.drones.len() as u32
    }

    /// How many have not ended, as far as anybody has looked.
    pub(crate) fn running(&self) -> usize {
        self.drones.iter().filter(|drone| !drone.ended).count()
    }

    /// Each drone and its process.
    pub(crate) fn pids(&self) -> Vec<(u32, i32)> {
        let both = |drone: &Drone| (drone.number, drone.pid());
        self.drones.iter().map(both).collect()
    }

    /// Something can be read from the pipe with this token.
    pub(crate) fn hear(&mut self, token: u64, news: &mut Vec<News>) {
        self.read((token / 2) as usize, (token % 2) as usize, news);
    }

    /// Reads once from a drone's pipe. Gives whether there may be more.
    fn read(&mut self, place: usize, stream: usize, news: &mut Vec<News>) -> bool {
        let drone = self.drones[place].number;
        let Some(pipe) = &self.drones[place].pipes[stream] else {
            return false;
        };
        match rustix::io::read(pipe, &mut self.buffer[..]) {
            Ok(length @ 1..) => {
                let bytes = self.buffer[..length].to_vec();
                news.push(News::Printed {
                    drone,
                    stream,
                    bytes,
                });
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Ok(_) | Err(_) => {
                // Closing the pipe takes it out of the wait set too.
                self.drones[place].pipes[stream] = None;
                news.push(News::Closed { drone, stream });
                false
            }
        }
    }

    /// Tells of all that have ended since the last look.
    pub(crate) fn look_for_ends(&mut self, news: &mut Vec<News>) {
        for place in 0..self.drones.len() {
            let drone = &mut self.drones[place];
            if drone.ended {
                continue;
            }
            let Some(ending) = drone.process.ending() else {
                continue;
            };
            drone.ended = true;
            let (number, pid) = (drone.number, drone.pid());
            self.read_last_words(place, news);
            news.push(News::Ended {
                drone: number,
                pid: Some(pid),
                host: None,
                ending,
            });
        }
    }

    /// Reads what an ended drone printed last, so that it is told before its end.
    fn read_last_words(&mut self, place: usize, news: &mut Vec<News>) {
        for stream in [OUTPUT, ERROR] {
            // A pipe holds no more than 1 MiB; what the drone left running may go on writing for ever.
            let mut reads = (1 << 20) / READ_BYTES;
            while reads > 0 && !self.paused[stream] && self.read(place, stream, news) {
                reads -= 1;
            }
        }
    }

    /// Sends a signal to all drones and all that they have started.
    pub(crate) fn signal_all(&self, signal: Signal) {
        for drone in &self.drones {
            drone.process.signal(signal);
        }
    }

    /// Lets drones wait that write to this stream, or go on.
    pub(crate) fn pause(&mut self, stream: usize, pause: bool, epoll: &OwnedFd) {
        if self.paused[stream] == pause {
            return;
        }
        self.paused[stream] = pause;
        for (place, drone) in self.drones.iter().enumerate() {
            let Some(pipe) = &drone.pipes[stream] else {
                continue;
            };
            let changed = if pause {
                epoll::delete(epoll, pipe)
            } else {
                watch(epoll, pipe, token(place, stream))
            };
            changed.expect("an open pipe can be watched");
        }
    }

    /// A drone as a sentence names it: its number and its process.
    pub(crate) fn name(&self, drone: u32) -> String {
        let found = self.drones.iter().find(|found| found.number == drone);
        found.map_or_else(
            || drone.to_string(),
            |found| format!("{drone} (pid {})", found.pid()),
        )
    }

    /// Ends what ended drones have left behind, and frees their numbers.
    pub(crate) fn bury(&mut self) {
        for drone in self.drones.drain(..) {
            if drone.ended {
                drone.process.signal(Signal::KILL);
                drone.process.bury();
            }
        }
    }
}

impl Drone {
    fn pid(&self) -> i32 {
        self.process.pid().as_raw_nonzero().get()
    }
}

fn token(place: usize, stream: usize) -> u64 {
    2 * place as u64 + stream as u64
}
