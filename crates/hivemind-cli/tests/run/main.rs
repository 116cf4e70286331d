//! The command as its users meet it: real processes, real signals, small shell scripts as programs.
//!
//! The library is not in here; how its programs run under the command is tested with the programs.

mod binding;
mod doctor;
mod ending;
mod harness;
mod hosts;
mod output;
