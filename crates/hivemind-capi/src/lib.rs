//! The C library: the calls of `include/hivemind.h`, which is made from this source (cbindgen.toml).
//!
//! Here is nothing but the border: arguments are looked at, pointers become addresses and back, errors become a status and
//! a text, and what C programs expect beside memory and locks is made of these (`condition`, `atomic`, `fork`). What the
//! others do lives in `hivemind` (`raw.rs`). One file a family of calls.
//!
//! Every function here is `unsafe` in the same three ways, which the header tells C programmers: what a pointer argument
//! points to must be valid for what the call says it does with it; shared memory must not be used after it was freed; and
//! no other thread of this process may use memory that a call writes.

// The names are those of the header.
#![allow(non_camel_case_types)]

mod atomic;
mod collective;
mod condition;
mod desk;
mod fork;
mod hive;
mod image;
mod lock;
mod memory;
mod place;
mod stats;
mod status;

pub use atomic::*;
pub use collective::*;
pub use condition::*;
pub use fork::*;
pub use hive::*;
pub use lock::*;
pub use memory::*;
pub use stats::*;
pub use status::*;
