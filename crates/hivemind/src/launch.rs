//! Where this process stands in its job, and what it was told: everything read from the environment.
//!
//! Each variable is read here and nowhere else; a wrong one is an error that names the variable, its value and what is
//! allowed. Which starter this process has and what its seat is stands in `launch/seat.rs`, the starters of others in
//! `launch/starters.rs`, where their drones meet in `launch/meeting.rs`; how values are written is in
//! `settings` and `launch/listen.rs`. Deliberately elsewhere: how drones find each other and what is in the key's file
//! (`join`).

mod listen;
mod meeting;
mod seat;
mod starters;

use crate::settings::{self, MAX_DRONES, MAX_THREADS, parse_size, parse_time};
use hivemind_memory::{EngineChoice, MemoryError};
use hivemind_protocol::{Economies, Encryption, FAN_OUT, PAGE_SIZE, Transport};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(crate) use listen::Listen;
pub(crate) use seat::{Root, Seat};

/// What is wrong with the environment.
///
/// ```
/// use hivemind::{Error, Hive, LaunchError};
///
/// match Hive::join() {
///     Err(Error::Launch(LaunchError::Invalid { variable, allowed, .. })) => {
///         eprintln!("set {variable} to {allowed}");
///     }
///     other => other.and_then(Hive::leave).expect("a hive of one"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// A variable has a value that it can't have.
    #[error("{variable}={value} is wrong: allowed is {allowed}")]
    Invalid {
        /// The variable's name.
        variable: &'static str,
        /// What it is set to.
        value: String,
        /// What it may be set to.
        allowed: String,
    },
    /// Some variables of a starter are set and others are not.
    #[error(
        "{set} is set and {missing} is not: a drone needs both; start the program with `hivemind run`, or unset both \
         to run it alone"
    )]
    Partial {
        /// One that is set.
        set: &'static str,
        /// One that isn't.
        missing: &'static str,
    },
    /// A starter does not tell something, and nobody else does.
    #[error(
        "{starter} started this drone and does not tell {what}: set {variable} for all drones of the job, {how}"
    )]
    Untold {
        /// Who started us.
        starter: &'static str,
        /// What is not known.
        what: &'static str,
        /// What would tell it.
        variable: &'static str,
        /// To what, by an example.
        how: &'static str,
    },
}

/// Where the job's key is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyFile {
    /// In this file: a key for this job alone.
    Named(PathBuf),
    /// Derived from the user's own key in this file, which is made at first use.
    Own(PathBuf),
    /// Nothing says where.
    Nowhere,
}

impl KeyFile {
    /// Where this process would look for its key.
    pub(crate) fn from_environment() -> Self {
        let lookup = &|name: &str| std::env::var_os(name);
        Environment { lookup }.key_file(KEY_FILE)
    }
}

/// Names the file with the job's key.
const KEY_FILE: &str = "HIVEMIND_KEY_FILE";

/// How variables are looked up: the process's own, or a test's.
struct Environment<'a> {
    lookup: &'a dyn Fn(&str) -> Option<OsString>,
}

/// Reads a whole environment that is not this process's, for the fuzz target.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_all(
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(Seat, Options), LaunchError> {
    let environment = Environment { lookup };
    Ok((Seat::read(&environment)?, Options::read(&environment)?))
}

/// What the user chose, or the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Which fault engine.
    pub(crate) engine: EngineChoice,
    /// The shared region's size in bytes. Only what is touched needs memory.
    pub(crate) region_bytes: u64,
    /// How many threads the program may use; none: its share of the cores.
    pub(crate) threads: Option<usize>,
    /// How long to wait until all drones are here.
    pub(crate) start_timeout: Duration,
    /// How long a peer may be silent (its service thread, not its program).
    pub(crate) silence_limit: Duration,
    /// How long any wait of the program may take.
    pub(crate) wait_limit: Duration,
    /// How many bytes of protocol data ask for a collection.
    pub(crate) metadata_limit_bytes: u64,
    /// How many drones of the job share this machine; none: they are counted when they meet.
    pub(crate) local_drones: Option<u32>,
    /// How many cores the job has on this machine; none: those of whoever started this drone.
    pub(crate) local_cores: Option<u32>,
    /// Where this drone listens for others; none: the loopback, or the way by which it reached drone 0.
    pub(crate) listen: Option<Listen>,
    /// Where the job's key is.
    pub(crate) key_file: KeyFile,
    /// Which links are encrypted.
    pub(crate) encryption: Encryption,
    /// What carries links.
    pub(crate) transport: Transport,
    /// For how many others a drone waits at an epoch's end.
    pub(crate) fan_out: u32,
    /// Which ways of saving messages are in use.
    pub(crate) economies: Economies,
    /// Where to write the statistics at the end.
    pub(crate) report: Option<PathBuf>,
    /// The directory for the trace; none: no trace.
    pub(crate) trace: Option<PathBuf>,
    /// How long the log of a trace may become in bytes.
    pub(crate) trace_limit_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            engine: EngineChoice::Auto,
            region_bytes: settings::REGION_BYTES,
            threads: None,
            start_timeout: settings::START_TIMEOUT,
            silence_limit: settings::SILENCE_LIMIT,
            wait_limit: settings::WAIT_LIMIT,
            metadata_limit_bytes: settings::METADATA_LIMIT_BYTES,
            local_drones: None,
            local_cores: None,
            listen: None,
            key_file: KeyFile::Nowhere,
            encryption: Encryption::Auto,
            transport: Transport::Auto,
            fan_out: FAN_OUT,
            economies: Economies::default(),
            report: None,
            trace: None,
            trace_limit_bytes: settings::TRACE_LIMIT_BYTES,
        }
    }
}

impl Options {
    /// The options of this process.
    pub(crate) fn from_environment() -> Result<Self, LaunchError> {
        Self::read(&Environment {
            lookup: &|name| std::env::var_os(name),
        })
    }

    fn read(environment: &Environment<'_>) -> Result<Self, LaunchError> {
        let default = Self::default();
        let count = |variable, what: &str, most: u32| {
            let value = environment.get(variable);
            value
                .map(|value| number(variable, &value, 1..=u64::from(most), what))
                .transpose()
        };
        let threads = count(
            "HIVEMIND_THREADS",
            &format!("a number of threads from 1 to {MAX_THREADS}"),
            MAX_THREADS,
        )?;
        let local = count(
            "HIVEMIND_LOCAL_DRONES",
            &format!("a number of drones from 1 to {MAX_DRONES}"),
            MAX_DRONES,
        )?;
        let cores = count(
            "HIVEMIND_LOCAL_CORES",
            &format!("a number of cores from 1 to {MAX_THREADS}"),
            MAX_THREADS,
        )?;
        let fan_out = count(
            "HIVEMIND_FAN_OUT",
            &format!("a number of drones from 1 to {MAX_DRONES}"),
            MAX_DRONES,
        )?;
        Ok(Self {
            engine: environment.engine("HIVEMIND_ENGINE", default.engine)?,
            region_bytes: environment.size(
                "HIVEMIND_REGION",
                default.region_bytes,
                PAGE_SIZE as u64,
            )?,
            threads: threads.map(|threads| threads as usize),
            start_timeout: environment.time("HIVEMIND_START_TIMEOUT", default.start_timeout)?,
            silence_limit: environment.time("HIVEMIND_SILENCE_LIMIT", default.silence_limit)?,
            wait_limit: environment.time("HIVEMIND_WAIT_LIMIT", default.wait_limit)?,
            metadata_limit_bytes: environment.size(
                "HIVEMIND_METADATA_LIMIT",
                default.metadata_limit_bytes,
                1,
            )?,
            local_drones: local.map(|local| local as u32),
            local_cores: cores.map(|cores| cores as u32),
            listen: environment.listen("HIVEMIND_LISTEN")?,
            key_file: environment.key_file(KEY_FILE),
            encryption: environment.word("HIVEMIND_ENCRYPT", default.encryption)?,
            transport: environment.word("HIVEMIND_TRANSPORT", default.transport)?,
            fan_out: fan_out.map_or(default.fan_out, |fan_out| fan_out as u32),
            economies: environment.economies("HIVEMIND_WITHOUT", default.economies)?,
            report: environment.get("HIVEMIND_REPORT").map(PathBuf::from),
            trace: environment.get("HIVEMIND_TRACE").map(PathBuf::from),
            trace_limit_bytes: environment.size(
                "HIVEMIND_TRACE_LIMIT",
                default.trace_limit_bytes,
                4096,
            )?,
        })
    }
}

impl Environment<'_> {
    /// A variable; one that is set to nothing counts as not set.
    fn get(&self, variable: &str) -> Option<OsString> {
        (self.lookup)(variable).filter(|value| !value.is_empty())
    }

    fn engine(
        &self,
        variable: &'static str,
        default: EngineChoice,
    ) -> Result<EngineChoice, LaunchError> {
        let Some(value) = self.get(variable) else {
            return Ok(default);
        };
        let parsed = value.to_string_lossy().parse();
        parsed.map_err(|error| match error {
            MemoryError::UnknownEngine { allowed, .. } => {
                invalid(variable, &value, &format!("one of {allowed}"))
            }
            other => invalid(variable, &value, &other.to_string()),
        })
    }

    fn listen(&self, variable: &'static str) -> Result<Option<Listen>, LaunchError> {
        let Some(value) = self.get(variable) else {
            return Ok(None);
        };
        let parsed = value.to_str().and_then(Listen::parse);
        let allowed = "the address of one interface: IP, IP:PORT or IP:FIRST-LAST, as in 10.0.0.5, 10.0.0.5:7000 or \
                       [fd00::5]:7000-7063";
        parsed
            .map(Some)
            .ok_or_else(|| invalid(variable, &value, allowed))
    }

    fn key_file(&self, variable: &'static str) -> KeyFile {
        if let Some(value) = self.get(variable) {
            return KeyFile::Named(PathBuf::from(value));
        }
        // A relative path counts as not set (XDG base directory specification).
        let absolute = |name| {
            self.get(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let settings =
            absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
        settings.map_or(KeyFile::Nowhere, |settings| {
            KeyFile::Own(settings.join("hivemind").join("key"))
        })
    }

    /// One of a few words; others are refused with those that are allowed.
    fn word<W: FromStr<Err = String>>(
        &self,
        variable: &'static str,
        default: W,
    ) -> Result<W, LaunchError> {
        let Some(value) = self.get(variable) else {
            return Ok(default);
        };
        let parsed = value.to_string_lossy().parse();
        parsed.map_err(|allowed: String| invalid(variable, &value, &allowed))
    }

    fn economies(
        &self,
        variable: &'static str,
        default: Economies,
    ) -> Result<Economies, LaunchError> {
        let Some(value) = self.get(variable) else {
            return Ok(default);
        };
        let names = || format!("a list of {}", Economies::NAMES.join(", "));
        let read = Economies::without(&value.to_string_lossy()).ok();
        read.ok_or_else(|| invalid(variable, &value, &names()))
    }

    fn size(&self, variable: &'static str, default: u64, least: u64) -> Result<u64, LaunchError> {
        let Some(value) = self.get(variable) else {
            return Ok(default);
        };
        let size = value
            .to_str()
            .and_then(|text| parse_size(text).ok())
            .filter(|&bytes| bytes >= least);
        let allowed =
            || format!("a size of {least} bytes or more, such as 64M, 1GiB or 1T (powers of 1024)");
        size.ok_or_else(|| invalid(variable, &value, &allowed()))
    }

    fn time(&self, variable: &'static str, default: Duration) -> Result<Duration, LaunchError> {
        let Some(value) = self.get(variable) else {
            return Ok(default);
        };
        let time = value.to_str().and_then(|text| parse_time(text).ok());
        time.ok_or_else(|| {
            invalid(
                variable,
                &value,
                "a time above 0 and up to a year, such as 500ms, 30s, 5m or 24h",
            )
        })
    }
}

fn invalid(variable: &'static str, value: &OsStr, allowed: &str) -> LaunchError {
    LaunchError::Invalid {
        variable,
        value: value.to_string_lossy().into_owned(),
        allowed: allowed.to_owned(),
    }
}

fn number(
    variable: &'static str,
    value: &OsStr,
    range: std::ops::RangeInclusive<u64>,
    allowed: &str,
) -> Result<u64, LaunchError> {
    let parsed = value.to_str().and_then(|text| text.trim().parse().ok());
    parsed
        .filter(|number| range.contains(number))
        .ok_or_else(|| invalid(variable, value, allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn with<T>(
        variables: &[(&str, &str)],
        read: impl Fn(&Environment<'_>) -> Result<T, LaunchError>,
    ) -> Result<T, String> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        };
        read(&Environment { lookup: &lookup }).map_err(|error| error.to_string())
    }

    fn options(variables: &[(&str, &str)]) -> Result<Options, String> {
        with(variables, Options::read)
    }

    #[test]
    fn options_have_defaults_and_are_read() {
        assert_eq!(options(&[]).unwrap(), Options::default());
        let read = options(&[
            ("HIVEMIND_ENGINE", "mprotect"),
            ("HIVEMIND_REGION", "64M"),
            ("HIVEMIND_THREADS", "3"),
            ("HIVEMIND_START_TIMEOUT", "1500ms"),
            ("HIVEMIND_SILENCE_LIMIT", "7"),
            ("HIVEMIND_WAIT_LIMIT", "2h"),
            ("HIVEMIND_METADATA_LIMIT", "1 GiB"),
            ("HIVEMIND_LOCAL_DRONES", "4"),
            ("HIVEMIND_LOCAL_CORES", "9"),
            ("HIVEMIND_LISTEN", "10.0.0.5:7000-7063"),
            ("HIVEMIND_KEY_FILE", "/k"),
            ("HIVEMIND_ENCRYPT", "always"),
            ("HIVEMIND_TRANSPORT", "tcp"),
            ("HIVEMIND_FAN_OUT", "2"),
            ("HIVEMIND_WITHOUT", "push, fetch-ahead"),
            ("HIVEMIND_REPORT", "/r"),
            ("HIVEMIND_TRACE", "/t"),
            ("HIVEMIND_TRACE_LIMIT", "2G"),
        ]);
        let expected = Options {
            engine: "mprotect".parse().unwrap(),
            region_bytes: 64 << 20,
            threads: Some(3),
            start_timeout: Duration::from_millis(1500),
            silence_limit: Duration::from_secs(7),
            wait_limit: Duration::from_secs(7200),
            metadata_limit_bytes: 1 << 30,
            local_drones: Some(4),
            local_cores: Some(9),
            listen: Listen::parse("10.0.0.5:7000-7063"),
            key_file: KeyFile::Named("/k".into()),
            encryption: Encryption::Always,
            transport: Transport::Tcp,
            fan_out: 2,
            economies: Economies {
                fetch_ahead: false,
                push: false,
                early: true,
                pages_on_grants: true,
                again: Some(3),
                rhythm: true,
            },
            report: Some("/r".into()),
            trace: Some("/t".into()),
            trace_limit_bytes: 2 << 30,
        };
        assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn wrong_options_name_variable_value_and_what_is_allowed() {
        for (variable, value, allowed) in [
            (
                "HIVEMIND_ENGINE",
                "magic",
                "one of auto, uffd, uffd-sync, guard, mprotect",
            ),
            ("HIVEMIND_REGION", "lots", "a size of 4096 bytes or more"),
            ("HIVEMIND_REGION", "100", "a size of 4096 bytes or more"),
            (
                "HIVEMIND_REGION",
                "99999999999T",
                "a size of 4096 bytes or more",
            ),
            ("HIVEMIND_THREADS", "0", "a number of threads from 1"),
            ("HIVEMIND_LOCAL_DRONES", "0", "a number of drones from 1"),
            ("HIVEMIND_LOCAL_CORES", "0", "a number of cores from 1"),
            ("HIVEMIND_FAN_OUT", "0", "a number of drones from 1"),
            ("HIVEMIND_WAIT_LIMIT", "0", "a time above 0"),
            ("HIVEMIND_SILENCE_LIMIT", "5 years", "a time above 0"),
            ("HIVEMIND_START_TIMEOUT", "99999999d", "a time above 0"),
            ("HIVEMIND_METADATA_LIMIT", "-1", "a size of 1 bytes or more"),
            ("HIVEMIND_ENCRYPT", "sometimes", "auto, always or never"),
            ("HIVEMIND_TRANSPORT", "pigeons", "auto, tcp or shared"),
            (
                "HIVEMIND_WITHOUT",
                "push,prayer",
                "a list of fetch-ahead, push, early, pages-on-grants, again",
            ),
            (
                "HIVEMIND_LISTEN",
                "eth0",
                "the address of one interface: IP, IP:PORT",
            ),
        ] {
            let error = options(&[(variable, value)]).unwrap_err();
            let expected = format!("{variable}={value} is wrong: allowed is {allowed}");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn without_a_named_key_the_users_own_is_taken() {
        let key_file = |variables| options(variables).unwrap().key_file;
        let own = |path: &str| KeyFile::Own(path.into());
        assert_eq!(
            key_file(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c")]),
            own("/c/hivemind/key")
        );
        assert_eq!(
            key_file(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "not/absolute")]),
            own("/h/.config/hivemind/key")
        );
        assert_eq!(key_file(&[("HOME", "h")]), KeyFile::Nowhere);
        assert_eq!(
            key_file(&[("HOME", "/h"), ("HIVEMIND_KEY_FILE", "/k")]),
            KeyFile::Named("/k".into())
        );
    }
}
