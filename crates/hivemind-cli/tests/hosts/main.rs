//! The command on several hosts, for real: four hosts, each a set of namespaces of its own with an address, a
//! file system for its home, its own processes and a real sshd; and a desk where the launcher runs.
//!
//! `world` makes and unmakes all that. What the agent and the launcher say to each other on one machine is tested
//! beside this folder, in `run/hosts.rs`, without any privilege.

mod doctor;
mod ends;
mod handbook;
mod jobs;
mod mpi;
mod refusals;
mod slurm;
mod world;
