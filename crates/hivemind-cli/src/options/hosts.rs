//! The options that say on which hosts, and how they are reached: the same for every subcommand that has to do
//! with hosts.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hivemind::settings::SILENCE_LIMIT;

use crate::hive_file::{HOSTS_MAX, HiveFile, HostEntry};
use crate::hosts::ssh::Ssh;
use crate::trouble::{Trouble, USAGE};

/// On which hosts, and how they are reached.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Hosts")]
pub(crate) struct HostOptions {
    /// The hosts, as in a,b:4,user@c: names that `ssh` knows, with the number of drones behind a colon.
    #[arg(long, env = "HIVEMIND_HOSTS", value_name = "HOSTS", value_delimiter = ',', value_parser = HostEntry::parse)]
    pub(crate) hosts: Vec<HostEntry>,

    /// A hive file in JSON or TOML: hosts and settings. What the command line says wins.
    #[arg(long, env = "HIVEMIND_HIVE", value_name = "FILE")]
    pub(crate) hive: Option<PathBuf>,

    /// Where programs are kept on the hosts [default: .cache/hivemind in the user's home].
    #[arg(long, env = "HIVEMIND_CACHE", value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,

    /// The ssh to use, with options if need be.
    #[arg(
        long,
        env = "HIVEMIND_SSH",
        value_name = "COMMAND",
        default_value = "ssh"
    )]
    pub(crate) ssh: String,
}

impl HostOptions {
    /// The hive file with what the command line says of hosts in its place; none where no hosts are asked for.
    ///
    /// # Errors
    /// The file cannot be read, or is wrong.
    pub(crate) fn read(&self) -> Result<Option<HiveFile>, Trouble> {
        let mut file = match &self.hive {
            Some(path) => HiveFile::read(path)?,
            None if self.hosts.is_empty() => return Ok(None),
            None => HiveFile::default(),
        };
        if self.hosts.len() > HOSTS_MAX {
            let message = format!("more hosts than {HOSTS_MAX} are too many");
            return Err(Trouble::new(USAGE, message));
        }
        if !self.hosts.is_empty() {
            file.hosts.clone_from(&self.hosts);
        }
        if self.cache.is_some() {
            file.hosts.iter_mut().for_each(|host| host.cache = None);
            file.cache.clone_from(&self.cache);
        }
        file.settle();
        Ok(Some(file))
    }

    /// The same where hosts must be.
    ///
    /// # Errors
    /// As above, or there are none.
    pub(crate) fn expect(&self) -> Result<HiveFile, Trouble> {
        self.read()?
            .ok_or_else(|| Trouble::new(USAGE, "say on which hosts: --hosts a,b or --hive FILE"))
    }

    /// The ssh to use, when silence is borne so long.
    pub(crate) fn ssh(&self, silence_limit: Option<Duration>) -> Ssh {
        Ssh::new(&self.ssh, silence_limit.unwrap_or(SILENCE_LIMIT))
    }
}
