//! The program `intsort`: starts [`apps::intsort`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    apps::program::start(apps::intsort::run)
}
