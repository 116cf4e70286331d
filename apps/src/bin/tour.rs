//! The program `tour`: starts [`apps::tour`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    apps::program::start(apps::tour::run)
}
