//! The program `tsp`: starts [`apps::tsp`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    apps::program::start(apps::tsp::run)
}
