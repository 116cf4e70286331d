//! Which engine to take: by the user's word, or the best that works here. Nothing is assumed from a kernel's version:
//! each engine tries on a small mapping.

use super::{TABLE, entry};
use crate::MemoryError;
use std::fmt;
use std::str::FromStr;

/// A fault engine.
///
/// ```
/// use hivemind_memory::EngineKind;
/// assert_eq!("uffd".parse::<EngineKind>()?, EngineKind::Uffd);
/// assert_eq!(EngineKind::Mprotect.to_string(), "mprotect");
/// # Ok::<(), hivemind_memory::MemoryError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum EngineKind {
    /// userfaultfd in `SIGBUS` mode, with writes found by scanning page tables. Linux 6.7 or newer.
    Uffd,
    /// userfaultfd in `SIGBUS` mode, with writes trapped. Linux 6.4 or newer.
    UffdSync,
    /// Guard pages and `SIGSEGV`, with writes found by comparing pages with copies, or trapped. Linux 6.15 or newer.
    Guard,
    /// mprotect and `SIGSEGV`, with writes trapped. Works anywhere, costs more.
    Mprotect,
}

impl EngineKind {
    /// All engines, the best first.
    ///
    /// ```
    /// use hivemind_memory::{EngineChoice, EngineKind, choose};
    /// for engine in EngineKind::all() {
    ///     match choose(EngineChoice::Only(engine)) {
    ///         Ok(_) => println!("{engine} works here"),
    ///         Err(error) => println!("{error}"),
    ///     }
    /// }
    /// ```
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|entry| entry.kind)
    }
}

/// What the user asks for.
///
/// ```
/// use hivemind_memory::{EngineChoice, EngineKind};
/// assert_eq!("auto".parse::<EngineChoice>()?, EngineChoice::Auto);
/// assert_eq!("mprotect".parse::<EngineChoice>()?, EngineChoice::Only(EngineKind::Mprotect));
/// assert!("segfault".parse::<EngineChoice>().is_err()); // and says which there are
/// # Ok::<(), hivemind_memory::MemoryError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum EngineChoice {
    /// The best that works here.
    #[default]
    Auto,
    /// This one or an error.
    Only(EngineKind),
}

/// What [`choose`] found.
///
/// ```
/// use hivemind_memory::{EngineChoice, EngineKind, choose};
/// let chosen = choose(EngineChoice::Only(EngineKind::Mprotect))?;
/// assert_eq!(chosen.engine, EngineKind::Mprotect);
/// assert_eq!(chosen.fallback, None); // only `auto` falls back
/// # Ok::<(), hivemind_memory::MemoryError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// The engine to create regions with.
    pub engine: EngineKind,
    /// Where `auto` could not have the best one: why, what it costs and what to do, in one sentence.
    pub fallback: Option<String>,
}

/// Picks an engine by trying. Takes well under a millisecond; blocks for nobody.
///
/// # Errors
/// When the engine asked for, or with `auto` every engine, cannot work here.
///
/// ```
/// let chosen = hivemind_memory::choose("auto".parse()?)?;
/// println!("page faults come through {}", chosen.engine);
/// if let Some(why) = chosen.fallback {
///     println!("the best engine could not be had: {why}");
/// }
/// # Ok::<(), hivemind_memory::MemoryError>(())
/// ```
pub fn choose(choice: EngineChoice) -> Result<Chosen, MemoryError> {
    match choice {
        EngineChoice::Only(engine) => match (entry(engine).probe)() {
            Ok(()) => Ok(Chosen {
                engine,
                fallback: None,
            }),
            Err(refusal) => Err(refusal.into_error(engine)),
        },
        EngineChoice::Auto => best(),
    }
}

fn best() -> Result<Chosen, MemoryError> {
    let mut best_refused = None;
    for entry in &TABLE {
        match (entry.probe)() {
            Ok(()) => {
                let fallback = best_refused.map(|refused: MemoryError| {
                    format!(
                        "{refused} (until then HiveMind uses {}, {})",
                        entry.name, entry.cost
                    )
                });
                return Ok(Chosen {
                    engine: entry.kind,
                    fallback,
                });
            }
            Err(refusal) => {
                best_refused.get_or_insert(refusal.into_error(entry.kind));
            }
        }
    }
    Err(best_refused.expect("the table of engines is not empty"))
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(entry(*self).name)
    }
}

impl FromStr for EngineKind {
    type Err = MemoryError;

    fn from_str(given: &str) -> Result<Self, MemoryError> {
        let found = TABLE.iter().find(|entry| entry.name == given);
        found
            .map(|entry| entry.kind)
            .ok_or_else(|| unknown(given, &[]))
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad(AUTO),
            Self::Only(engine) => engine.fmt(f),
        }
    }
}

impl FromStr for EngineChoice {
    type Err = MemoryError;

    fn from_str(given: &str) -> Result<Self, MemoryError> {
        match given {
            AUTO => Ok(Self::Auto),
            _ => given
                .parse()
                .map(Self::Only)
                .map_err(|_| unknown(given, &[AUTO])),
        }
    }
}

const AUTO: &str = "auto";

fn unknown(given: &str, first: &[&str]) -> MemoryError {
    let names: Vec<&str> = first
        .iter()
        .copied()
        .chain(TABLE.iter().map(|entry| entry.name))
        .collect();
    MemoryError::UnknownEngine {
        given: given.to_owned(),
        allowed: names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_written() {
        let engines = EngineKind::all().map(EngineChoice::Only);
        for choice in engines.chain([EngineChoice::Auto]) {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
    }

    #[test]
    fn an_unknown_choice_is_told_what_is_allowed() {
        let error = "ufd".parse::<EngineChoice>().unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no fault engine `ufd`: choose one of auto, uffd, uffd-sync, guard, mprotect"
        );
        let error = "auto".parse::<EngineKind>().unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no fault engine `auto`: choose one of uffd, uffd-sync, guard, mprotect"
        );
    }
}
