//! The program `jacobi`: starts [`apps::jacobi`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    apps::program::start(apps::jacobi::run)
}
