//! The program `quicksort`: starts [`apps::quicksort`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    apps::program::start(apps::quicksort::run)
}
