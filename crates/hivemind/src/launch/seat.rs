//! Which drone of how many this process is, and where drone 0 is met: asked of the starters we know, in order.
//!
//! Our own variables are read here, those of others in `starters.rs`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Environment, LaunchError, invalid, number, starters};
use crate::settings::MAX_DRONES;

/// What says where drone 0 is met, and wins over what a starter tells.
pub(super) const ROOT: &str = "HIVEMIND_ROOT";
/// What says the job's name, and wins over what a starter tells.
pub(super) const JOB: &str = "HIVEMIND_JOB";
/// How many drones there are.
pub(super) const SIZE: &str = "HIVEMIND_SIZE";

/// A process's seat in its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Which drone this is.
    pub(crate) rank: u32,
    /// How many there are.
    pub(crate) size: u32,
    /// The job's name, so that a drone of another job that knocks by mistake is told so. Not a secret.
    pub(crate) job: String,
    /// Where drone 0 is found.
    pub(crate) root: Root,
    /// The starter says that the drones are on several hosts, so none may listen on its loopback alone.
    pub(crate) several_hosts: bool,
    /// How many cores of this host the job has, where the starter tells.
    pub(crate) cores: Option<u32>,
}

/// Where drone 0 is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// Nowhere: a hive of one needs no meeting place.
    Alone,
    /// Drone 0 listens at the first of these `host:port` that is free.
    Addresses(Vec<String>),
    /// Drone 0 listens where `HIVEMIND_LISTEN` says and writes its address into this file.
    File(PathBuf),
}

/// None when this starter did not start us.
type Starter = fn(&Environment<'_>) -> Result<Option<Seat>, LaunchError>;

/// The starters we know, first match wins. A new one is a function and a line.
const STARTERS: &[Starter] = &[
    hivemind_run,
    starters::open_mpi,
    starters::pmi,
    starters::srun,
    starters::torchrun,
    starters::kubernetes,
];

impl Seat {
    /// This process's seat.
    pub(crate) fn from_environment() -> Result<Self, LaunchError> {
        Self::read(&Environment {
            lookup: &|name| std::env::var_os(name),
        })
    }

    pub(super) fn read(environment: &Environment<'_>) -> Result<Self, LaunchError> {
        for starter in STARTERS {
            if let Some(seat) = starter(environment)? {
                return Ok(seat);
            }
        }
        Ok(Self::alone())
    }

    /// The only drone of a hive of one.
    pub(crate) fn alone() -> Self {
        Self {
            rank: 0,
            size: 1,
            job: String::new(),
            root: Root::Alone,
            several_hosts: false,
            cores: None,
        }
    }
}

/// `hivemind run`, or a shell that sets the same variables.
fn hivemind_run(environment: &Environment<'_>) -> Result<Option<Seat>, LaunchError> {
    const RANK: &str = "HIVEMIND_RANK";
    if environment.get(RANK).is_none() && starters::is_indexed(environment) {
        return Ok(None);
    }
    let Some((rank, size)) = rank_and_size(environment, RANK, SIZE)? else {
        return Ok(None);
    };
    let root = match told_root(environment)? {
        _ if size == 1 => Root::Alone,
        Some(root) => root,
        None => {
            return Err(LaunchError::Partial {
                set: RANK,
                missing: ROOT,
            });
        }
    };
    Ok(Some(Seat {
        rank,
        size,
        job: told_job(environment).unwrap_or_default(),
        root,
        ..Seat::alone()
    }))
}

/// Rank and size, by these variables. None where neither is set.
pub(super) fn rank_and_size(
    environment: &Environment<'_>,
    rank_name: &'static str,
    size_name: &'static str,
) -> Result<Option<(u32, u32)>, LaunchError> {
    let partial = |set, missing| Err(LaunchError::Partial { set, missing });
    let (rank, size) = match (environment.get(rank_name), environment.get(size_name)) {
        (None, None) => return Ok(None),
        (Some(_), None) => return partial(rank_name, size_name),
        (None, Some(_)) => return partial(size_name, rank_name),
        (Some(rank), Some(size)) => (rank, size),
    };
    let allowed = format!("a number of drones from 1 to {MAX_DRONES}");
    let size = number(size_name, &size, 1..=u64::from(MAX_DRONES), &allowed)? as u32;
    let last = size - 1;
    let allowed = format!("a number from 0 to {last} ({size_name} is {size})");
    let rank = number(rank_name, &rank, 0..=u64::from(last), &allowed)? as u32;
    Ok(Some((rank, size)))
}

/// The job's name, where we are told.
pub(super) fn told_job(environment: &Environment<'_>) -> Option<String> {
    let job = environment.get(JOB)?;
    Some(job.to_string_lossy().into_owned())
}

/// Where drone 0 is met, where we are told.
pub(super) fn told_root(environment: &Environment<'_>) -> Result<Option<Root>, LaunchError> {
    let Some(value) = environment.get(ROOT) else {
        return Ok(None);
    };
    if let Some(path) = value
        .as_bytes()
        .strip_prefix(b"file:")
        .filter(|path| !path.is_empty())
    {
        return Ok(Some(Root::File(PathBuf::from(OsStr::from_bytes(path)))));
    }
    let address = value.to_str().and_then(|text| {
        let (host, port) = text.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        (!host.is_empty() && port > 0).then(|| text.to_owned())
    });
    let allowed = "host:port where drone 0 shall listen, or file:PATH";
    address
        .map(|address| Some(Root::Addresses(vec![address])))
        .ok_or_else(|| invalid(ROOT, &value, allowed))
}

#[cfg(test)]
mod tests {
    use super::super::tests::with;
    use super::*;

    fn seat(variables: &[(&str, &str)]) -> Result<Seat, String> {
        with(variables, Seat::read)
    }

    fn at(address: &str) -> Root {
        Root::Addresses(vec![address.to_owned()])
    }

    #[test]
    fn without_a_starter_a_process_is_a_hive_of_one() {
        let alone = seat(&[
            ("HOME", "/root"),
            ("HIVEMIND_ENGINE", "auto"),
            ("HIVEMIND_RANK", ""),
        ])
        .unwrap();
        assert_eq!((alone.rank, alone.size, alone.root), (0, 1, Root::Alone));
    }

    #[test]
    fn our_own_starter_gives_rank_size_job_and_root() {
        let base = [
            ("HIVEMIND_RANK", "2"),
            ("HIVEMIND_SIZE", "3"),
            ("HIVEMIND_JOB", "j"),
        ];
        let with_root = |root| seat(&[&base[..], &[("HIVEMIND_ROOT", root)]].concat());
        let expected = Seat {
            rank: 2,
            size: 3,
            job: "j".to_owned(),
            root: Root::File("/x/y".into()),
            ..Seat::alone()
        };
        assert_eq!(with_root("file:/x/y"), Ok(expected));
        assert_eq!(with_root("host:90").unwrap().root, at("host:90"));
        assert_eq!(with_root("[::1]:90").unwrap().root, at("[::1]:90"));
        for wrong in ["host", "host:0", ":90", "host:99999", "file:", "unix:/x"] {
            assert_eq!(
                with_root(wrong).unwrap_err(),
                format!(
                    "HIVEMIND_ROOT={wrong} is wrong: allowed is host:port where drone 0 shall listen, or file:PATH"
                )
            );
        }
    }

    #[test]
    fn half_an_environment_is_refused() {
        let error = seat(&[("HIVEMIND_RANK", "0")]).unwrap_err();
        assert!(
            error.starts_with("HIVEMIND_RANK is set and HIVEMIND_SIZE is not"),
            "{error}"
        );
        let error = seat(&[("HIVEMIND_SIZE", "2")]).unwrap_err();
        assert!(
            error.starts_with("HIVEMIND_SIZE is set and HIVEMIND_RANK is not"),
            "{error}"
        );
        let error = seat(&[("HIVEMIND_SIZE", "2"), ("HIVEMIND_RANK", "1")]).unwrap_err();
        assert!(
            error.starts_with("HIVEMIND_RANK is set and HIVEMIND_ROOT is not"),
            "{error}"
        );
        assert_eq!(
            seat(&[("HIVEMIND_SIZE", "1"), ("HIVEMIND_RANK", "0")])
                .unwrap()
                .root,
            Root::Alone
        );
    }

    #[test]
    fn ranks_and_sizes_out_of_bounds_are_refused() {
        let refused =
            |rank, size| seat(&[("HIVEMIND_RANK", rank), ("HIVEMIND_SIZE", size)]).unwrap_err();
        assert_eq!(
            refused("4", "4"),
            "HIVEMIND_RANK=4 is wrong: allowed is a number from 0 to 3 (HIVEMIND_SIZE is 4)"
        );
        for size in ["0", "65537", "-1", "many"] {
            assert_eq!(
                refused("0", size),
                format!(
                    "HIVEMIND_SIZE={size} is wrong: allowed is a number of drones from 1 to 65536"
                )
            );
        }
    }
}
