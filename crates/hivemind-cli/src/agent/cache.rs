//! The programs that a host keeps, each in a directory named by its content. A program is there whole or not at
//! all: it is written beside its place, checked, and then renamed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ring::digest::{Context, SHA256};
use rustix::fs::{FlockOperation, flock};

use crate::hosts::digest;
use crate::hosts::frame::Frame;
use crate::hosts::message::Program;
use crate::hosts::wire::{Silence, Wire};

/// How long the launcher may take from one piece of a program to the next.
const PIECE_LIMIT: Duration = Duration::from_secs(120);
/// The longest name of a program.
const NAME_BYTES_MAX: usize = 255;

/// A host's programs.
#[derive(Debug)]
pub(crate) struct Cache {
    path: PathBuf,
    /// Shared by all agents that live; who cleans up needs it alone.
    lock: Option<File>,
}

impl Cache {
    /// The cache at this place, which needn't be there yet.
    pub(crate) fn open(path: &Path) -> Self {
        let lock = File::open(path)
            .ok()
            .filter(|directory| flock(directory, FlockOperation::NonBlockingLockShared).is_ok());
        Self {
            path: path.to_owned(),
            lock,
        }
    }

    /// Where the cache lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a program is, or would be.
    pub(crate) fn path_of(&self, program: &Program) -> PathBuf {
        match &program.path {
            Some(path) => path.clone(),
            None => self.path.join(&program.sha256).join(&program.name),
        }
    }

    /// Whether a program is there with its very content.
    pub(crate) fn has(&self, program: &Program) -> bool {
        digest::hash(&self.path_of(program)).is_ok_and(|(sha256, _)| sha256 == program.sha256)
    }

    /// Stores a program whose pieces come next. The inner error is why it couldn't.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn store(
        &self,
        program: &Program,
        wire: &mut Wire,
    ) -> Result<Result<(), String>, Silence> {
        let mut draft = self.draft(program);
        let mut hasher = Context::new(&SHA256);
        let mut left = program.bytes;
        while left > 0 {
            let Frame::Piece(piece) = wire.await_frame(Instant::now() + PIECE_LIMIT)? else {
                return Err(Silence::Nonsense("no piece of a program".into()));
            };
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| Silence::Nonsense("more than the program".into()))?;
            hasher.update(&piece);
            // What can't be written is still read: the launcher is in the middle of sending it.
            if let Ok(open) = &mut draft
                && let Err(error) = open.write(&piece)
            {
                draft = Err(error);
            }
        }
        let is_right = digest::hex(hasher.finish().as_ref()) == program.sha256;
        let stored = draft.and_then(|draft| {
            if is_right {
                draft.publish(&self.path_of(program))
            } else {
                Err(io::Error::other("it changed on the way; try again"))
            }
        });
        Ok(stored.map_err(|error| {
            format!(
                "cannot store {} in {}: {error}",
                program.name,
                self.path.display()
            )
        }))
    }

    fn draft(&self, program: &Program) -> io::Result<Draft> {
        let is_hash = program.sha256.len() == 64
            && program
                .sha256
                .bytes()
                .all(|digit| digit.is_ascii_hexdigit());
        let is_name = !program.name.is_empty()
            && program.name.len() <= NAME_BYTES_MAX
            && !program.name.contains('/')
            && program.name != ".."
            && program.name != ".";
        if !is_hash || !is_name {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        let place = self.path.join(&program.sha256);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&place)?;
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy();
        let path = place.join(format!("new.{}.{host}", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o700)
            .open(&path)?;
        Ok(Draft {
            path,
            file: Some(file),
        })
    }

    /// Removes everything. Gives how many files and bytes that was.
    ///
    /// # Errors
    /// A job uses it, or something can't be removed.
    pub(crate) fn clean(&self) -> Result<(u64, u64), String> {
        if let Some(lock) = &self.lock
            && flock(lock, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            return Err("a job runs there; its programs are left until it has ended".into());
        }
        let mut count = (0, 0);
        let failed = |error: io::Error| format!("cannot clean {}: {error}", self.path.display());
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(count),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            // Only what we have made; the place may be the user's own.
            let name = entry.file_name();
            let is_ours =
                name.len() == 64 && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit);
            if is_ours {
                let files = fs::read_dir(entry.path()).map_err(failed)?;
                for file in files.flatten() {
                    count.0 += 1;
                    count.1 += file.metadata().map_or(0, |found| found.len());
                }
                fs::remove_dir_all(entry.path()).map_err(failed)?;
            }
        }
        // Something of somebody else's may be in it.
        let _ = fs::remove_dir(&self.path);
        Ok(count)
    }
}

/// A program on its way to its place. Dropping it removes it.
#[derive(Debug)]
struct Draft {
    path: PathBuf,
    /// None once it is complete.
    file: Option<File>,
}

impl Draft {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file
            .as_mut()
            .map_or(Ok(()), |file| file.write_all(piece))
    }

    fn publish(mut self, place: &Path) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            file.sync_all()?;
        }
        // Closed before it has its name: another job may run what it finds there, and the kernel runs nothing that
        // somebody still has open for writing.
        fs::rename(&self.path, place)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename it isn't there any more.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::frame::ORDER_BYTES_MAX;
    use rustix::pipe::pipe;
    use std::os::unix::fs::PermissionsExt;

    /// Stores these pieces as a program of this content.
    fn store(
        cache: &Cache,
        content: &[u8],
        pieces: &[&[u8]],
    ) -> Result<Result<(), String>, Silence> {
        let program = program(content);
        let (from, to) = pipe().expect("a pipe");
        let (_, other) = pipe().expect("a pipe");
        let mut bytes = Vec::new();
        for piece in pieces {
            Frame::Piece(piece.to_vec()).encode(&mut bytes);
        }
        rustix::io::write(&to, &bytes).expect("it fits");
        drop(to);
        let mut wire = Wire::new(from, other, ORDER_BYTES_MAX).expect("a wire");
        cache.store(&program, &mut wire)
    }

    fn program(content: &[u8]) -> Program {
        Program {
            name: "prog".into(),
            sha256: digest::hex(ring::digest::digest(&SHA256, content).as_ref()),
            bytes: content.len() as u64,
            path: None,
        }
    }

    #[test]
    fn a_program_is_stored_once_it_is_whole_and_right() {
        let place = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(&place.path().join("cache"));
        assert!(!cache.has(&program(b"abcdef")));
        assert_eq!(store(&cache, b"abcdef", &[b"abc", b"def"]), Ok(Ok(())));
        assert!(cache.has(&program(b"abcdef")));
        let found = fs::metadata(cache.path_of(&program(b"abcdef"))).expect("it is there");
        assert_eq!(found.permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_cut_short_or_changed_leaves_nothing() {
        let place = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(place.path());
        assert_eq!(store(&cache, b"abcdef", &[b"abc"]), Err(Silence::Ended));
        let changed = store(&cache, b"abcdef", &[b"abcdeg"]).expect("it came");
        assert!(changed.is_err_and(|why| why.contains("changed on the way")));
        assert!(store(&cache, b"abc", &[b"abcd"]).is_err());
        let left = fs::read_dir(place.path().join(program(b"abcdef").sha256)).expect("a directory");
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn cleaning_spares_what_others_put_there_and_who_is_at_work() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("cache");
        let cache = Cache::open(&path);
        store(&cache, b"abc", &[b"abc"])
            .expect("it came")
            .expect("it is stored");
        fs::write(path.join("note"), "mine").expect("it can be written");
        let (one, other) = (Cache::open(&path), Cache::open(&path));
        assert!(one.clean().is_err(), "another one is at work");
        drop(other);
        assert_eq!(one.clean(), Ok((1, 3)));
        assert!(path.join("note").exists());
    }
}
