//! The key of a job: 256 fresh random bits that every drone of the job knows and nobody else. It lies in the
//! job's private directory, and travels to other hosts only inside ssh.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::hosts::digest::hex;

/// How long a key is.
const KEY_BYTES: usize = 32;

/// Where the job with this private directory has its key.
pub(crate) fn path(directory: &Path) -> PathBuf {
    directory.join("key")
}

/// A fresh key, as its file has it: 64 hexadecimal digits and a newline.
///
/// # Errors
/// The kernel's refusal to give random bytes.
pub(crate) fn fresh() -> io::Result<String> {
    let mut bytes = [0; KEY_BYTES];
    let mut filled = 0;
    while filled < KEY_BYTES {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(length) => filled += length,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(format!("{}\n", hex(&bytes)))
}

/// Writes a key where the drones of this machine find it.
///
/// # Errors
/// The file can't be made.
pub(crate) fn write(directory: &Path, key: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path(directory))?;
    file.write_all(key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_fresh_and_nobody_elses_to_read() {
        let (one, other) = (fresh().expect("a key"), fresh().expect("a key"));
        assert_ne!(one, other);
        assert_eq!(one.len(), 65);
        let place = tempfile::tempdir().expect("a directory");
        write(place.path(), &one).expect("it can be written");
        let found = std::fs::metadata(path(place.path())).expect("it is there");
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        assert!(
            write(place.path(), &other).is_err(),
            "a key is written once"
        );
    }
}
