//! Tells the process that made a region from its forked children, at the price of one load.
//!
//! The kernel empties a page with `MADV_WIPEONFORK` in a child. The page holds a token; a region remembers the token
//! of its maker. Why not the process id: it costs a system call, and in another pid namespace it may be the same.

use crate::MemoryError;
use crate::sys;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// The page that a fork empties; null until the first region is made.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// The next token. A child inherits the count, so its tokens differ from its parent's.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Names a process among its forked relatives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owner(u64);

impl Owner {
    /// This process.
    pub(crate) fn this_process() -> Result<Self, MemoryError> {
        let page = match page() {
            Some(page) => page,
            None => make_page()?,
        };
        let fresh = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(
            match page.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => Self(fresh),
                Err(token) => Self(token),
            },
        )
    }

    /// Whether this process is the one named.
    pub(crate) fn is_this_process(self) -> bool {
        page().is_some_and(|page| page.load(Ordering::Relaxed) == self.0)
    }

    /// INV-M3.
    pub(crate) fn assert_this_process(self) {
        assert!(
            self.is_this_process(),
            "INV-M3: a region is used in a forked child, which has none: only the process that joined the hive may use it"
        );
    }
}

fn page() -> Option<&'static AtomicU64> {
    // SAFETY: what PAGE points to is a whole mapped page, aligned, and never unmapped. After a fork it is mapped still,
    // and zero, which is a value of AtomicU64.
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

fn make_page() -> Result<&'static AtomicU64, MemoryError> {
    let fresh = sys::map_wiped_on_fork()?.cast::<AtomicU64>();
    match PAGE.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {}
        // SAFETY: another thread was first; nobody has seen this page.
        Err(_) => unsafe { sys::unmap(fresh.cast(), hivemind_protocol::PAGE_SIZE) },
    }
    Ok(page().expect("the page was just stored and is never taken away"))
}
