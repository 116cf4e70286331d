//! What pages do under an engine, looked at from inside one process.

use crate::fixture::{Case, Fixture, Random, create, run};
use hivemind_memory::{BASES, FaultHandler, MemoryError, RegionMemory, free_bases};
use hivemind_protocol::{Access, AccessKind, Memory, PAGE_SIZE, PageId, PageRun, WriteDetection};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};
use std::{ptr, thread};

const READ: AccessKind = AccessKind::Read;
const WRITE: AccessKind = AccessKind::Write;

pub(crate) fn a_first_access_faults_with_its_page_and_kind(case: &Case) {
    let region = Fixture::new(8, case.engine);
    region.load(3, 0);
    region.load(5, PAGE_SIZE - 1);
    region.store(7, 17, 1);
    assert_eq!(
        region.faults(),
        [(PageId(3), READ), (PageId(5), READ), (PageId(7), WRITE)]
    );
    for page in [3, 5, 7] {
        region.load(page, 100);
    }
    region.store(7, 18, 1);
    assert_eq!(region.faults(), [], "a valid page does not fault");
}

pub(crate) fn a_read_modify_write_is_a_write_and_an_access_across_pages_faults_on_both(
    case: &Case,
) {
    let region = Fixture::new(4, case.engine);
    // SAFETY: inside the view, used as an atomic alone.
    unsafe { AtomicU8::from_ptr(region.at(0, 5)) }.fetch_add(3, Ordering::Relaxed);
    assert_eq!(region.faults(), [(PageId(0), WRITE)]);
    // SAFETY: inside the view; the type has no alignment.
    unsafe {
        region
            .at(1, PAGE_SIZE - 3)
            .cast::<u64>()
            .write_unaligned(u64::MAX)
    };
    let mut faults = region.faults();
    faults.sort_by_key(|(page, _)| *page);
    assert_eq!(faults, [(PageId(1), WRITE), (PageId(2), WRITE)]);
    assert_eq!(
        (
            region.load(0, 5),
            region.load(1, PAGE_SIZE - 1),
            region.load(2, 4)
        ),
        (3, 255, 255)
    );
}

pub(crate) fn a_write_after_a_read_is_noticed(case: &Case) {
    let region = Fixture::new(4, case.engine);
    region.load(2, 0);
    assert_eq!(region.faults(), [(PageId(2), READ)]);
    region.store(2, 1, 9);
    let detection = region.memory().write_detection();
    match detection {
        WriteDetection::Traps => {
            assert_eq!(region.faults(), [(PageId(2), WRITE)]);
            assert_eq!(region.take_written(), []);
            region.set(2, 1, Access::ReadOnly);
            region.store(2, 1, 10);
            assert_eq!(
                region.faults(),
                [(PageId(2), WRITE)],
                "read-only again, it traps again"
            );
        }
        WriteDetection::Scans => {
            assert_eq!(region.faults(), []);
            assert_eq!(region.take_written(), [run(2, 1)]);
        }
    }
}

pub(crate) fn written_pages_are_reported_exactly_and_once(case: &Case) {
    const PAGES: u64 = 3_000;
    let region = Fixture::new(PAGES, case.engine);
    if region.memory().write_detection() == WriteDetection::Traps {
        return;
    }
    let mut random = Random(7);
    for before in [Access::Invalid, Access::ReadWrite] {
        region.set(0, PAGES, Access::Invalid);
        region.set(100, 2_000, before);
        // No page counts as written before a store.
        region.set(100, 2_000, Access::ReadOnly);
        assert_eq!(region.take_written(), []);
        for _ in 0..20 {
            let mut stored: Vec<u64> = (0..random.below(900))
                .map(|_| 100 + random.below(2_000))
                .collect();
            stored.sort_unstable();
            stored.dedup();
            // Each changes a byte: stores that leave all as it is may be left out.
            for page in &stored {
                let offset = random.below(PAGE_SIZE as u64) as usize;
                region.store(*page, offset, !region.load(*page, offset));
            }
            let expected = PageRun::join(stored.into_iter().map(PageId));
            let mut written = vec![run(1, 1)];
            region.memory().take_written(&mut written);
            assert_eq!(written[0], run(1, 1), "what is found is appended");
            assert_eq!(written[1..], expected);
            assert_eq!(region.take_written(), [], "what was reported is forgotten");
        }
    }
    assert_eq!(
        region.faults(),
        [],
        "a store to a valid page does not fault"
    );
}

pub(crate) fn a_store_that_the_core_saw_is_reported_though_it_is_taken_back(case: &Case) {
    let region = Fixture::new(4, case.engine);
    if region.memory().write_detection() == WriteDetection::Traps {
        return;
    }
    region.set(0, 4, Access::ReadOnly);
    region.store(1, 7, 1);
    let mut seen = [0; PAGE_SIZE];
    region.memory().read(PageId(1), &mut seen);
    assert_eq!(seen[7], 1);
    region.store(1, 7, 0);
    assert_eq!(region.take_written(), [run(1, 1)]);
    assert_eq!(region.take_written(), []);
    region.memory().read(PageId(1), &mut seen);
    assert_eq!(region.take_written(), [], "looking is no store");
    region.store(1, 7, 1);
    assert_eq!(region.take_written(), [run(1, 1)]);
}

pub(crate) fn a_store_by_the_kernel_is_reported(case: &Case) {
    let region = Fixture::new(4, case.engine);
    region.load(1, 0);
    region.load(2, 0);
    // The page is touched for writing where that traps; where it is scanned for, the kernel's store does it alone.
    if region.memory().write_detection() == WriteDetection::Traps {
        assert!(
            !fill_by_system_call(region.at(1, 0)),
            "a store to a read-only page is refused"
        );
        return;
    }
    assert!(fill_by_system_call(region.at(1, 0)));
    assert_eq!(region.take_written(), [run(1, 1)]);
}

pub(crate) fn a_store_before_the_scan_outlives_the_invalidation(case: &Case) {
    let region = Fixture::new(2, case.engine);
    region.store(0, 0, 1);
    region.take_written();
    region.store(0, 1, 2);
    let reported = region.take_written();
    if region.memory().write_detection() == WriteDetection::Scans {
        assert_eq!(reported, [run(0, 1)]);
    }
    region.set(0, 1, Access::Invalid);
    assert_eq!(region.page(0)[..3], [1, 2, 0]);
}

pub(crate) fn invalidation_forgets_the_write_but_no_byte(case: &Case) {
    let region = Fixture::new(8, case.engine);
    for page in 0..8 {
        region.store(page, 9, page as u8 + 1);
    }
    region.set(0, 8, Access::Invalid);
    region.faults();
    for page in 0..8 {
        assert_eq!(
            region.page(page)[9],
            page as u8 + 1,
            "the core reads an invalid page"
        );
        assert_eq!(
            region.load(page, 9),
            page as u8 + 1,
            "and so does the program, when it is valid again"
        );
    }
    assert_eq!(region.faults().len(), 8, "each page faulted again");
    assert_eq!(region.take_written(), []);
}

pub(crate) fn what_the_core_writes_is_what_the_program_reads(case: &Case) {
    let region = Fixture::new(4, case.engine);
    region.load(1, 0);
    region.set(1, 1, Access::Invalid);
    {
        let mut memory = region.memory();
        memory.write(PageId(1), 4000, b"diff");
        memory.write(PageId(1), 0, &[]);
        memory.write(PageId(1), PAGE_SIZE, &[]);
        // A page that nobody ever touched.
        memory.write(PageId(3), 0, &[7; PAGE_SIZE]);
    }
    let read: Vec<u8> = (3999..4005).map(|offset| region.load(1, offset)).collect();
    assert_eq!(read, b"\0diff\0");
    assert!((0..PAGE_SIZE).all(|offset| region.load(3, offset) == 7));
    assert_eq!(
        region.take_written(),
        [],
        "what the core writes is no store of the program"
    );
}

pub(crate) fn an_untouched_page_is_zero_for_the_program_and_the_core(case: &Case) {
    let region = Fixture::new(64, case.engine);
    assert!(region.page(11).iter().all(|byte| *byte == 0));
    for page in 0..64 {
        assert!((0..PAGE_SIZE).all(|offset| region.load(page, offset) == 0));
    }
}

pub(crate) fn runs_of_pages_change_together_and_again_without_harm(case: &Case) {
    let region = Fixture::new(2_000, case.engine);
    for _ in 0..2 {
        region.set(500, 1_000, Access::ReadWrite);
    }
    region.set(700, 100, Access::Invalid);
    // Over the hole, and beyond both ends of what is valid.
    region.set(600, 1_000, Access::ReadWrite);
    region.set(600, 10, Access::ReadOnly);
    for page in 500..1_600 {
        region.load(page, 1);
    }
    assert_eq!(region.faults(), []);
    region.load(499, 0);
    region.load(1_600, 0);
    assert_eq!(
        region.faults(),
        [(PageId(499), READ), (PageId(1_600), READ)]
    );
    for _ in 0..2 {
        region.set(0, 2_000, Access::Invalid);
    }
    for page in [499, 500, 777, 1_600] {
        region.load(page, 0);
    }
    assert_eq!(region.faults().len(), 4);
}

pub(crate) fn two_threads_on_one_page_both_get_through(case: &Case) {
    let region = Fixture::new(1, case.engine);
    let start = Barrier::new(2);
    for round in 1..=500 {
        let value = round as u8;
        thread::scope(|scope| {
            for slot in 0..2 {
                let (region, start) = (&region, &start);
                scope.spawn(move || {
                    start.wait();
                    region.store(0, slot * 8, value);
                    assert_eq!(region.load(0, slot * 8), value);
                });
            }
        });
        assert!(
            region
                .faults()
                .iter()
                .all(|fault| *fault == (PageId(0), WRITE))
        );
        assert_eq!((region.page(0)[0], region.page(0)[8]), (value, value));
        region.set(0, 1, Access::Invalid);
    }
}

/// Takes a mutex and much stack, as a driver does.
struct Deep<const STACK_BYTES: usize> {
    memory: Mutex<RegionMemory>,
}

impl<const STACK_BYTES: usize> FaultHandler for Deep<STACK_BYTES> {
    fn fault(&self, page: PageId, kind: AccessKind) {
        let mut much = [0u8; STACK_BYTES];
        std::hint::black_box(&mut much);
        let boxed = Box::new(if kind == WRITE {
            Access::ReadWrite
        } else {
            Access::ReadOnly
        });
        self.memory
            .lock()
            .unwrap()
            .set_access(PageRun::one(page), *boxed);
    }
}

pub(crate) fn eight_threads_lose_no_store_to_invalidations(case: &Case) {
    const PAGES: u64 = 200;
    const THREADS: usize = 8;
    const STORES: u64 = 4_000;
    let memory = create(PAGES * PAGE_SIZE as u64, case.engine);
    let view = memory.view();
    let deep = Arc::new(Deep::<{ 256 * 1024 }> {
        memory: Mutex::new(memory),
    });
    let _guard = deep.memory.lock().unwrap().handle_faults(deep.clone());
    let running = AtomicUsize::new(THREADS);
    let at = |page: u64, thread: usize| {
        view.base()
            .wrapping_add(page as usize * PAGE_SIZE + thread * 8)
            .cast::<u64>()
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (running, at) = (&running, &at);
            scope.spawn(move || {
                let mut random = Random(thread as u64);
                for _ in 0..STORES {
                    let counter = at(random.below(PAGES), thread).cast();
                    // SAFETY: inside the view and aligned; the handler makes it present; the counter is this thread's.
                    unsafe { ptr::write_volatile(counter, ptr::read_volatile::<u64>(counter) + 1) };
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        let mut random = Random(99);
        while running.load(Ordering::Acquire) > 0 {
            let first = random.below(PAGES);
            let pages = run(first, 1 + random.below(4.min(PAGES - first)));
            deep.memory
                .lock()
                .unwrap()
                .set_access(pages, Access::Invalid);
            thread::yield_now();
        }
    });
    let mut counted = 0;
    for page in 0..PAGES {
        for thread in 0..THREADS {
            // SAFETY: inside the view and aligned; nobody stores any more.
            counted += unsafe { at(page, thread).read_volatile() };
        }
    }
    assert_eq!(counted, THREADS as u64 * STORES);
}

pub(crate) fn stores_to_read_write_pages_concern_no_scan(case: &Case) {
    let region = Fixture::new(10, case.engine);
    region.set(0, 10, Access::ReadWrite);
    (0..10).for_each(|page| region.store(page, 5, 1));
    assert_eq!(region.faults(), []);
    assert_eq!(region.take_written(), []);
    region.set(3, 2, Access::ReadOnly);
    assert_eq!(
        region.take_written(),
        [],
        "what was stored before does not count"
    );
    if region.memory().write_detection() == WriteDetection::Traps {
        return;
    }
    (0..10).for_each(|page| region.store(page, 6, 2));
    assert_eq!(region.take_written(), [run(3, 2)]);
    region.store(4, 7, 3);
    region.set(4, 1, Access::ReadWrite);
    assert_eq!(region.take_written(), [], "a change of access forgets");
    region.set(4, 1, Access::ReadOnly);
    assert_eq!(region.take_written(), []);
    assert_eq!(region.load(4, 7), 3);
}

pub(crate) fn no_store_is_missed_by_scans_that_run_beside_it(case: &Case) {
    const PAGES: u64 = 100;
    let region = Fixture::new(PAGES, case.engine);
    if region.memory().write_detection() == WriteDetection::Traps {
        return;
    }
    region.set(0, PAGES, Access::ReadOnly);
    let stop = AtomicBool::new(false);
    let mut seen = vec![[0; PAGE_SIZE]; PAGES as usize];
    let mut look = |region: &Fixture| {
        for page in region.take_written().into_iter().flat_map(PageRun::pages) {
            seen[page.0 as usize] = region.page(page.0);
        }
    };
    thread::scope(|scope| {
        for thread in 0..2 {
            let (region, stop) = (&region, &stop);
            scope.spawn(move || {
                let mut random = Random(thread);
                while !stop.load(Ordering::Relaxed) {
                    let offset = 2 * random.below(2_000) as usize + thread as usize;
                    region.store(random.below(PAGES), offset, random.below(256) as u8);
                }
            });
        }
        for _ in 0..2_000 {
            look(&region);
        }
        stop.store(true, Ordering::Relaxed);
    });
    look(&region);
    for page in 0..PAGES {
        assert!(
            seen[page as usize] == region.page(page),
            "a store to page {page} was never reported"
        );
    }
}

pub(crate) fn errno_survives_a_fault(case: &Case) {
    /// Fails a system call on the way.
    struct Failing(Arc<crate::fixture::Simple>);
    impl FaultHandler for Failing {
        fn fault(&self, page: PageId, kind: AccessKind) {
            // SAFETY: closing no descriptor only sets errno.
            assert_eq!(unsafe { libc::close(-1) }, -1);
            self.0.fault(page, kind);
        }
    }
    let mut region = Fixture::new(2, case.engine);
    region.drop_guard();
    let failing = Arc::new(Failing(Arc::clone(&region.handler)));
    let _guard = region.memory().handle_faults(failing);
    // SAFETY: every thread has its errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { *errno = 1234 };
    region.load(1, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { *errno }, 1234);
    assert_eq!(region.faults(), [(PageId(1), READ)]);
}

/// Notes where its own stack is.
struct WhereAmI {
    memory: Mutex<RegionMemory>,
    stack: AtomicUsize,
}

impl FaultHandler for WhereAmI {
    fn fault(&self, page: PageId, _: AccessKind) {
        let local = 0u8;
        self.stack
            .store((&raw const local).addr(), Ordering::Relaxed);
        self.memory
            .lock()
            .unwrap()
            .set_access(PageRun::one(page), Access::ReadWrite);
    }
}

pub(crate) fn a_fault_is_handled_on_the_threads_own_stack(case: &Case) {
    let memory = create(PAGE_SIZE as u64, case.engine);
    let view = memory.view();
    let handler = Arc::new(WhereAmI {
        memory: Mutex::new(memory),
        stack: AtomicUsize::new(0),
    });
    let _guard = handler
        .memory
        .lock()
        .unwrap()
        .handle_faults(handler.clone());
    let local = 0u8;
    assert_ne!(
        alternate_stack().ss_flags & libc::SS_DISABLE,
        libc::SS_DISABLE,
        "Rust's threads have one"
    );
    // SAFETY: inside the view, and the handler makes it present.
    unsafe { view.base().read_volatile() };
    let below = (&raw const local)
        .addr()
        .wrapping_sub(handler.stack.load(Ordering::Relaxed));
    assert!(
        below < 64 * 1024,
        "the handler's stack is {below} bytes below the program's"
    );
}

pub(crate) fn a_thread_without_an_alternate_stack_is_served(case: &Case) {
    let region = Fixture::new(1, case.engine);
    on_alternate_stack(&mut [], || region.store(0, 0, 5));
    assert_eq!(region.load(0, 0), 5);
}

static TOUCH: AtomicUsize = AtomicUsize::new(0);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

extern "C" fn touch(_: libc::c_int) {
    let byte = ptr::with_exposed_provenance_mut::<u8>(TOUCH.load(Ordering::Relaxed));
    // SAFETY: the test stored the address of a byte of its region, whose handler makes it present.
    unsafe { byte.write_volatile(byte.read_volatile() + 1) };
}

pub(crate) fn a_handler_on_the_alternate_stack_is_served(case: &Case) {
    let _both_engines_use_one_signal = ONE_AT_A_TIME.lock().unwrap();
    let memory = create(PAGE_SIZE as u64, case.engine);
    let view = memory.view();
    // Enough stack to overwrite the frames of both signals, if it were to start among them.
    let deep = Arc::new(Deep::<{ 32 * 1024 }> {
        memory: Mutex::new(memory),
    });
    let _guard = deep.memory.lock().unwrap().handle_faults(deep.clone());
    TOUCH.store(view.base().expose_provenance(), Ordering::Relaxed);
    on_alternate_stack(&mut vec![0; 256 * 1024], || {
        // SAFETY: zeros are an action; the handler takes the one argument that its flags promise.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = touch as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()), 0);
            assert_eq!(libc::raise(libc::SIGUSR1), 0);
        }
    });
    // SAFETY: inside the view, and the handler makes it present.
    assert_eq!(unsafe { view.base().read_volatile() }, 1);
}

pub(crate) fn a_system_call_is_refused_until_the_page_is_touched(case: &Case) {
    let region = Fixture::new(4, case.engine);
    assert!(
        !fill_by_system_call(region.at(1, 0)),
        "an absent page is refused"
    );
    assert_eq!(
        std::io::Error::last_os_error().raw_os_error(),
        Some(libc::EFAULT)
    );
    assert_eq!(region.faults(), [], "and nobody hears of it");
    let page = PAGE_SIZE as u64;
    region.view.touch(page..2 * page + 1, WRITE);
    assert_eq!(region.faults(), [(PageId(1), WRITE), (PageId(2), WRITE)]);
    assert!(fill_by_system_call(region.at(1, 0)));
    region.view.touch(3 * page..3 * page, READ);
    assert_eq!(region.faults(), [], "an empty range touches nothing");
    region.view.touch(4 * page - 1..4 * page, READ);
    assert_eq!(region.faults(), [(PageId(3), READ)]);
    assert!(catch_unwind(|| region.view.touch(0..4 * page + 1, READ)).is_err());
}

pub(crate) fn two_regions_have_their_own_handlers(case: &Case) {
    let (one, two) = (Fixture::new(4, case.engine), Fixture::new(4, case.engine));
    one.store(1, 0, 1);
    two.store(2, 0, 2);
    assert_eq!(one.faults(), [(PageId(1), WRITE)]);
    assert_eq!(two.faults(), [(PageId(2), WRITE)]);
    drop(one);
    two.store(3, 0, 3);
    assert_eq!(two.faults(), [(PageId(3), WRITE)]);
}

pub(crate) fn a_terabyte_costs_nothing_until_it_is_touched(case: &Case) {
    const PAGES: u64 = (1 << 40) / PAGE_SIZE as u64;
    let start = Instant::now();
    let region = Fixture::new(PAGES, case.engine);
    for page in [0, PAGES / 2, PAGES - 1] {
        region.load(page, 0);
        region.store(page, 4095, 1);
    }
    if region.memory().write_detection() == WriteDetection::Scans {
        assert_eq!(
            region.take_written(),
            [run(0, 1), run(PAGES / 2, 1), run(PAGES - 1, 1)]
        );
    }
    region.set(0, PAGES, Access::Invalid);
    region.faults();
    assert_eq!(region.load(PAGES - 1, 4095), 1);
    assert_eq!(region.faults(), [(PageId(PAGES - 1), READ)]);
    drop(region);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "took {:?}",
        start.elapsed()
    );
}

pub(crate) fn a_taken_base_is_said_and_becomes_free_again(case: &Case) {
    // Sizes of their own, so that what another test does at the same base does not matter.
    let region = create(1, case.engine);
    assert_eq!(
        region.view().bytes(),
        PAGE_SIZE as u64,
        "a region is rounded up to pages"
    );
    let index = BASES
        .iter()
        .position(|base| *base == region.view().base().addr())
        .unwrap();
    assert_eq!(free_bases(1) & 1 << index, 0);
    let refused = RegionMemory::create(1, index, case.engine).unwrap_err();
    assert_eq!(
        refused,
        MemoryError::BaseTaken {
            index,
            base: BASES[index],
            bytes: 1
        }
    );
    assert!(
        refused.to_string().contains("choose another base"),
        "{refused}"
    );
    let refused = RegionMemory::create(1, BASES.len(), case.engine).unwrap_err();
    assert_eq!(refused, MemoryError::UnknownBase { index: BASES.len() });
    assert_eq!(
        RegionMemory::create(0, index, case.engine).unwrap_err(),
        MemoryError::EmptyRegion
    );
    let refused = RegionMemory::create(u64::MAX, index, case.engine).unwrap_err();
    assert!(
        matches!(refused, MemoryError::RegionTooLarge { .. }),
        "{refused}"
    );
}

pub(crate) fn a_write_into_a_visible_page_breaks_an_invariant(case: &Case) {
    let region = Fixture::new(2, case.engine);
    region.memory().write(PageId(0), 0, &[1]);
    region.load(0, 0);
    assert_breaks("INV-M1", || region.memory().write(PageId(0), 0, &[1]));
}

pub(crate) fn a_page_beyond_the_region_breaks_an_invariant(case: &Case) {
    let mut memory = create(2 * PAGE_SIZE as u64, case.engine);
    assert_breaks("INV-M4", || memory.set_access(run(1, 2), Access::ReadOnly));
    assert_breaks("INV-M4", || {
        memory.set_access(run(u64::MAX, 2), Access::Invalid)
    });
    assert_breaks("INV-M4", || memory.write(PageId(2), 0, &[1]));
    assert_breaks("INV-M4", || memory.write(PageId(1), PAGE_SIZE - 1, &[1, 2]));
    assert_breaks("INV-M4", || memory.read(PageId(2), &mut [0; PAGE_SIZE]));
}

pub(crate) fn a_second_handler_is_refused(case: &Case) {
    let mut region = Fixture::new(2, case.engine);
    let second = || drop(region.memory().handle_faults(region.handler.clone()));
    assert_breaks("second handler", second);
    region.drop_guard();
    let _guard = region.memory().handle_faults(region.handler.clone());
    region.load(1, 0);
    assert_eq!(region.faults(), [(PageId(1), READ)]);
}

fn assert_breaks(what: &str, undertaking: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(undertaking)).expect_err("it goes through");
    let sentence = panic
        .downcast_ref::<String>()
        .map_or_else(|| *panic.downcast_ref::<&str>().unwrap(), String::as_str);
    assert!(sentence.contains(what), "{sentence}");
}

/// Has the kernel store 16 bytes there, and tells whether it could.
fn fill_by_system_call(address: *mut u8) -> bool {
    // SAFETY: the kernel stores into memory of the test's own region, or answers EFAULT.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, address) == 0 }
}

/// Plays something on a thread that has this alternate stack, or none.
fn on_alternate_stack(room: &mut [u8], play: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(move || {
            let new = libc::stack_t {
                ss_sp: room.as_mut_ptr().cast(),
                ss_flags: if room.is_empty() { libc::SS_DISABLE } else { 0 },
                ss_size: room.len(),
            };
            let old = alternate_stack();
            // SAFETY: the stack outlives the scope; the thread's own is given back below.
            assert_eq!(unsafe { libc::sigaltstack(&new, ptr::null_mut()) }, 0);
            play();
            // SAFETY: what was there before.
            assert_eq!(unsafe { libc::sigaltstack(&old, ptr::null_mut()) }, 0);
        });
    });
}

fn alternate_stack() -> libc::stack_t {
    let mut stack = libc::stack_t {
        ss_sp: ptr::null_mut(),
        ss_flags: 0,
        ss_size: 0,
    };
    // SAFETY: asks only.
    assert_eq!(unsafe { libc::sigaltstack(ptr::null(), &mut stack) }, 0);
    stack
}
