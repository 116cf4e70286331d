//! The programs that ship with HiveMind: pi, jacobi, quicksort, matmul, intsort, tsp and tour, each with its serial twin
//! beside it, and the torture programs that try to catch the shared memory in a mistake.
//!
//! Each program is a module with `serial()` and `shared()` side by side and a `run()` that does what its
//! command line says. The binaries in `src/bin` only name the module to start. What all have in common
//! (command line, who may speak, progress, the closing lines) is in [`program`] and [`progress`].
#![forbid(unsafe_code)]

pub mod intsort;
pub mod jacobi;
pub mod matmul;
pub mod numbers;
pub mod pi;
pub mod picture;
pub mod program;
pub mod progress;
pub mod quicksort;
pub mod torture;
pub mod tour;
pub mod tsp;
