//! The program `pi`: starts [`apps::pi`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    apps::program::start(apps::pi::run)
}
