//! `cargo xtask demo`: builds everything and runs Jacobi on several drones of this machine.

use std::process::{Command, ExitCode};

use clap::Args;

/// What a region has at least, and what other things in it may take.
const REGION_BYTES_MIN: u64 = 1 << 30;
const REGION_BYTES_SPARE: u64 = 64 << 20;

/// Build everything and run Jacobi on several drones: progress, the answer and whether it equals the serial
/// one, times, speed-up, and what the shared memory did.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// How many drones.
    #[arg(short = 'n', long, default_value_t = 2, value_name = "N")]
    drones: u32,
    /// The plate has so many rows and columns.
    #[arg(long, default_value_t = 4096, value_name = "S")]
    size: u64,
    /// How many sweeps.
    #[arg(long, default_value_t = 200, value_name = "K")]
    steps: u64,
}

impl Demo {
    /// Builds, then becomes the launcher.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        crate::build()?;
        let mut launcher = Command::new(crate::release_folder()?.join("hivemind"));
        launcher
            .args(["run", "-n", &self.drones.to_string()])
            .arg(format!("--region={}", self.region_bytes()))
            .args(["--stats", "jacobi", "--check"])
            .args(["--size", &self.size.to_string()])
            .args(["--steps", &self.steps.to_string()]);
        // Progress as plain lines, also where nobody watches on a terminal: it is a demonstration.
        launcher.env("HIVEMIND_TERMINAL", "1");
        eprintln!("+ {}", words(&launcher));
        Err(crate::become_it(&mut launcher))
    }

    /// Room for two plates of 8-byte numbers.
    fn region_bytes(&self) -> u64 {
        let plate_bytes = self.size.saturating_mul(self.size).saturating_mul(8);
        plate_bytes
            .saturating_mul(2)
            .saturating_add(REGION_BYTES_SPARE)
            .max(REGION_BYTES_MIN)
    }
}

fn words(command: &Command) -> String {
    let arguments = command.get_args().map(|word| word.to_string_lossy());
    std::iter::once(command.get_program().to_string_lossy())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
