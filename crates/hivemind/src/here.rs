//! What a drone would find on this machine, for whoever looks before a job does (`hivemind doctor`): the fault engines that
//! work, and the key by which it would know the others.
//!
//! Deliberately elsewhere: the engines and how one is picked (`hivemind-memory`), what a key must be (`join`).

use crate::join::{Key, KeyError};
use crate::launch::KeyFile;
use hivemind_memory::{EngineChoice, EngineKind, MemoryError, choose};
use std::path::PathBuf;

/// A way to catch page faults, and whether it works here.
///
/// ```
/// for engine in hivemind::fault_engines() {
///     match engine.refusal {
///         None => println!("{} works here", engine.name),
///         Some(why) => println!("{why}"),
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FaultEngine {
    /// As `HIVEMIND_ENGINE` takes it.
    pub name: String,
    /// What the system refuses and what to do about it; none where the engine works.
    pub refusal: Option<MemoryError>,
}

/// Tries every fault engine on a small mapping, the best first. Takes about a millisecond; blocks for nobody.
///
/// ```
/// let engines = hivemind::fault_engines();
/// assert!(engines.iter().any(|engine| engine.refusal.is_none()), "no hive could run here");
/// ```
pub fn fault_engines() -> Vec<FaultEngine> {
    let tried = |engine: EngineKind| FaultEngine {
        name: engine.to_string(),
        refusal: choose(EngineChoice::Only(engine)).err(),
    };
    EngineKind::all().map(tried).collect()
}

/// The file from which a drone that is started here would take its key, and whether it would.
///
/// ```
/// if let Some(key) = hivemind::key_at_hand() {
///     match key.refusal {
///         None => println!("{} is private and holds a key", key.path.display()),
///         Some(why) => println!("{why}"),
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyAtHand {
    /// `HIVEMIND_KEY_FILE`, or the user's own file.
    pub path: PathBuf,
    /// Why a drone would refuse it, and what to do; none where it would take it.
    pub refusal: Option<KeyError>,
}

/// Looks at the file of the key as a drone would, and makes none. None where there is no such file: a drone would make
/// the user's own, or `hivemind run` brings another.
///
/// ```
/// let _ = hivemind::key_at_hand();
/// ```
pub fn key_at_hand() -> Option<KeyAtHand> {
    let (KeyFile::Named(path) | KeyFile::Own(path)) = KeyFile::from_environment() else {
        return None;
    };
    let refusal = match Key::look(&path) {
        Ok(found) => found.then_some(None)?,
        Err(refusal) => Some(refusal),
    };
    Some(KeyAtHand { path, refusal })
}
