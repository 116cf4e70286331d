//! Names the shared library as the loader looks for it: programs that were linked with 0.1 keep running with 0.2 only
//! where that is compatible.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libhivemind.so.0");
}
