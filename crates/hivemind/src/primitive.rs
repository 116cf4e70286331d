//! What threads share is made of these: the standard library's atomics and locks, or those of `loom` where the models
//! (`mod models` in a file) are checked, which try every order of events. So what is checked is what ships.
//!
//! Only `--cfg loom` and a test build together change anything; `cargo xtask models` gives both.

use std::sync::PoisonError;

#[cfg(all(loom, test))]
pub(crate) use loom::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

/// Takes a lock whose holder may have panicked: nothing here is left half-done by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks a model under every order with at most `preemptions` switches away from a thread that could go on. Two find what
/// errors of this kind need (Musuvathi and Qadeer, PLDI 2007).
#[cfg(all(loom, test))]
pub(crate) fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}
