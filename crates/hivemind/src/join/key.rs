//! The job's key: where it comes from, who may have been able to read it, and that it stays secret.
//!
//! A launcher makes a fresh one for each job and names its file. Where nobody does (a shell loop, srun, mpirun) each
//! user has one of their own, made at first use, from which each job's key is derived. Which file it is was read from
//! the environment in `launch`; what the key does is `handshake.rs`'s.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::launch::KeyFile;

const KEY_BYTES: usize = 32;

/// 64 hexadecimal digits and a newline.
const TEXT_BYTES: usize = 2 * KEY_BYTES + 1;

/// What the key of a job is derived for; no other use of a user's key gives the same.
const JOB_KEY: &[u8] = b"HiveMind key of a job 1\0";

/// The key of one job. It shows itself to nobody and is wiped when it goes.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; KEY_BYTES]>);

/// Why there is no key by which the drones of a job know each other.
///
/// ```
/// use hivemind::{Error, Hive, KeyError};
///
/// match Hive::join() {
///     // Somebody else may have read it: `why` says who, `remedy` what to do.
///     Err(Error::Key(KeyError::Exposed { path, .. })) => eprintln!("see {}", path.display()),
///     other => other.and_then(Hive::leave).expect("a hive of one"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It can't be read.
    #[error("cannot read the job's key from {}: {cause}; HIVEMIND_KEY_FILE must name a file that this drone can read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Others may have read it or put it there.
    #[error("the key in {} is no secret: {why}; {remedy}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Who can.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// What is there is no key.
    #[error(
        "{} holds no key: {why}; a key file has 64 hexadecimal digits and a newline, as from `openssl rand -hex 32`",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A key of one's own can't be made.
    #[error("cannot make a key of your own in {}: {cause}; give all drones of the job the same HIVEMIND_KEY_FILE", path.display())]
    Unmakable {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Nobody said where it could be.
    #[error(
        "drones of one job know each other by a key, and none is named: HOME is not set either, so set \
         HIVEMIND_KEY_FILE to a file with 64 hexadecimal digits, or start the program with `hivemind run`"
    )]
    Nowhere,
}

impl Key {
    /// A key of these bytes.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key of the job of this name. Makes the user's own key where none is there and no other is named.
    pub(crate) fn find(file: &KeyFile, job: &str) -> Result<Self, KeyError> {
        match file {
            KeyFile::Named(path) => read(path)?.ok_or_else(|| KeyError::Unreadable {
                path: path.clone(),
                cause: ErrorKind::NotFound.into(),
            }),
            KeyFile::Own(path) => Ok(own(path)?.of_job(job)),
            KeyFile::Nowhere => Err(KeyError::Nowhere),
        }
    }

    /// Whether there is a key in this file that would be taken.
    pub(crate) fn look(path: &Path) -> Result<bool, KeyError> {
        read(path).map(|found| found.is_some())
    }

    /// The secret itself.
    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    fn of_job(&self, job: &str) -> Self {
        let own = hmac::Key::new(hmac::HMAC_SHA256, &*self.0);
        let derived = hmac::sign(&own, &[JOB_KEY, job.as_bytes()].concat());
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        bytes.copy_from_slice(derived.as_ref());
        Self(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(secret)")
    }
}

/// The user's own key, made if need be.
fn own(path: &Path) -> Result<Key, KeyError> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    make(path).map_err(|cause| KeyError::Unmakable {
        path: path.to_owned(),
        cause,
    })?;
    // Whoever was first: this is everybody's.
    read(path)?.ok_or_else(|| KeyError::Unmakable {
        path: path.to_owned(),
        cause: ErrorKind::NotFound.into(),
    })
}

/// Makes a key where none is. Many drones may try at once, on many hosts that share the directory: each writes a draft
/// of its own and links it to the name, which only the first can do, and which is never there half-written.
fn make(path: &Path) -> io::Result<()> {
    let directory = path.parent().ok_or(ErrorKind::InvalidFilename)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let mut name = OsString::from(".key-draft-");
    let mut random = Zeroizing::new([0; KEY_BYTES + 8]);
    SystemRandom::new()
        .fill(&mut *random)
        .map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let (secret, label) = random.split_at(KEY_BYTES);
    name.push(&**hex(label));
    let draft = directory.join(name);
    let linked = write_draft(&draft, secret).and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn write_draft(draft: &Path, secret: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    let mut text = hex(secret);
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    // Room for all and the newline, so that no copy stays behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len() + 1));
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text
}

/// Reads a key file; none when there is no such file.
fn read(path: &Path) -> Result<Option<Key>, KeyError> {
    let unreadable = |cause| KeyError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    // Non-blocking: a pipe shall be refused and not waited for.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unreadable)?,
    };
    check(path, &file)?;
    let mut text = Zeroizing::new([0; TEXT_BYTES + 1]);
    let mut length = 0;
    loop {
        match (&file).read(&mut text[length..]) {
            Ok(0) => break,
            Ok(came) => length += came,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    let malformed = |why: String| KeyError::Malformed {
        path: path.to_owned(),
        why,
    };
    if length != TEXT_BYTES || text[TEXT_BYTES - 1] != b'\n' {
        let why = match length {
            0 => "it is empty".to_owned(),
            _ => format!("it is not {TEXT_BYTES} bytes long with a newline at the end"),
        };
        return Err(malformed(why));
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        let (Some(high), Some(low)) = (value(digits[0]), value(digits[1])) else {
            return Err(malformed("it has other characters than digits".to_owned()));
        };
        *byte = (high << 4 | low) as u8;
    }
    if bytes.iter().all(|byte| *byte == bytes[0]) {
        return Err(malformed("all its bytes are equal".to_owned()));
    }
    Ok(Some(Key(bytes)))
}

/// Looks at the file that was opened, not at its name: what is read is what was checked.
fn check(path: &Path, file: &File) -> Result<(), KeyError> {
    let found = file.metadata().map_err(|cause| KeyError::Unreadable {
        path: path.to_owned(),
        cause,
    })?;
    let shown = path.display();
    if !found.is_file() {
        return Err(KeyError::Malformed {
            path: path.to_owned(),
            why: "it is not a regular file".to_owned(),
        });
    }
    let me = rustix::process::geteuid().as_raw();
    let (why, remedy) = if found.uid() != me {
        (
            format!("it belongs to user {}, this is user {me}", found.uid()),
            format!("copy it to a file of your own and `chmod 600` that, or `chown {me} {shown}`"),
        )
    } else if found.mode() & 0o077 != 0 {
        (
            format!("its mode {:o} opens it to others", found.mode() & 0o777),
            format!("`chmod 600 {shown}`, and make a new key if somebody may have read it"),
        )
    } else {
        return Ok(());
    };
    Err(KeyError::Exposed {
        path: path.to_owned(),
        why,
        remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    /// A directory of its own for each test, gone with it.
    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path =
                std::env::temp_dir().join(format!("hivemind-key-{}-{number}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn file(&self, text: &str, mode: u32) -> PathBuf {
            let path = self.0.join("key");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    const TEXT: &str = "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100\n";

    fn refused(path: &Path) -> String {
        let found = Key::find(&KeyFile::Named(path.to_owned()), "job");
        found.unwrap_err().to_string()
    }

    #[test]
    fn a_private_file_of_64_digits_is_a_key() {
        let place = Place::new();
        for mode in [0o600, 0o400] {
            let path = place.file(TEXT, mode);
            let key = Key::find(&KeyFile::Named(path.clone()), "job").unwrap();
            assert_eq!(key.bytes()[..2], [0x00, 0x11]);
            assert_eq!(key.bytes()[30..], [0x11, 0x00]);
            assert_eq!(format!("{key:?}"), "Key(secret)");
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_file_that_others_can_read_or_write_is_refused_with_a_remedy() {
        let place = Place::new();
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o777] {
            let path = place.file(TEXT, mode);
            let error = refused(&path);
            let mode = format!("its mode {mode:o} opens it to others; `chmod 600 ");
            assert!(error.contains(&mode), "{error}");
        }
    }

    #[test]
    fn a_file_of_somebody_else_is_refused() {
        let place = Place::new();
        let path = place.file(TEXT, 0o600);
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_err() {
            println!("skipped: only root can give files away");
            return;
        }
        let error = refused(&path);
        assert!(error.contains("it belongs to user 65534"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_told_so() {
        let place = Place::new();
        let same = "ab".repeat(32) + "\n";
        let other = TEXT.replace('3', "x");
        for (text, expected) in [
            ("", "it is empty"),
            (&TEXT[..64], "it is not 65 bytes long"),
            (&TEXT[1..], "it is not 65 bytes long"),
            (&[TEXT, "\n"].concat(), "it is not 65 bytes long"),
            (&other, "other characters than digits"),
            (&same, "all its bytes are equal"),
        ] {
            let error = refused(&place.file(text, 0o600));
            assert!(error.contains(expected), "{error}");
            assert!(
                error.contains("64 hexadecimal digits and a newline"),
                "{error}"
            );
            assert!(text.is_empty() || !error.contains(text.trim()), "{error}");
        }
        let error = refused(&place.0);
        assert!(error.contains("it is not a regular file"), "{error}");
        let error = refused(Path::new("/dev/null"));
        assert!(error.contains("it is not a regular file"), "{error}");
        let error = refused(&place.0.join("nothing"));
        assert!(
            error.contains("HIVEMIND_KEY_FILE must name a file"),
            "{error}"
        );
        let nowhere = Key::find(&KeyFile::Nowhere, "job").unwrap_err();
        assert!(nowhere.to_string().contains("set HIVEMIND_KEY_FILE"));
    }

    #[test]
    fn of_many_drones_at_once_one_makes_the_key_and_all_have_it() {
        let place = Place::new();
        let path = place.0.join("config/hivemind/key");
        let barrier = Barrier::new(16);
        let keys: Vec<Key> = thread::scope(|scope| {
            let drones: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        Key::find(&KeyFile::Own(path.clone()), "job").unwrap()
                    })
                })
                .collect();
            drones
                .into_iter()
                .map(|drone| drone.join().unwrap())
                .collect()
        });
        assert!(keys.iter().all(|key| key.bytes() == keys[0].bytes()));
        let directory = path.parent().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(directory), mode(&path)), (0o700, 0o600));
        assert_eq!(fs::read_dir(directory).unwrap().count(), 1, "drafts stay");
    }

    #[test]
    fn jobs_have_different_keys_and_none_is_the_users_own() {
        let place = Place::new();
        let own = KeyFile::Own(place.file(TEXT, 0o600));
        let key = |job| Key::find(&own, job).unwrap();
        let raw = Key::find(&KeyFile::Named(place.0.join("key")), "a").unwrap();
        assert_eq!(key("a").bytes(), key("a").bytes());
        assert_ne!(key("a").bytes(), key("b").bytes());
        assert_ne!(key("").bytes(), raw.bytes());
    }
}
