//! On which thread and stack a fault is handled, and what several threads do to one region.

use crate::fixture::{Case, Fixture, Random, create, run};
use hivemind_memory::{FaultHandler, RegionMemory};
use hivemind_protocol::{Access, AccessKind, Memory, PAGE_SIZE, PageId, PageRun};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::{ptr, thread};

const READ: AccessKind = AccessKind::Read;
const WRITE: AccessKind = AccessKind::Write;

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
