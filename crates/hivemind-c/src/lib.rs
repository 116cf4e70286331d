//! The C library as programs are linked with it: `libhivemind.so` and `libhivemind.a`. Its calls, and their tests, are in
//! `hivemind-capi`; how it gets to where compilers look is in `cargo xtask install`.

#![forbid(unsafe_code)]

pub use hivemind_capi::*;
