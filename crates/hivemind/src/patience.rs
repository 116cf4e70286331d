//! How long a thread that waits looks for its answer itself before it sleeps, learnt from the waits before; and how long before
//! it tells all others that it waits.
//!
//! Deliberately elsewhere: the looking (`drone`), the sleeping (`parking`, `net`).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Waking a thread that sleeps takes some tens of microseconds; looking for about as long costs no more and is usually
/// quicker. (Karlin, Li, Manasse, Owicki, SOSP 1991: who looks for as long as a sleep costs never pays more than twice.)
const LEAST: Duration = Duration::from_micros(50);

/// On virtual machines a core that has nothing to do may be given to another one, and waking it takes some hundred
/// microseconds. Where waits end within this, a core is better kept: drones in step wait for as long as their work is uneven.
const MOST: Duration = Duration::from_millis(2);

/// For this part of the time since its drone arrived a thread waits untold, within the bounds of a look: who is woken loses some tens
/// of microseconds, so not before as much is lost here, nor a part of what both compute that counts.
const UNTOLD_PART: u32 = 20;

/// How long the threads of a drone look.
#[derive(Debug)]
pub(crate) struct Patience {
    /// Zero where they must not look at all.
    now_us: AtomicU32,
    /// When this drone arrived at a barrier in two calls last; none where its program has none.
    arrived: Mutex<Option<Instant>>,
}

impl Patience {
    /// Where cores are fewer than drones, nobody looks: the peer needs the core.
    pub(crate) fn new(may_look: bool) -> Self {
        let first = if may_look { LEAST } else { Duration::ZERO };
        Self {
            now_us: AtomicU32::new(first.as_micros() as u32),
            arrived: Mutex::new(None),
        }
    }

    /// This drone arrives at a barrier in two calls.
    pub(crate) fn note_arrival(&self) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        *arrived = Some(Instant::now());
    }

    /// After how long a thread that waits tells all others so; none where nothing can lie at one of them that computes.
    pub(crate) fn untold(&self) -> Option<Duration> {
        let arrived = *self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        Some((arrived?.elapsed() / UNTOLD_PART).clamp(LEAST, MOST))
    }

    /// How long to look.
    pub(crate) fn now(&self) -> Duration {
        Duration::from_micros(self.now_us.load(Ordering::Relaxed).into())
    }

    /// Whether nobody looks.
    pub(crate) fn is_none(&self) -> bool {
        self.now().is_zero()
    }

    /// A wait took so long. Those that a look of the shortest kind sees the end of say nothing. One that ended in time to
    /// be seen makes the next looks long enough for it; a longer one halves them, so that what is looked in vain stays little.
    pub(crate) fn learn(&self, waited: Duration) {
        if self.is_none() || waited <= LEAST {
            return;
        }
        let next = if waited <= MOST {
            self.now().max((2 * waited).min(MOST))
        } else {
            (self.now() / 2).max(LEAST)
        };
        // Two threads that learn at once may lose what one has: the next wait tells again.
        self.now_us
            .store(next.as_micros() as u32, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn looks_last_as_long_as_waits_do_and_no_longer_than_pays() {
        let patience = Patience::new(true);
        assert_eq!(patience.now(), LEAST);
        patience.learn(LEAST / 2);
        assert_eq!(patience.now(), LEAST);
        patience.learn(MOST / 4);
        assert_eq!(patience.now(), MOST / 2);
        patience.learn(MOST / 8);
        assert_eq!(
            patience.now(),
            MOST / 2,
            "a shorter wait takes nothing back"
        );
        patience.learn(MOST);
        assert_eq!(patience.now(), MOST);
    }

    #[test]
    fn who_never_arrived_has_nothing_to_tell_and_who_did_waits_untold_within_bounds() {
        let patience = Patience::new(true);
        assert_eq!(patience.untold(), None);
        patience.note_arrival();
        assert!((LEAST..=MOST).contains(&patience.untold().unwrap()));
        let long_ago = Instant::now().checked_sub(1000 * MOST);
        *patience.arrived.lock().unwrap() = long_ago;
        assert_eq!(patience.untold(), long_ago.map(|_| MOST));
    }

    #[test]
    fn what_is_looked_in_vain_stays_little() {
        let patience = Patience::new(true);
        patience.learn(MOST);
        let mut in_vain = Duration::ZERO;
        for _ in 0..100 {
            in_vain += patience.now();
            patience.learn(100 * MOST);
        }
        assert_eq!(patience.now(), LEAST);
        assert!(in_vain < 2 * MOST + 100 * LEAST, "{in_vain:?}");
    }

    #[test]
    fn where_cores_are_few_nobody_ever_looks() {
        let patience = Patience::new(false);
        patience.learn(MOST / 2);
        assert!(patience.is_none());
    }
}
