//! What depends on the processor: reading an interrupted context, and calling a function on the interrupted stack. All of
//! it for x86_64; another processor needs the same two functions.

use hivemind_protocol::AccessKind;
use std::ffi::c_void;

/// Bits of the page-fault error code that the processor leaves in the context.
const ERROR_WRITE: i64 = 1 << 1;
const ERROR_FETCH: i64 = 1 << 4;

/// What lies below the stack pointer and belongs to the interrupted function all the same.
const RED_ZONE_BYTES: usize = 128;

/// Room left below the red zone, so that a wrong red zone shows as an odd byte rather than as a wild jump.
const MARGIN_BYTES: usize = 256;

/// What the interrupted instruction wanted; `None` where it wanted to execute, which no region allows.
///
/// # Safety
/// `context` is what the kernel passed to the handler of a page fault.
pub(super) unsafe fn access_kind(context: *const libc::ucontext_t) -> Option<AccessKind> {
    // SAFETY: the caller's promise.
    let error = unsafe { (*context).uc_mcontext.gregs[libc::REG_ERR as usize] };
    match error {
        _ if error & ERROR_FETCH != 0 => None,
        _ if error & ERROR_WRITE != 0 => Some(AccessKind::Write),
        _ => Some(AccessKind::Read),
    }
}

/// Calls `function(argument)` on the stack of the interrupted code, which is large, where the signal came in on an
/// alternate stack, which is small; directly otherwise.
///
/// While it runs, all signals must be blocked: the kernel takes the alternate stack for unused and would start at its
/// top again.
///
/// # Safety
/// `context` is what the kernel passed to the running signal handler; `function` may be called with `argument` and does not
/// unwind.
pub(super) unsafe fn call_on_interrupted_stack(
    context: *const libc::ucontext_t,
    function: extern "C" fn(*mut c_void),
    argument: *mut c_void,
) {
    // SAFETY: the caller's promise.
    let (stack, interrupted) = unsafe {
        (
            (*context).uc_stack,
            (*context).uc_mcontext.gregs[libc::REG_RSP as usize] as usize,
        )
    };
    let here = (&raw const stack).addr();
    let alternate = stack.ss_sp.addr()..stack.ss_sp.addr().saturating_add(stack.ss_size);
    let enabled = stack.ss_flags & libc::SS_DISABLE == 0;
    // A handler of the program's that touched the region while on the alternate stack: below it are our own frames.
    if !enabled || !alternate.contains(&here) || alternate.contains(&interrupted) {
        return function(argument);
    }
    let top = (interrupted - RED_ZONE_BYTES - MARGIN_BYTES) & !15;
    // SAFETY: below the interrupted stack pointer and its red zone nothing is in use, and the thread does not run there
    // until we return; the kernel or the guard page grows or ends it as for any call. `function` does not unwind, by the
    // caller's promise.
    unsafe { call_on_stack(function, argument, top as *mut c_void) };
}

/// Calls `function(argument)` with the stack pointer at `top`. A function of its own, with its frame in a register that
/// callees preserve and said so to the unwinder: the backtrace that a panic prints on its way to the end of the process
/// finds back to the signal handler's own stack, and does not run into whatever lies above `top`.
///
/// # Safety
/// `top` is 16-aligned and there is room below it; `function` may be called with `argument` and does not unwind.
#[unsafe(naked)]
unsafe extern "C" fn call_on_stack(
    function: extern "C" fn(*mut c_void),
    argument: *mut c_void,
    top: *mut c_void,
) {
    std::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdx",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}
