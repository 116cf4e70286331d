//! What pages cost a drone but for its links, by fault engine: two shipped cores in one thread, each with a region of its
//! own, carry messages to each other by calls. Timed is what one of them does: with the program's first store to a page
//! that it fetched, with a lock's request that ends its interval, and with a grant that takes pages away.
//!
//! `cargo bench --bench pages`; look at how figures differ, times do from hour to hour.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use divan::{Bencher, black_box};
use hivemind_memory::{
    EngineChoice, EngineKind, FaultGuard, FaultHandler, RegionMemory, RegionView, choose,
    free_bases,
};
use hivemind_protocol::{
    AccessKind, BarrierId, Command, Core, CoreConfig, DroneId, Economies, Effect, Event, FAN_OUT,
    LockId, Meeting, MeetingKind, PAGE_SIZE, PageBytes, PageId, Ticket,
};

fn main() {
    divan::main();
}

/// The drone that is timed, and the other.
const NEAR: DroneId = DroneId(0);
const FAR: DroneId = DroneId(1);

/// A lock of each drone's: its number says who manages it.
const LOCK_OF_NEAR: LockId = LockId(0);
const LOCK_OF_FAR: LockId = LockId(1);

/// Pages of each region.
const PAGES: u64 = 512;

/// Pages that are stored to in a row.
const ROW: u32 = 64;

#[divan::bench(args = engines(), sample_size = ROW)]
fn first_store_after_fetch(bencher: Bencher<'_, '_>, engine: EngineKind) {
    let (pair, next) = (Pair::new(engine), Cell::new(0));
    bencher
        .with_inputs(|| {
            let at = next.replace((next.get() + 1) % ROW);
            if at == 0 {
                pair.near_fetches(u64::from(ROW));
            }
            PageId(u64::from(at))
        })
        .bench_local_values(|page| pair.store(NEAR, page));
}

#[divan::bench]
fn floor_copy_a_page(bencher: Bencher<'_, '_>) {
    let (from, mut to): (Box<PageBytes>, Box<PageBytes>) =
        (Box::new([1; PAGE_SIZE]), Box::new([0; PAGE_SIZE]));
    bencher.bench_local(|| black_box(&mut to).copy_from_slice(&black_box(&from)[..]));
}

/// The far drone wants the lock that the near one has released: the near one's interval ends.
#[divan::bench(args = cases([(0, 0), (0, 512), (8, 512), (512, 512)]), sample_size = 1)]
fn release(bencher: Bencher<'_, '_>, case: Case) {
    let pair = Pair::new(case.engine);
    bencher
        .with_inputs(|| {
            pair.near_fetches(case.valid);
            pair.hold(NEAR, LOCK_OF_NEAR, case.written);
            pair.command(FAR, Command::Acquire(LOCK_OF_NEAR));
        })
        .bench_local_values(|()| pair.step_towards(FAR, LOCK_OF_NEAR));
}

/// The near drone gets the lock that the far one has released, and with it news of what that one wrote.
#[divan::bench(args = cases([(0, 512), (1, 512), (512, 512)]), sample_size = 1)]
fn acquire(bencher: Bencher<'_, '_>, case: Case) {
    let pair = Pair::new(case.engine);
    bencher
        .with_inputs(|| {
            pair.near_fetches(case.valid);
            pair.hold(FAR, LOCK_OF_FAR, case.written);
            pair.command(NEAR, Command::Acquire(LOCK_OF_FAR));
            // The far drone takes the request; its grant is under way.
            pair.hall().step();
        })
        .bench_local_values(|()| pair.step_towards(NEAR, LOCK_OF_FAR));
}

/// The fault engines that this machine has.
fn engines() -> Vec<EngineKind> {
    EngineKind::all()
        .filter(|&engine| choose(EngineChoice::Only(engine)).is_ok())
        .collect()
}

/// How many pages were written of how many that the near drone holds.
#[derive(Clone, Copy)]
struct Case {
    engine: EngineKind,
    written: u64,
    valid: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}, {}", self.written, self.valid, self.engine)
    }
}

fn cases<const N: usize>(counts: [(u64, u64); N]) -> Vec<Case> {
    let of_engine = |engine| {
        counts.map(|(written, valid)| Case {
            engine,
            written,
            valid,
        })
    };
    engines().into_iter().flat_map(of_engine).collect()
}

/// Two drones.
struct Pair {
    drones: Arc<Drones>,
    views: [RegionView; 2],
    _guards: [FaultGuard; 2],
}

/// What the fault handlers reach: they are there before the cores have taken the regions.
struct Drones(OnceLock<Mutex<Hall>>);

struct Hall {
    cores: [Core<RegionMemory>; 2],
    under_way: VecDeque<(DroneId, Event)>,
    effects: Vec<Effect>,
    next_ticket: u64,
}

impl Pair {
    fn new(engine: EngineKind) -> Self {
        let bytes = PAGES * PAGE_SIZE as u64;
        let drones = Arc::new(Drones(OnceLock::new()));
        let memory = |_| {
            let base = free_bases(bytes).trailing_zeros() as usize;
            RegionMemory::create(bytes, base, engine).expect("the engine works here")
        };
        let memories = [NEAR, FAR].map(memory);
        let views = [0, 1].map(|at: usize| memories[at].view());
        let guards = [NEAR, FAR].map(|me| {
            let drones = Arc::clone(&drones);
            memories[me.0 as usize].handle_faults(Arc::new(Side { me, drones }))
        });
        let [near, far] = memories;
        let core = |me, memory| {
            let config = CoreConfig {
                me,
                drones: 2,
                pages: PAGES,
                metadata_limit_bytes: u64::MAX,
                fan_out: FAN_OUT,
                // What is fetched here is fetched on purpose.
                economies: Economies::without("fetch-ahead,push,pages-on-grants")
                    .expect("these are their names"),
            };
            Core::new(config, memory)
        };
        let hall = Hall {
            cores: [core(NEAR, near), core(FAR, far)],
            under_way: VecDeque::new(),
            effects: Vec::new(),
            next_ticket: 0,
        };
        assert!(drones.0.set(Mutex::new(hall)).is_ok(), "they are new");
        Self {
            drones,
            views,
            _guards: guards,
        }
    }

    fn hall(&self) -> MutexGuard<'_, Hall> {
        self.drones.hall()
    }

    fn command(&self, drone: DroneId, command: Command) {
        let mut hall = self.hall();
        let ticket = hall.ticket();
        hall.handle(drone, Event::Command { command, ticket });
    }

    /// What the program of this drone stores: another byte than was there.
    fn store(&self, drone: DroneId, page: PageId) {
        let place = page.0 as usize * PAGE_SIZE + drone.0 as usize;
        let view = &self.views[drone.0 as usize];
        assert!((place as u64) < view.bytes());
        // SAFETY: it lies in the region, which the view keeps mapped, and nobody looks at it but as an atomic.
        let byte = unsafe { AtomicU8::from_ptr(view.base().add(place)) };
        byte.fetch_add(1, Ordering::Relaxed);
    }

    /// The far drone writes so many pages, the near one has read them all since.
    fn near_fetches(&self, pages: u64) {
        (0..pages).for_each(|page| self.store(FAR, PageId(page)));
        for drone in [NEAR, FAR] {
            let (kind, payload) = (MeetingKind::Barrier(BarrierId(0)), Vec::new());
            self.command(drone, Command::Meet(Meeting { kind, payload }));
        }
        self.hall().settle();
        self.views[0].touch(0..pages * PAGE_SIZE as u64, AccessKind::Read);
    }

    /// This drone takes a lock, stores to so many pages and gives it up.
    fn hold(&self, drone: DroneId, lock: LockId, pages: u64) {
        self.command(drone, Command::Acquire(lock));
        self.hall().settle();
        (0..pages).for_each(|page| self.store(drone, PageId(page)));
        self.command(drone, Command::Release(lock));
    }

    /// One message more on the way of a lock to this drone.
    fn step_towards(&self, drone: DroneId, lock: LockId) -> OnItsWay<'_> {
        self.hall().step();
        OnItsWay {
            pair: self,
            drone,
            lock,
        }
    }
}

/// A lock that somebody gets and gives up when this is dropped, which divan does after it has stopped the clock.
struct OnItsWay<'a> {
    pair: &'a Pair,
    drone: DroneId,
    lock: LockId,
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.pair.hall().settle();
        self.pair.command(self.drone, Command::Release(self.lock));
    }
}

impl Drones {
    fn hall(&self) -> MutexGuard<'_, Hall> {
        let hall = self
            .0
            .get()
            .expect("nobody faults before the cores are there");
        hall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hall {
    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    fn handle(&mut self, drone: DroneId, event: Event) {
        let core = &mut self.cores[drone.0 as usize];
        core.handle(event, &mut self.effects)
            .expect("both are correct");
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Send { to, message } => {
                    let from = drone;
                    self.under_way
                        .push_back((to, Event::Message { from, message }));
                }
                Effect::Complete { result, .. } => {
                    result.expect("nobody asks for what cannot be");
                }
            }
        }
    }

    /// One message arrives, if one is under way.
    fn step(&mut self) -> bool {
        let next = self.under_way.pop_front();
        let comes = next.is_some();
        if let Some((drone, event)) = next {
            self.handle(drone, event);
        }
        comes
    }

    fn settle(&mut self) {
        while self.step() {}
    }
}

/// A drone as its faults see it.
struct Side {
    me: DroneId,
    drones: Arc<Drones>,
}

impl FaultHandler for Side {
    fn fault(&self, page: PageId, kind: AccessKind) {
        let mut hall = self.drones.hall();
        let ticket = hall.ticket();
        hall.handle(self.me, Event::Fault { page, kind, ticket });
        hall.settle();
    }
}
