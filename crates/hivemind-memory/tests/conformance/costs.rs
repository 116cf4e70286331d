//! What faults and pages must not cost: a wait for another fault, a mapping of their own.

use crate::fixture::{Case, Fixture, create};
use hivemind_memory::{FaultHandler, RegionMemory};
use hivemind_protocol::{Access, AccessKind, Memory, PageId, PageRun};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any fault takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves page 0 only after page 1, as a drone does whose peer has to fault before it can answer.
struct Patient {
    memory: Mutex<RegionMemory>,
    in_first: AtomicBool,
    second_served: AtomicBool,
}

impl FaultHandler for Patient {
    fn fault(&self, page: PageId, _: AccessKind) {
        if page == PageId(0) {
            self.in_first.store(true, Ordering::Release);
            wait_for(&self.second_served);
        }
        let mut memory = self.memory.lock().unwrap();
        memory.set_access(PageRun::one(page), Access::ReadWrite);
        self.second_served
            .fetch_or(page == PageId(1), Ordering::Release);
    }
}

fn wait_for(flag: &AtomicBool) {
    let start = Instant::now();
    while !flag.load(Ordering::Acquire) {
        assert!(
            start.elapsed() < PATIENCE,
            "one fault waits for another to end"
        );
        thread::yield_now();
    }
}

pub(crate) fn a_fault_waits_for_no_other(case: &Case) {
    let memory = create(2 * hivemind_protocol::PAGE_SIZE as u64, case.engine);
    let view = memory.view();
    let patient = Arc::new(Patient {
        memory: Mutex::new(memory),
        in_first: AtomicBool::new(false),
        second_served: AtomicBool::new(false),
    });
    let _guard = patient
        .memory
        .lock()
        .unwrap()
        .handle_faults(patient.clone());
    thread::scope(|scope| {
        scope.spawn(|| view.touch(0..1, AccessKind::Read));
        wait_for(&patient.in_first);
        let page = hivemind_protocol::PAGE_SIZE as u64;
        view.touch(page..page + 1, AccessKind::Read);
    });
}

pub(crate) fn scattered_pages_need_no_mappings(case: &Case) {
    const PAGES: u64 = 2_000;
    let region = Fixture::new(PAGES, case.engine);
    let before = mappings();
    for page in (0..PAGES).step_by(2) {
        region.set(page, 1, Access::ReadOnly);
    }
    let grown = mappings().saturating_sub(before);
    // Threads of other tests may map something meanwhile.
    assert!(grown < PAGES as usize / 4, "{grown} mappings more");
}

/// How many mappings this process has, of which `vm.max_map_count` allows so many.
fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().count()
}
