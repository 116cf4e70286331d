//! How a thread of the program waits for its ticket: it looks for messages itself for a while, then sleeps in the links, or parks where
//! another thread does that.
//!
//! Deliberately elsewhere: how long it looks (`patience`), who sleeps where (`parking`, `net`), and what is done with what comes
//! (`drone`).

use super::{Bell, Done, Drone};
use crate::net::{Incoming, Links, Waiting, Watch};
use crate::parking::{Lookout, Waiter};
use crate::primitive::Arc;
use crate::{Error, Result};
use hivemind_protocol::{Failure, Outcome};
use std::time::{Duration, Instant};

/// A thread that looks for an answer lets a peer of its machine find by itself for so long what it sent: the peer may be
/// amid a critical section, and looks at its end.
const BELL_PATIENCE: Duration = Duration::from_micros(8);

impl Drone {
    /// Waits until the ticket is complete: looks for messages itself for a while, then sleeps, in the links where no
    /// other thread does.
    pub(super) fn wait(
        &self,
        waiter: &Arc<Waiter<Done>>,
        operation: &dyn Fn() -> String,
    ) -> Result<Outcome> {
        let outcome = match waiter.take() {
            Some(outcome) => {
                self.ring_owed();
                Some(outcome)
            }
            None => self.look_and_sleep(waiter),
        };
        match outcome {
            Some(Ok(outcome)) => Ok(outcome),
            Some(Err(Failure::Refused(refusal))) => Err(Error::Refused {
                me: self.me,
                refusal,
            }),
            Some(Err(Failure::Lost(lost))) => {
                let how = self.state().lost_how.clone();
                Err(Error::Lost {
                    me: self.me,
                    lost,
                    how,
                    operation: operation(),
                })
            }
            None => {
                let limit = self.wait_limit;
                Err(Error::TimedOut {
                    me: self.me,
                    operation: operation(),
                    limit,
                })
            }
        }
    }

    /// None where the limit is over.
    fn look_and_sleep(&self, waiter: &Arc<Waiter<Done>>) -> Option<Done> {
        let begin = Instant::now();
        let mut waiting = None;
        self.spin(waiter, self.wait_limit, &mut waiting);
        self.ring_owed();
        if !waiter.is_done() && waiting.is_none() && self.patience.untold().is_some() {
            waiting = self.links.as_ref().and_then(Links::say_waiting);
        }
        let lookout = || Watching {
            drone: self,
            watch: self.links().watch(),
            waiter,
        };
        let outcome = self.parking.wait(waiter, self.wait_limit, lookout);
        self.patience.learn(begin.elapsed());
        drop(waiting);
        outcome
    }

    /// Looks for messages until the ticket is complete or none has come for a while, at most `longest`: where one came
    /// another may soon. Says to all that it is `waiting` when that has taken long.
    fn spin<'a>(
        &'a self,
        waiter: &Waiter<Done>,
        longest: Duration,
        waiting: &mut Option<Waiting<'a>>,
    ) {
        let Some(links) = &self.links else { return };
        let patience = self.patience.now();
        if patience.is_zero() {
            return;
        }
        // What comes now comes to this thread: the service thread need not wake for it.
        let _attention = links.attend();
        let begin = Instant::now();
        let mut end = begin + patience;
        let mut bells = begin + BELL_PATIENCE;
        let mut says = self.patience.untold().map(|untold| begin + untold);
        while !waiter.is_done() {
            let polled =
                links.try_poll(&mut |from, incoming| self.receive(from, incoming, Bell::Owed));
            let now = Instant::now();
            if matches!(polled, Some(Ok(1..))) {
                end = now + patience;
            } else if now < end {
                std::thread::yield_now();
            }
            if now >= end || now.duration_since(begin) >= longest {
                break;
            }
            if now >= bells {
                links.ring_owed();
                bells = now + BELL_PATIENCE;
            }
            if waiting.is_none() && says.is_some_and(|says| now >= says) {
                *waiting = links.say_waiting();
                says = None;
            }
        }
    }

    /// How what a thread sends that waits then wakes who sleeps over it.
    pub(super) fn before_waiting(&self) -> Bell {
        if self.patience.is_none() {
            Bell::AtOnce
        } else {
            Bell::Owed
        }
    }
}

/// A waiting thread that sleeps in the links.
struct Watching<'a> {
    drone: &'a Drone,
    watch: Watch<'a>,
    waiter: &'a Waiter<Done>,
}

impl Lookout for Watching<'_> {
    fn wakes(&self) -> u64 {
        self.watch.wakes()
    }

    fn watch(&self, wakes_seen: u64, longest: Duration) {
        let drone = self.drone;
        let receive =
            &mut |from, incoming: Incoming<'_>| drone.receive(from, incoming, Bell::AtOnce);
        match self.watch.poll_since(wakes_seen, longest, receive) {
            Ok(0) => {}
            // Who asked once may ask again before a sleep would have paid.
            Ok(_) => {
                drone.spin(self.waiter, longest, &mut None);
                drone.ring_owed();
            }
            Err(error) => drone.end_process(&format!("cannot wait for messages: {error}")),
        }
    }
}
