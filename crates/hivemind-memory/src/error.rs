//! What the environment can refuse, each with its remedy, and the end of a process that lost its memory.
//! Broken invariants are assertions where they are checked, not errors.

use crate::EngineKind;
use rustix::io::Errno;
use std::fmt;

/// Why a region could not be made or an engine not be chosen. Each says what to do.
///
/// ```
/// use hivemind_memory::{EngineKind, MemoryError, RegionMemory};
/// let error = RegionMemory::create(0, 0, EngineKind::Mprotect).unwrap_err();
/// assert_eq!(error, MemoryError::EmptyRegion);
/// assert!(error.to_string().ends_with("ask for at least one page (4096 bytes)"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// A region of no bytes was asked for.
    #[error("a region of 0 bytes was asked for: ask for at least one page (4096 bytes)")]
    EmptyRegion,
    /// There is no such base.
    #[error("there is no region base number {index}: choose one of 0 to 15")]
    UnknownBase {
        /// The number asked for.
        index: usize,
    },
    /// The machine's pages have another size than the protocol's.
    #[error(
        "this machine's pages have {page_bytes} bytes, HiveMind works with pages of 4096: boot a kernel with 4 KiB pages"
    )]
    PageSize {
        /// The machine's page size.
        page_bytes: usize,
    },
    /// The region does not fit into the address space.
    #[error(
        "a region of {} at {base:#x} does not fit into this machine's address space: ask for at most {}",
        Size(*bytes), Size(*limit_bytes)
    )]
    RegionTooLarge {
        /// The size asked for.
        bytes: u64,
        /// Where it was to start.
        base: usize,
        /// What fits there at most.
        limit_bytes: u64,
    },
    /// The process may not have so much address space.
    #[error(
        "a region of {} needs {} of address space, this process may have {} (RLIMIT_AS): raise it with \
         `ulimit -v unlimited`, or ask for a smaller region",
        Size(*bytes), Size(bytes.saturating_mul(2)), Size(*limit_bytes)
    )]
    AddressSpaceLimit {
        /// The size asked for; it is mapped twice.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// The process may not have so large a file.
    #[error(
        "a region of {} needs a memory file of that size, this process may have {} (RLIMIT_FSIZE): raise it with \
         `ulimit -f unlimited`, or ask for a smaller region",
        Size(*bytes), Size(*limit_bytes)
    )]
    FileSizeLimit {
        /// The size asked for.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Something else lives where the region was to be.
    #[error(
        "{} from {base:#x} on are not free in this process (base number {index}): choose another base, or a smaller region",
        Size(*bytes)
    )]
    BaseTaken {
        /// The base's number.
        index: usize,
        /// Its address.
        base: usize,
        /// The size asked for.
        bytes: u64,
    },
    /// The kernel refuses the memory file.
    #[error(
        "the kernel refuses a memory file of {} ({call}: {errno}): allow memfd_create (a seccomp filter or the sysctl \
         vm.memfd_noexec may forbid it), and look at the limits on open files and memory",
        Size(*bytes)
    )]
    MemfdRefused {
        /// The system call.
        call: &'static str,
        /// The size asked for.
        bytes: u64,
        /// What it answered.
        errno: Errno,
    },
    /// The kernel refuses a mapping.
    #[error(
        "the kernel refuses to map {} ({call}: {errno}): look at `ulimit -v`, the cgroup's memory limit and the sysctl \
         vm.overcommit_memory, or ask for a smaller region",
        Size(*bytes)
    )]
    MapRefused {
        /// The system call.
        call: &'static str,
        /// The size asked for.
        bytes: u64,
        /// What it answered.
        errno: Errno,
    },
    /// The engine asked for cannot work here.
    #[error("the fault engine {engine} cannot work here: {why}; {remedy}")]
    EngineRefused {
        /// The engine.
        engine: EngineKind,
        /// What was refused.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// No such engine.
    #[error("there is no fault engine `{given}`: choose one of {allowed}")]
    UnknownEngine {
        /// What was asked for.
        given: String,
        /// What may be asked for.
        allowed: String,
    },
}

/// Ends the process: the environment refused in mid-run what the shared memory cannot do without. Says so in one
/// sentence first. Takes no lock and runs no destructor, for it may run in the middle of anything.
pub(crate) fn end_process(sentence: fmt::Arguments<'_>) -> ! {
    /// The exit status of a drone that lost its memory (EX_SOFTWARE of sysexits.h).
    const STATUS: i32 = 70;
    let line = format!("hivemind: {sentence}\n");
    // SAFETY: the pointer and the length are those of `line`. Where stderr is closed, the write fails and nothing else
    // happens.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
    // SAFETY: `_exit` has no preconditions. Destructors and exit handlers are skipped on purpose: they might touch
    // the region.
    unsafe { libc::_exit(STATUS) }
}

/// A number of bytes in the largest unit that keeps it readable.
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let unit = (self.0.max(1).ilog2() / 10) as usize;
        let whole = self.0 >> (10 * unit);
        if whole << (10 * unit) == self.0 {
            write!(f, "{whole} {}", UNITS[unit])
        } else {
            write!(
                f,
                "{:.1} {}",
                self.0 as f64 / (1u64 << (10 * unit)) as f64,
                UNITS[unit]
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_readable_units() {
        let text = |bytes| Size(bytes).to_string();
        assert_eq!(text(0), "0 bytes");
        assert_eq!(text(4095), "4.0 KiB");
        assert_eq!(text(4096), "4 KiB");
        assert_eq!(text(3 << 40), "3 TiB");
        assert_eq!(text(u64::MAX), "16.0 EiB");
    }
}
