//! The memory room of HiveMind: the shared region and the page-fault engines.
//!
//! Here lives everything that touches pages: the region (one memfd mapped twice, `mapping`), the addresses
//! that drones agree on (`bases`), the fault engines (`engine`, a file each), the signal handler that
//! brings a fault to the driver (`signal`), the byte rings between drones of one machine (`shared_ring`), the raw
//! system calls (`sys`; for sockets `socket`), and the vector instructions that compare and
//! move a page's bytes (`vectors`). It is one of the two places where
//! `unsafe` may stand.
//!
//! Deliberately elsewhere: what a fault *means* (`hivemind-protocol`), who answers it and over which wire, and
//! the typed views of the region (`hivemind`).
//!
//! # How a fault travels
//!
//! 1. The program touches a page of the application view that is [`Access::Invalid`](hivemind_protocol::Access).
//! 2. The kernel sends the thread `SIGBUS` or `SIGSEGV`, by engine. `signal` finds the region that owns the address,
//!    moves back to the interrupted stack, which is large, and calls the region's [`FaultHandler`].
//! 3. The handler gets the page and calls `set_access`. It returns, and the access is tried again.
//!
//! No other thread is involved unless the handler involves one.
//!
//! # What a program must know
//!
//! - A system call on an invalid page gets `EFAULT`. [`RegionView::touch`] makes a range present first.
//! - While a fault is handled, the thread has all signals blocked. A thread that blocks `SIGBUS` or `SIGSEGV` itself and
//!   then faults is killed by the kernel.
//! - A forked child has no region. It may run anything but the region.
//!
//! # What a new platform must supply
//!
//! `signal/arch.rs`: the kind of an access and the stack pointer from a signal context, and a call on another
//! stack; `sys.rs`: a copy that tolerates concurrent stores; `vectors.rs`: nothing, where the portable kernels will do. An engine more is one file in `engine`, one
//! line in its table, and one line in `tests/conformance.rs`.
//!
//! # Invariants
//!
//! - INV-M1: bytes are written into a page only while the program cannot see it.
//! - INV-M2: a page that the access map calls valid can be accessed, or can be made so without the core.
//! - INV-M3: nothing of a region is reached from a process that did not create it (a forked child).
//! - INV-M4: every page named lies in the region.
//! - INV-M5: every byte of a shared ring that is reached lies in its segment, whatever the other process stores there.

#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "hivemind-memory runs on Linux on x86_64 only: another platform needs its own src/signal/arch.rs and copy in src/sys.rs"
);

mod access_map;
mod bases;
mod engine;
mod error;
mod large;
mod mapping;
mod owner;
mod primitive;
mod region;
pub mod shared_ring;
mod signal;
mod socket;
mod sys;
mod vectors;

pub use crate::bases::{BASES, free_bases};
pub use crate::engine::{Chosen, EngineChoice, EngineKind, choose};
pub use crate::error::MemoryError;
pub use crate::region::{RegionMemory, RegionView};
pub use crate::signal::{FaultGuard, FaultHandler};
pub use crate::socket::wake_for;
pub use crate::vectors::{all_kernels, kernels};
