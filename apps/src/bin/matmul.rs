//! The program `matmul`: starts [`apps::matmul`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    apps::program::start(apps::matmul::run)
}
