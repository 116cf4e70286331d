//! What can be set for a hive: the values that hold where nobody says otherwise, the bounds, and how sizes
//! and times are written. Whoever starts drones (the `hivemind` command, a launcher of your own) reads and
//! shows settings with these, so that the library understands them the same way.
//!
//! Which environment variables carry them is `launch`'s affair, inside this crate.
//!
//! ```
//! use hivemind::settings::{self, parse_size, parse_time};
//!
//! assert_eq!(parse_size("64M"), Ok(64 << 20));
//! assert_eq!(parse_time("24h"), Ok(settings::WAIT_LIMIT));
//! assert!(settings::REGION_BYTES > settings::METADATA_LIMIT_BYTES);
//! ```

use std::time::Duration;
use thiserror::Error;

/// The size of the shared region in bytes. Only what is touched needs memory.
///
/// ```
/// assert_eq!(hivemind::settings::parse_size("1 GiB"), Ok(hivemind::settings::REGION_BYTES));
/// ```
pub const REGION_BYTES: u64 = 1 << 30;

/// How many bytes of bookkeeping (intervals, write notices, diffs) a drone keeps before it asks for a
/// collection.
///
/// ```
/// assert_eq!(hivemind::settings::parse_size("1M"), Ok(hivemind::settings::METADATA_LIMIT_BYTES));
/// ```
pub const METADATA_LIMIT_BYTES: u64 = 1 << 20;

/// How long the log of a drone's trace may become in bytes; what happens after that is only counted.
///
/// ```
/// assert_eq!(hivemind::settings::parse_size("16M"), Ok(hivemind::settings::TRACE_LIMIT_BYTES));
/// ```
pub const TRACE_LIMIT_BYTES: u64 = 16 << 20;

/// How long to wait until all drones have joined.
///
/// ```
/// assert_eq!(hivemind::settings::parse_time("30s"), Ok(hivemind::settings::START_TIMEOUT));
/// ```
pub const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a drone's service thread may give no sign of life. Its program may compute for as long as it likes.
///
/// ```
/// assert_eq!(hivemind::settings::parse_time("30s"), Ok(hivemind::settings::SILENCE_LIMIT));
/// ```
pub const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// How long any wait of a program may take: for a lock, a barrier, a page.
///
/// ```
/// assert_eq!(hivemind::settings::parse_time("24h"), Ok(hivemind::settings::WAIT_LIMIT));
/// ```
pub const WAIT_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// The longest time that a limit can be set to. A longer one is a mistake in its unit.
///
/// ```
/// use hivemind::settings::parse_time;
/// assert_eq!(parse_time("366d"), Ok(hivemind::settings::LONGEST_TIME));
/// assert!(parse_time("367d").is_err());
/// ```
pub const LONGEST_TIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// The most drones that a hive may have. Each holds a link to each other, and some tens of thousands of
/// sockets is where a process's table of open files ends.
///
/// ```
/// assert_eq!(hivemind::settings::MAX_DRONES, 65_536);
/// ```
pub const MAX_DRONES: u32 = 65_536;

/// The most threads that a drone may be given.
///
/// ```
/// assert_eq!(hivemind::settings::MAX_THREADS, 65_536);
/// ```
pub const MAX_THREADS: u32 = 65_536;

/// Why a text is no setting. It displays as one sentence that says what is allowed.
///
/// ```
/// use hivemind::settings::{SettingError, parse_size};
///
/// let error = parse_size("lots").expect_err("that is no number");
/// assert_eq!(error, SettingError::NoSize("lots".into()));
/// assert!(error.to_string().contains("64M"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum SettingError {
    /// The text is not written as a size is.
    #[error("`{0}` is no size; write a number and K, M, G or T, as in 64M or 1GiB")]
    NoSize(String),
    /// A size of nothing, or of more bytes than 64 bits count.
    #[error("`{0}` is no size that a machine can have")]
    SizeOutOfRange(String),
    /// The text is not written as a time is.
    #[error("`{0}` is no time; write a number and ms, s, m, h or d, as in 30s or 24h")]
    NoTime(String),
    /// A time of nothing, or longer than [`LONGEST_TIME`].
    #[error("`{0}` is no time that a limit can have: it must be above 0 and not above a year")]
    TimeOutOfRange(String),
}

/// Reads a size and gives it in bytes: `4096`, `64M`, `1GiB`, `2 TB`. All units are powers of 1024.
///
/// ```
/// use hivemind::settings::parse_size;
/// assert_eq!(parse_size("4096"), Ok(4096));
/// assert_eq!(parse_size("2 TB"), Ok(2 << 40));
/// assert!(parse_size("1.5G").is_err());
/// ```
///
/// # Errors
/// [`SettingError::NoSize`] and [`SettingError::SizeOutOfRange`].
pub fn parse_size(text: &str) -> Result<u64, SettingError> {
    let wrong = || SettingError::NoSize(text.to_owned());
    let (number, unit) = split_number(text).ok_or_else(wrong)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| SettingError::SizeOutOfRange(text.to_owned()))
}

/// Reads a span of time: `30` (seconds), `500ms`, `30s`, `5m`, `24h`, `7d`.
///
/// ```
/// use hivemind::settings::parse_time;
/// use std::time::Duration;
/// assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
/// assert_eq!(parse_time("5m"), parse_time("300"));
/// assert!(parse_time("0").is_err());
/// ```
///
/// # Errors
/// [`SettingError::NoTime`] and [`SettingError::TimeOutOfRange`].
pub fn parse_time(text: &str) -> Result<Duration, SettingError> {
    let wrong = || SettingError::NoTime(text.to_owned());
    let (number, unit) = split_number(text).ok_or_else(wrong)?;
    let milliseconds = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(milliseconds)
        .map(Duration::from_millis)
        .filter(|time| !time.is_zero() && *time <= LONGEST_TIME)
        .ok_or_else(|| SettingError::TimeOutOfRange(text.to_owned()))
}

/// Writes a span of time with the largest unit that leaves no rest, as [`parse_time`] reads it; what is
/// below a millisecond is left out.
///
/// ```
/// use hivemind::settings::{WAIT_LIMIT, show_time};
/// use std::time::Duration;
/// assert_eq!(show_time(WAIT_LIMIT), "24h");
/// assert_eq!(show_time(Duration::from_millis(1500)), "1500ms");
/// ```
pub fn show_time(time: Duration) -> String {
    let ms = time.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole = units
        .iter()
        .find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or(&(1, "ms"));
    format!("{}{name}", ms / unit)
}

/// Writes a size in bytes with the largest unit that leaves no rest, as [`parse_size`] reads it.
///
/// ```
/// use hivemind::settings::{REGION_BYTES, show_size};
/// assert_eq!(show_size(REGION_BYTES), "1GiB");
/// assert_eq!(show_size(1000), "1000B");
/// ```
pub fn show_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units
        .iter()
        .find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    let (shift, name) = whole.unwrap_or(&(0, "B"));
    format!("{}{name}", bytes >> shift)
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("64M"), Ok(64 << 20));
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("2 tb"), Ok(2 << 40));
        for wrong in ["", "M", "-1", "1.5G", "12X", "99999999999T", "0", "1 G G"] {
            assert!(parse_size(wrong).is_err(), "{wrong} was read as a size");
        }
    }

    #[test]
    fn times_are_read_in_seconds_without_a_unit() {
        assert_eq!(parse_time("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("24h"), Ok(Duration::from_secs(86_400)));
        for wrong in ["", "s", "0", "3 weeks", "-5s", "99999999999999999d", "400d"] {
            assert!(parse_time(wrong).is_err(), "{wrong} was read as a time");
        }
    }

    #[test]
    fn what_is_shown_is_read_the_same() {
        for bytes in [1, 1023, 1024, 3 << 20, (1 << 30) + 1, 5 << 40] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        for ms in [1, 999, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000] {
            let time = Duration::from_millis(ms);
            assert_eq!(parse_time(&show_time(time)), Ok(time));
        }
    }
}
