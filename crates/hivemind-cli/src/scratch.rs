//! The private directory of a job: where drone 0 writes its address and where the drones leave their
//! statistics. Made by the launcher, mode 0700, held by a lock, and removed at the end.
//!
//! It lies in the first of `$XDG_RUNTIME_DIR`, `/dev/shm` and the directory for temporary files that takes
//! it. A killed launcher's directory is removed by its keeper; should that be killed too, by the next start:
//! the lock of a living launcher tells its directory from a stale one.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::trouble::{MACHINE, Trouble};

/// What the names of all jobs' directories begin with.
const PREFIX: &str = "hivemind-run-";
/// How often a name is tried in one place. A clash needs another launcher that cleans up in this very moment.
const TRIES: u32 = 8;

/// A job's private directory. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// Holds the lock that says that the job lives.
    _lock: File,
}

impl Scratch {
    /// Makes a directory for the job of this name, and removes those of jobs that are gone. `announce` hears
    /// of each directory before it is made.
    ///
    /// # Errors
    /// Names every place that was tried and why it was refused.
    pub(crate) fn create(job: &str, mut announce: impl FnMut(&Path)) -> Result<Self, Trouble> {
        let mut refusals = Vec::new();
        for place in places() {
            remove_stale(&place);
            match Self::create_in(&place, job, &mut announce) {
                Ok(scratch) => return Ok(scratch),
                Err(error) => refusals.push(format!("{}: {error}", place.display())),
            }
        }
        Err(Trouble::new(
            MACHINE,
            format!(
                "cannot make a private directory for the job ({}); set TMPDIR to a directory that can be \
                 written",
                refusals.join("; ")
            ),
        ))
    }

    /// Where a job's directory would be made first. For showing only.
    pub(crate) fn preview(job: &str) -> PathBuf {
        let place = places().into_iter().next().unwrap_or_default();
        place.join(format!("{PREFIX}{job}"))
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn create_in(place: &Path, job: &str, announce: &mut dyn FnMut(&Path)) -> io::Result<Self> {
        for attempt in 0..TRIES {
            let path = place.join(match attempt {
                0 => format!("{PREFIX}{job}"),
                _ => format!("{PREFIX}{job}-{attempt}"),
            });
            announce(&path);
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            // Another launcher may take the fresh directory for a stale one until it is locked.
            if let Ok(lock) = lock(&path) {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(io::Error::other("others clean up too eagerly"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes the directories of all jobs of ours that are gone. Gives how many that were.
pub(crate) fn remove_all_stale() -> u64 {
    places().iter().map(|place| remove_stale(place)).sum()
}

/// Removes a job's directory with all that is in it. What is gone already is fine.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        eprintln!("hivemind: cannot remove {}: {error}", path.display());
    }
}

fn places() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let mut places: Vec<PathBuf> = runtime
        .into_iter()
        .chain([PathBuf::from("/dev/shm"), std::env::temp_dir()])
        .filter(|place| place.is_absolute() && place.is_dir())
        .collect();
    places.dedup();
    places
}

/// Takes the lock of a directory, and makes sure that it is the directory that still has this name.
fn lock(path: &Path) -> io::Result<File> {
    let directory = File::open(path)?;
    flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
    if directory.metadata()?.ino() != fs::symlink_metadata(path)?.ino() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(directory)
}

fn remove_stale(place: &Path) -> u64 {
    let me = rustix::process::geteuid().as_raw();
    let mut count = 0;
    let Ok(entries) = fs::read_dir(place) else {
        return count;
    };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && fs::symlink_metadata(entry.path())
                .is_ok_and(|found| found.is_dir() && found.uid() == me);
        if is_ours && let Ok(_lock) = lock(&entry.path()) {
            remove(&entry.path());
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_is_private_and_goes_with_its_job() {
        let place = tempfile::tempdir().expect("a directory");
        let scratch = Scratch::create_in(place.path(), "job", &mut |_| {}).expect("it can be made");
        let path = scratch.path().to_owned();
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(path.join("root"), "x").expect("it can be written");
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn only_directories_without_a_living_job_are_stale() {
        let place = tempfile::tempdir().expect("a directory");
        let living =
            Scratch::create_in(place.path(), "living", &mut |_| {}).expect("it can be made");
        let stale = place.path().join(format!("{PREFIX}stale"));
        let other = place.path().join("other");
        fs::create_dir(&stale).expect("it can be made");
        fs::write(stale.join("report-0.json"), "{}").expect("it can be written");
        fs::create_dir(&other).expect("it can be made");
        assert_eq!(remove_stale(place.path()), 1);
        assert!(living.path().exists());
        assert!(other.exists());
        assert!(!stale.exists());
    }

    #[test]
    fn two_jobs_of_one_name_get_two_directories() {
        let place = tempfile::tempdir().expect("a directory");
        let one = Scratch::create_in(place.path(), "job", &mut |_| {}).expect("it can be made");
        let two = Scratch::create_in(place.path(), "job", &mut |_| {}).expect("it can be made");
        assert_ne!(one.path(), two.path());
    }
}
