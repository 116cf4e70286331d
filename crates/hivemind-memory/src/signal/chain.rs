//! Installs the signal handler and passes on what isn't ours, to whoever handled the signal before, as the kernel would
//! have.

use crate::primitive::{AtomicPtr, Ordering};
use std::ffi::{c_int, c_void};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::{mem, ptr};

/// A signal handler with `SA_SIGINFO`.
pub(super) type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// What was there before us, by signal. Made by the first that installs, so it is there before our handler runs.
static BEFORE: LazyLock<[(c_int, Before<libc::sigaction>); 2]> =
    LazyLock::new(|| [libc::SIGBUS, libc::SIGSEGV].map(|signal| (signal, Before::new())));

static INSTALLING: Mutex<()> = Mutex::new(());

/// Handles `signal` from now on; does nothing the second time.
pub(super) fn install(signal: c_int, handler: Handler) {
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut new = default_action();
    new.sa_sigaction = handler as *const () as usize;
    // On the alternate stack, for the interrupted one may be exhausted.
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // All signals: while a fault is handled on the interrupted stack, the kernel takes the alternate one for unused, and
    // another handler there would overwrite our frame.
    // SAFETY: the set is a living one.
    unsafe { libc::sigfillset(&mut new.sa_mask) };
    before(signal).install(new, |action| exchange(signal, action.as_ref()));
}

/// Does with a signal what would have happened without us.
///
/// # Safety
/// The arguments are what the kernel passed to the running handler of `signal`.
pub(super) unsafe fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let used_once = |action: &libc::sigaction| action.sa_flags & libc::SA_RESETHAND != 0;
    let action = before(signal).next(used_once, default_action());
    // SAFETY: the caller's promise.
    let fault = is_fault(unsafe { (*info).si_code });
    match action.sa_sigaction {
        libc::SIG_IGN if !fault => {}
        // The kernel does not let a fault be ignored: the instruction could not go on.
        libc::SIG_DFL | libc::SIG_IGN => die_of(signal, fault),
        // SAFETY: the caller's promise; the function is the program's own handler of this signal.
        function => unsafe { call(function, &action, signal, info, context) },
    }
}

/// Calls a handler with the signals blocked that the kernel would block for it.
///
/// # Safety
/// As for [`pass_on`]; `function` is the handler of `action`.
unsafe fn call(
    function: usize,
    action: &libc::sigaction,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    // The kernel's signal set has 64 bits; the C library's is larger, and the context holds only the kernel's.
    const KERNEL_SET_BYTES: usize = 8;
    let mut blocked = action.sa_mask;
    // SAFETY: both sets begin with the kernel's 64 bits, in one or more words; all others are unused.
    unsafe {
        let interrupted =
            (&raw const (*context.cast::<libc::ucontext_t>()).uc_sigmask).cast::<u8>();
        let set = (&raw mut blocked).cast::<u8>();
        for byte in 0..KERNEL_SET_BYTES {
            *set.add(byte) |= *interrupted.add(byte);
        }
        if action.sa_flags & libc::SA_NODEFER == 0 {
            libc::sigaddset(&mut blocked, signal);
        }
    }
    // SAFETY: a handler of the kind that its flags say gets what the kernel gave us. The return from our own handler
    // restores the interrupted signal mask.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, &blocked, ptr::null_mut());
        if action.sa_flags & libc::SA_SIGINFO != 0 {
            let function = mem::transmute::<usize, Handler>(function);
            function(signal, info, context);
        } else {
            let function = mem::transmute::<usize, extern "C" fn(c_int)>(function);
            function(signal);
        }
    }
}

/// Restores the default action and comes back to it: by the faulting instruction, or by the same signal once more.
fn die_of(signal: c_int, fault: bool) {
    exchange(signal, Some(&default_action()));
    if !fault {
        // SAFETY: raise has no preconditions. The signal is blocked now and comes when our handler returns.
        unsafe { libc::raise(signal) };
    }
}

/// Whether the kernel sent the signal because of the interrupted instruction, which will fault again: not with `kill`
/// (0 or less), not for a fault of the machine's memory elsewhere (`BUS_MCEERR_AO`).
fn is_fault(code: c_int) -> bool {
    const BUS_MCEERR_AO: c_int = 5;
    const SI_KERNEL: c_int = 0x80;
    code > 0 && code != BUS_MCEERR_AO && code <= SI_KERNEL
}

fn before(signal: c_int) -> &'static Before<libc::sigaction> {
    let found = BEFORE.iter().find(|(of, _)| *of == signal);
    &found.expect("engines use SIGBUS and SIGSEGV alone").1
}

/// What was there before us: kept once, read by signal handlers at any time, and so never freed.
struct Before<A> {
    action: AtomicPtr<A>,
}

impl<A: Copy> Before<A> {
    fn new() -> Self {
        Self {
            action: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Has `exchange` set `ours`, where that has not been done before; it sets what it is given, and returns what stood.
    fn install(&self, ours: A, mut exchange: impl FnMut(Option<A>) -> A) {
        if !self.action.load(Ordering::Acquire).is_null() {
            return;
        }
        // The old action is kept first: a signal may come as soon as ours stands.
        let old = Box::into_raw(Box::new(exchange(None)));
        self.action.store(old, Ordering::Release);
        exchange(Some(ours));
    }

    /// The action for the signal that has just come. One that is `used_once` is `after` for the next signal, also where
    /// two threads get one at the same time.
    fn next(&self, used_once: impl Fn(&A) -> bool, after: A) -> A {
        loop {
            let kept = self.action.load(Ordering::Acquire);
            // SAFETY: kept before our handler could run, and never freed.
            let action = unsafe { *kept };
            if !used_once(&action) {
                return action;
            }
            let after = Box::into_raw(Box::new(after));
            let swapped =
                self.action
                    .compare_exchange(kept, after, Ordering::AcqRel, Ordering::Relaxed);
            match swapped {
                Ok(_) => return action,
                // SAFETY: another thread was first; nobody has seen this one.
                Err(_) => drop(unsafe { Box::from_raw(after) }),
            }
        }
    }
}

fn default_action() -> libc::sigaction {
    // SAFETY: all zeros is an action: SIG_DFL, no flags, an empty set.
    unsafe { mem::zeroed() }
}

/// Sets an action where one is given, and returns what was there.
fn exchange(signal: c_int, new: Option<&libc::sigaction>) -> libc::sigaction {
    let mut old = default_action();
    // SAFETY: both are living actions; the new one's handler is a signal handler by its flags.
    let done = unsafe { libc::sigaction(signal, new.map_or(ptr::null(), ptr::from_ref), &mut old) };
    assert_eq!(done, 0, "SIGBUS and SIGSEGV can be handled");
    old
}

#[cfg(all(loom, test))]
mod models {
    use super::*;
    use crate::primitive::AtomicU32;
    use crate::primitive::check;
    use loom::sync::Arc;
    use loom::thread;

    const DEFAULT: u32 = 0;
    const THEIRS: u32 = 7;
    const OURS: u32 = 8;

    /// The kernel's table of handlers, with one signal. Its lock orders who reads and who writes.
    fn kernel(standing: &AtomicU32) -> impl FnMut(Option<u32>) -> u32 {
        |action| match action {
            Some(action) => standing.swap(action, Ordering::AcqRel),
            None => standing.load(Ordering::Acquire),
        }
    }

    #[test]
    fn a_signal_that_comes_as_soon_as_our_handler_stands_finds_the_old_one() {
        check(|| {
            let before = Arc::new(Before::new());
            let standing = Arc::new(AtomicU32::new(THEIRS));
            let signal = {
                let (before, standing) = (Arc::clone(&before), Arc::clone(&standing));
                thread::spawn(move || {
                    if standing.load(Ordering::Acquire) == OURS {
                        assert_eq!(before.next(|_| false, DEFAULT), THEIRS);
                    }
                })
            };
            before.install(OURS, kernel(&standing));
            before.install(OURS, |_| panic!("it is installed once"));
            signal.join().unwrap();
        });
    }

    #[test]
    fn a_handler_that_is_used_once_is_used_once_by_two_threads_at_once() {
        check(|| {
            let before = Arc::new(Before::new());
            before.install(OURS, kernel(&AtomicU32::new(THEIRS)));
            let take = |before: &Before<u32>| before.next(|action| *action == THEIRS, DEFAULT);
            let other = {
                let before = Arc::clone(&before);
                thread::spawn(move || take(&before))
            };
            let used = [take(&before), other.join().unwrap()];
            let theirs = used.iter().filter(|action| **action == THEIRS).count();
            assert_eq!(theirs, 1);
        });
    }
}
