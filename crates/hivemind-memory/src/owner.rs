//! Tells the process that made a region from its forked children, at the price of two loads.
//!
//! The kernel empties a page with `MADV_WIPEONFORK` in a child. The page holds a token; a region remembers the token
//! of its maker. Why not the process id: it costs a system call, and in another pid namespace it may be the same.

use crate::MemoryError;
use crate::primitive::{AtomicPtr, AtomicU64, Ordering};
use crate::sys;
use std::ptr;
use std::sync::LazyLock;

static OWNERS: LazyLock<Owners> = LazyLock::new(Owners::new);

/// What this process and its forked relatives know of each other.
struct Owners {
    /// The page that a fork empties; null until the first region is made.
    page: AtomicPtr<AtomicU64>,
    /// The next token. A child inherits the count, so its tokens differ from its parent's.
    next: AtomicU64,
}

/// Names a process among its forked relatives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owner(u64);

impl Owner {
    /// This process.
    pub(crate) fn this_process() -> Result<Self, MemoryError> {
        let map = || sys::map_wiped_on_fork().map(|page| page.cast());
        OWNERS.this_process(map, |page| {
            // SAFETY: it is what `map` has just made, and nobody has seen it.
            unsafe { sys::unmap(page.cast(), hivemind_protocol::PAGE_SIZE) }
        })
    }

    /// Whether this process is the one named.
    pub(crate) fn is_this_process(self) -> bool {
        OWNERS.is_this_process(self)
    }

    /// INV-M3.
    pub(crate) fn assert_this_process(self) {
        assert!(
            self.is_this_process(),
            "INV-M3: a region is used in a forked child, which has none: only the process that joined the hive may use it"
        );
    }
}

impl Owners {
    fn new() -> Self {
        Self {
            page: AtomicPtr::new(ptr::null_mut()),
            next: AtomicU64::new(1),
        }
    }

    /// This process's name. `map` gives a fresh page, `unmap` takes one back that isn't needed after all.
    fn this_process<E>(
        &self,
        map: impl FnOnce() -> Result<*mut AtomicU64, E>,
        unmap: impl FnOnce(*mut AtomicU64),
    ) -> Result<Owner, E> {
        let page = match self.page() {
            Some(page) => page,
            None => self.make_page(map()?, unmap),
        };
        let fresh = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(
            match page.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => Owner(fresh),
                Err(token) => Owner(token),
            },
        )
    }

    fn is_this_process(&self, owner: Owner) -> bool {
        self.page()
            .is_some_and(|page| page.load(Ordering::Relaxed) == owner.0)
    }

    fn page(&self) -> Option<&AtomicU64> {
        // SAFETY: what `page` points to is a whole mapped page, aligned, and never unmapped. After a fork it is mapped
        // still, and zero, which is a value of AtomicU64.
        unsafe { self.page.load(Ordering::Acquire).as_ref() }
    }

    fn make_page(&self, fresh: *mut AtomicU64, unmap: impl FnOnce(*mut AtomicU64)) -> &AtomicU64 {
        let kept =
            self.page
                .compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire);
        if kept.is_err() {
            // Another thread was first.
            unmap(fresh);
        }
        self.page()
            .expect("the page was just stored and is never taken away")
    }
}

#[cfg(all(loom, test))]
mod models {
    use super::*;
    use crate::primitive::check;
    use loom::sync::Arc;
    use loom::thread;
    use std::convert::Infallible;

    fn this_process(owners: &Owners) -> Owner {
        let map = || Ok::<_, Infallible>(Box::into_raw(Box::new(AtomicU64::new(0))));
        // SAFETY: it is what `map` has just made.
        let unmap = |page| drop(unsafe { Box::from_raw(page) });
        owners.this_process(map, unmap).unwrap()
    }

    #[test]
    fn threads_that_make_the_first_regions_at_once_are_one_process() {
        check(|| {
            let owners = Arc::new(Owners::new());
            let other = {
                let owners = Arc::clone(&owners);
                thread::spawn(move || this_process(&owners))
            };
            let here = this_process(&owners);
            assert!(owners.is_this_process(here));
            assert_eq!(here, other.join().unwrap());
        });
    }

    #[test]
    fn after_a_fork_nobody_is_the_parent() {
        check(|| {
            let owners = Arc::new(Owners::new());
            let parent = this_process(&owners);
            // What the kernel does to the page in the child.
            owners.page().unwrap().store(0, Ordering::Relaxed);
            assert!(!owners.is_this_process(parent));
            let child = this_process(&owners);
            assert_ne!(child, parent);
            assert!(!owners.is_this_process(parent));
        });
    }
}
