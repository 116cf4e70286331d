//! The file in which drone 0 leaves its address: the meeting place where nobody can say beforehand where it will listen.
//!
//! It may lie in a directory that several hosts share. It is there whole or not at all, nobody else can write it, and it
//! goes with the start. One that a killed drone 0 left behind is told by its age and replaced by the next.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

/// An address with its port, an IPv6 one with its zone at the longest, and a newline.
const ADDRESS_BYTES: u64 = 128;

/// How far the clocks of two hosts and of a file server may be apart.
const CLOCKS_APART: Duration = Duration::from_secs(120);

/// Drone 0's address in a file, for as long as the value lives.
pub(super) struct Notice {
    path: PathBuf,
    text: String,
}

impl Notice {
    /// Writes the address so that whoever finds the file finds all of it.
    pub(super) fn publish(address: SocketAddr, path: &Path) -> io::Result<Self> {
        let notice = Self {
            path: path.to_owned(),
            text: format!("{address}\n"),
        };
        let draft = notice.draft()?;
        let written = write_draft(&draft, &notice.text).and_then(|()| fs::rename(&draft, path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written.map(|()| notice)
    }

    /// A name beside the file that no other process has, on no host.
    fn draft(&self) -> io::Result<PathBuf> {
        let name = self.path.file_name().ok_or(ErrorKind::InvalidFilename)?;
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let mut draft = name.to_owned();
        draft.push(format!(".{host}.{}", std::process::id()));
        Ok(self.path.with_file_name(draft))
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        // It may be gone with its directory already, or be the next job's.
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn write_draft(draft: &Path, text: &str) -> io::Result<()> {
    // One of ours that a killed process of the same number left behind.
    let _ = fs::remove_file(draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    file.write_all(text.as_bytes())
}

/// The address in the file, or why there is none yet. Drone 0 waits for so long; an older file is an earlier job's.
pub(super) fn read(path: &Path, start_timeout: Duration) -> Result<String, String> {
    let shown = path.display();
    let none = |error: io::Error| format!("its address is not in {shown} ({error})");
    // Non-blocking: a pipe shall be refused and not waited for.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .map_err(none)?;
    check(&file, start_timeout).map_err(|why| format!("{shown} is not drone 0's: {why}"))?;
    let mut text = String::new();
    file.take(ADDRESS_BYTES)
        .read_to_string(&mut text)
        .map_err(none)?;
    let address: Result<SocketAddr, _> = text.trim().parse();
    address
        .map(|address| address.to_string())
        .map_err(|_| format!("there is no address in {shown}"))
}

fn check(file: &File, start_timeout: Duration) -> Result<(), String> {
    let found = file.metadata().map_err(|error| error.to_string())?;
    let me = rustix::process::geteuid().as_raw();
    if !found.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if found.uid() != me {
        return Err(format!(
            "it belongs to user {}, this is user {me}",
            found.uid()
        ));
    }
    let written = found.modified().map_err(|error| error.to_string())?;
    // From the future, as far as our clock knows: as new as can be.
    let age = SystemTime::now()
        .duration_since(written)
        .unwrap_or_default();
    if age > start_timeout + CLOCKS_APART {
        return Err(format!("it was left behind {} s ago", age.as_secs()));
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::tests::Directory;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const LIMIT: Duration = Duration::from_secs(30);

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn an_address_is_its_owners_alone_and_goes_with_the_start() {
        let directory = Directory::new();
        let path = directory.path("root");
        let notice = Notice::publish(address(9), &path).unwrap();
        assert_eq!(read(&path, LIMIT).unwrap(), "127.0.0.1:9");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(notice);
        assert!(!path.exists());
    }

    #[test]
    fn the_next_jobs_address_takes_the_place_and_stays() {
        let directory = Directory::new();
        let path = directory.path("root");
        let first = Notice::publish(address(9), &path).unwrap();
        let second = Notice::publish(address(10), &path).unwrap();
        drop(first);
        assert_eq!(read(&path, LIMIT).unwrap(), "127.0.0.1:10");
        drop(second);
    }

    #[test]
    fn a_file_that_was_left_behind_is_told_by_its_age() {
        let directory = Directory::new();
        let path = directory.path("root");
        let notice = Notice::publish(address(9), &path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let long_ago = SystemTime::now() - (LIMIT + CLOCKS_APART + Duration::from_secs(5));
        file.set_modified(long_ago).unwrap();
        let why = read(&path, LIMIT).unwrap_err();
        assert!(why.contains("it was left behind 15"), "{why}");
        drop(notice);
    }

    #[test]
    fn what_is_no_address_is_not_believed() {
        let directory = Directory::new();
        let path = directory.path("root");
        assert!(read(&path, LIMIT).unwrap_err().contains("is not in"));
        for text in ["", "ann:80", "127.0.0.1", &"1".repeat(1000)] {
            fs::write(&path, text).unwrap();
            let why = read(&path, LIMIT).unwrap_err();
            assert!(why.starts_with("there is no address in"), "{why}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let why = read(&path, LIMIT).unwrap_err();
        assert!(why.contains("not a regular file"), "{why}");
        fs::remove_dir(&path).unwrap();
    }
}
