//! The words that options take, which a hive file takes too where it has the setting.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Deserialize;

/// Who starts the drones of a run without hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Launcher {
    Auto,
    Local,
    Srun,
}

/// When output has colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// Which links are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encrypt {
    #[default]
    Auto,
    Always,
    Never,
}

impl Encrypt {
    /// The word that the library knows it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// What carries links.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    #[default]
    Auto,
    Tcp,
    Shared,
}

impl Transport {
    /// The word that the library knows it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tcp => "tcp",
            Self::Shared => "shared",
        }
    }
}

/// What drones are bound to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bind {
    #[default]
    Cores,
    None,
}

/// A way of saving messages or faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Economy {
    /// Pages come ahead of a program that walks through memory.
    FetchAhead,
    /// Pages that a drone fetches after each barrier are sent to it unasked.
    Push,
    /// Of these pages, those that only one drone wrote go when it reaches the barrier, not when all have.
    Early,
    /// Pages that a drone touches under a lock come with it.
    PagesOnGrants,
    /// A drone that always wants a lock again says so when it gives it away.
    Again,
    /// A page that is stored to in a rhythm is opened for the next store.
    Rhythm,
}

impl Economy {
    /// The word that the library knows it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FetchAhead => "fetch-ahead",
            Self::Push => "push",
            Self::Early => "early",
            Self::PagesOnGrants => "pages-on-grants",
            Self::Again => "again",
            Self::Rhythm => "rhythm",
        }
    }
}

/// How page faults are caught.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Engine {
    #[default]
    Auto,
    Uffd,
    UffdSync,
    Guard,
    Mprotect,
}

impl Engine {
    /// The word that the library knows it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uffd => "uffd",
            Self::UffdSync => "uffd-sync",
            Self::Guard => "guard",
            Self::Mprotect => "mprotect",
        }
    }
}
