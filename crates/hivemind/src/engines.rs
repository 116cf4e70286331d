//! Which fault engines work on this machine, for whoever looks before a job does (`hivemind doctor`).
//!
//! Deliberately elsewhere: the engines and how one is picked (`hivemind-memory`).

use hivemind_memory::{EngineChoice, EngineKind, MemoryError, choose};

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
