//! The program `torture`: starts [`apps::torture`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    apps::program::start(apps::torture::run)
}
