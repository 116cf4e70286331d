//! From a signal to the region's fault handler. Here is the handler that the kernel calls; `slots` knows whose address it
//! is, `arch` reads the processor's state and changes stacks, `chain` passes on what isn't ours.
//!
//! Deliberately elsewhere: what is done about a fault (the driver, through [`FaultHandler`]) and how pages become
//! present (`engine`).

mod arch;
mod chain;
mod slots;

use crate::BASES;
use crate::engine::{Engine, EngineKind, entry};
use crate::mapping::Mapping;
use hivemind_protocol::{AccessKind, Mutant, PageId, mutant};
use slots::{Claim, Slot, Table};
use std::ffi::{c_int, c_void};
use std::sync::{Arc, LazyLock, Mutex};

/// A region lies at a base, so there are at most as many as bases. The rest is for slots that are retired while a
/// thread is still in their handler.
const SLOTS: usize = 4 * BASES.len();

/// The regions of this process. Made by the first that registers, so it is there before a signal handler looks.
static TABLE: LazyLock<Table<Registration>> = LazyLock::new(|| Table::new(SLOTS));

/// What a slot holds.
struct Registration {
    mapping: Arc<Mapping>,
    engine: Arc<dyn Engine>,
    handler: Arc<dyn FaultHandler>,
    signals: &'static [(c_int, &'static [c_int])],
}

/// Who answers the faults of a region: see [`RegionMemory`](crate::RegionMemory) for one at work.
///
/// ```
/// use hivemind_memory::FaultHandler;
/// use hivemind_protocol::{AccessKind, PageId};
/// use std::sync::Mutex;
///
/// #[derive(Default)]
/// struct Notes(Mutex<Vec<PageId>>);
///
/// impl FaultHandler for Notes {
///     fn fault(&self, page: PageId, _: AccessKind) {
///         self.0.lock().unwrap().push(page); // and opens the page, or the fault comes again
///     }
/// }
///
/// let notes = Notes::default();
/// notes.fault(PageId(3), AccessKind::Read);
/// assert_eq!(*notes.0.lock().unwrap(), [PageId(3)]);
/// ```
pub trait FaultHandler: Send + Sync {
    /// Runs on the faulting thread and its stack, with all signals blocked; returns when the access may be tried again,
    /// and so may block for as long as the hive needs. Several threads may be in it at once, for the same page as well.
    ///
    /// It may allocate, lock and use sockets, as long as the program does not hold those locks while it touches the
    /// region. It must not touch the region itself. It never unwinds: a panic ends the process. Where the hive is lost, it
    /// ends the process itself.
    ///
    /// ```
    /// use hivemind_memory::FaultHandler;
    /// use hivemind_protocol::{AccessKind, PageId};
    /// struct Told;
    /// impl FaultHandler for Told {
    ///     fn fault(&self, page: PageId, kind: AccessKind) {
    ///         println!("{kind:?} of {page}"); // a real one makes the page accessible
    ///     }
    /// }
    /// Told.fault(PageId(3), AccessKind::Read);
    /// ```
    fn fault(&self, page: PageId, kind: AccessKind);
}

/// Keeps a region's [`FaultHandler`] registered; dropping it takes the handler away.
///
/// ```
/// # use hivemind_memory::{EngineKind, FaultHandler, RegionMemory, free_bases};
/// # use hivemind_protocol::{AccessKind, PageId};
/// # use std::panic::{AssertUnwindSafe, catch_unwind};
/// # use std::sync::Arc;
/// # struct Never;
/// # impl FaultHandler for Never {
/// #     fn fault(&self, _: PageId, _: AccessKind) { unreachable!("nobody touches the region") }
/// # }
/// # let base = free_bases(4096).trailing_zeros() as usize;
/// let memory = RegionMemory::create(4096, base, EngineKind::Mprotect)?;
/// let guard = memory.handle_faults(Arc::new(Never));
/// let second = || drop(memory.handle_faults(Arc::new(Never)));
/// assert!(catch_unwind(AssertUnwindSafe(second)).is_err()); // there is one already
/// drop(guard);
/// second();
/// # Ok::<(), hivemind_memory::MemoryError>(())
/// ```
#[must_use = "dropping the guard takes the fault handler away"]
pub struct FaultGuard {
    slot: &'static Slot<Registration>,
}

impl FaultGuard {
    pub(crate) fn register(
        mapping: Arc<Mapping>,
        engine: Arc<dyn Engine>,
        kind: EngineKind,
        handler: Arc<dyn FaultHandler>,
    ) -> Self {
        let entry = entry(kind);
        let start = mapping.base().addr();
        let addresses = start..start + mapping.bytes();
        let registration = Registration {
            mapping: Arc::clone(&mapping),
            engine,
            handler,
            signals: entry.signals,
        };
        let slot = TABLE.register(addresses, registration, |other| {
            Arc::ptr_eq(&other.mapping, &mapping)
        });
        for (signal, _) in entry.signals {
            chain::install(*signal, on_signal);
        }
        Self { slot }
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        self.slot.retire();
    }
}

/// What the kernel calls. Leaves errno as it was, as the interrupted code expects.
extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the C library gives every thread its errno, at an address that stays.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    // SAFETY: the kernel passes a signal's information and the interrupted context, which live until we return.
    unsafe {
        if !serve(signal, info, context.cast()) {
            chain::pass_on(signal, info, context);
        }
        *errno = before;
    }
}

/// Serves a fault on one of our regions; `false` where it is none.
///
/// # Safety
/// `info` and `context` are what the kernel passed to the signal handler.
unsafe fn serve(
    signal: c_int,
    info: *const libc::siginfo_t,
    context: *const libc::ucontext_t,
) -> bool {
    // SAFETY: the caller's promise. The address is there for the signals and codes that slots are registered for; for
    // others, `claim` compares the code before it believes the address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
    let claim = TABLE.claim(address, |registration| {
        let is_fault = |(of, codes): &(c_int, &[c_int])| *of == signal && codes.contains(&code);
        registration.signals.iter().any(is_fault)
            // A forked child inherits the table, but no region.
            && registration.mapping.owner().is_this_process()
            && !registration.mapping.has_ended()
    });
    let Some(claim) = claim else {
        return false;
    };
    // SAFETY: the caller's promise.
    let Some(kind) = (unsafe { arch::access_kind(context) }) else {
        return false;
    };
    let page = claim.registration().mapping.page_at(address);
    if claim.registration().engine.settle(page, kind) {
        return true;
    }
    let mut job = Job { claim, page, kind };
    // SAFETY: `run` gets the job it expects, which lives until the call returns; the context is the kernel's.
    unsafe { arch::call_on_interrupted_stack(context, run, (&raw mut job).cast()) };
    true
}

/// One fault, on its way to another stack.
struct Job {
    claim: Claim<'static, Registration>,
    page: PageId,
    kind: AccessKind,
}

/// Calls the region's handler. `extern "C"`, so that a panic ends the process here rather than unwind into whatever was
/// interrupted.
extern "C" fn run(job: *mut c_void) {
    // SAFETY: `serve` passes a living Job that nobody else uses meanwhile.
    let job = unsafe { &*job.cast::<Job>() };
    if mutant(Mutant::FaultsTakeTurns) {
        static TURNS: Mutex<()> = Mutex::new(());
        let _turn = TURNS.lock();
        return job.claim.registration().handler.fault(job.page, job.kind);
    }
    job.claim.registration().handler.fault(job.page, job.kind);
}
