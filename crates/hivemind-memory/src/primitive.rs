//! What threads and the signal handler share is made of these: the standard library's atomics and cells, or those of
//! `loom` where the models (`mod models` in a file) are checked, which try every order that the memory model allows. So
//! what is checked is what ships.
//!
//! Only `--cfg loom` and a test build together change anything; `cargo xtask models` gives both.

#[cfg(all(loom, test))]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(not(all(loom, test)))]
pub(crate) use self::plain::UnsafeCell;
#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(not(all(loom, test)))]
mod plain {
    /// [`std::cell::UnsafeCell`] with loom's way in, which says whether one reads or writes.
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// For reading.
        pub(crate) fn with<R>(&self, look: impl FnOnce(*const T) -> R) -> R {
            look(self.0.get())
        }

        /// For writing.
        pub(crate) fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
            change(self.0.get())
        }
    }
}

/// Checks a model under every order with at most this many switches away from a thread that could go on. Two find what
/// errors of this kind need (Musuvathi and Qadeer, PLDI 2007); the third is for good measure.
#[cfg(all(loom, test))]
pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}
