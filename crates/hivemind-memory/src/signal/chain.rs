//! Installs the signal handler and passes on what isn't ours, to whoever handled the signal before, as the kernel would
//! have.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{mem, ptr};

/// A signal handler with `SA_SIGINFO`.
pub(super) type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// A signal we handle, and what was there before. Null until installed; what it points to is never freed, since a
/// handler may be reading it at any time.
struct Before {
    signal: c_int,
    action: AtomicPtr<libc::sigaction>,
}

static BEFORE: [Before; 2] = [
    Before {
        signal: libc::SIGBUS,
        action: AtomicPtr::new(ptr::null_mut()),
    },
    Before {
        signal: libc::SIGSEGV,
        action: AtomicPtr::new(ptr::null_mut()),
    },
];

static INSTALLING: Mutex<()> = Mutex::new(());

/// Handles `signal` from now on; does nothing the second time.
pub(super) fn install(signal: c_int, handler: Handler) {
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = before(signal);
    if !before.action.load(Ordering::Acquire).is_null() {
        return;
    }
    // The old action is stored first: a signal may come as soon as the new one stands.
    let old = exchange(signal, None);
    before
        .action
        .store(Box::into_raw(Box::new(old)), Ordering::Release);

    let mut new = default_action();
    new.sa_sigaction = handler as *const () as usize;
    // On the alternate stack, for the interrupted one may be exhausted.
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // All signals: while a fault is handled on the interrupted stack, the kernel takes the alternate one for unused, and
    // another handler there would overwrite our frame.
    // SAFETY: the set is a living one.
    unsafe { libc::sigfillset(&mut new.sa_mask) };
    exchange(signal, Some(&new));
}

/// Does with a signal what would have happened without us.
///
/// # Safety
/// The arguments are what the kernel passed to the running handler of `signal`.
pub(super) unsafe fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let before = before(signal);
    // SAFETY: installed before our handler could run, and never freed.
    let action = unsafe { *before.action.load(Ordering::Acquire) };
    // SAFETY: the caller's promise.
    let fault = is_fault(unsafe { (*info).si_code });
    match action.sa_sigaction {
        libc::SIG_IGN if !fault => {}
        // The kernel does not let a fault be ignored: the instruction could not go on.
        libc::SIG_DFL | libc::SIG_IGN => die_of(signal, fault),
        function => {
            if action.sa_flags & libc::SA_RESETHAND != 0 {
                before
                    .action
                    .store(Box::into_raw(Box::new(default_action())), Ordering::Release);
            }
            // SAFETY: the caller's promise; the function is the program's own handler of this signal.
            unsafe { call(function, &action, signal, info, context) };
        }
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

fn before(signal: c_int) -> &'static Before {
    BEFORE
        .iter()
        .find(|before| before.signal == signal)
        .expect("engines use SIGBUS and SIGSEGV alone")
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
