//! Sizes and times as people write and read them. Nothing here knows what they are used for.

use std::time::Duration;

/// A longer limit is a mistake in its unit.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads a size in bytes: `4096`, `64M`, `1GiB`, `2 TB`. All units are powers of 1024.
///
/// # Errors
/// One sentence that says what is allowed.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("`{text}` is no size; write a number and K, M, G or T, as in 64M or 1GiB");
    let text = text.trim();
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
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| format!("`{text}` is no size that a machine can have"))
}

/// Reads a span of time: `30` (seconds), `500ms`, `30s`, `5m`, `24h`, `7d`.
///
/// # Errors
/// One sentence that says what is allowed.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("`{text}` is no time; write a number and ms, s, m, h or d, as in 30s or 24h");
    let (number, unit) = split_number(text.trim()).ok_or_else(wrong)?;
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
        .filter(|time| !time.is_zero() && *time <= LONGEST)
        .ok_or_else(|| {
            format!(
                "`{text}` is no time that a limit can have: it must be above 0 and not above a year"
            )
        })
}

/// A size to read: `1.5 GiB`, `640 B`.
pub(crate) fn show_bytes(bytes: f64) -> String {
    scaled(
        bytes,
        1024.0,
        &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"],
    )
}

/// A count to read: `9999`, `12.3k`, `4.56M`.
pub(crate) fn show_count(count: f64) -> String {
    if count.abs() < 10_000.0 {
        return format!("{count:.0}");
    }
    scaled(count, 1000.0, &["", "k", "M", "G", "T", "P"])
}

/// A time in microseconds to read: `850 us`, `12.3 ms`, `4.56 s`, `3.2 h`.
pub(crate) fn show_microseconds(time_us: f64) -> String {
    if time_us >= 3_600e6 {
        return format!("{:.1} h", time_us / 3_600e6);
    }
    scaled(time_us, 1000.0, &[" us", " ms", " s"])
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Three digits that count, and the first unit that keeps the number below the next one.
fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value.abs() >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        small if small < 10.0 => 2,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{}", units[unit])
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
        assert_eq!(parse_duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
        for wrong in ["", "s", "0", "3 weeks", "-5s", "99999999999999999d", "400d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong} was read as a time");
        }
    }

    #[test]
    fn values_are_shown_with_three_digits() {
        assert_eq!(show_bytes(640.0), "640 B");
        assert_eq!(show_bytes(1536.0), "1.50 KiB");
        assert_eq!(show_bytes(f64::from(1 << 30)), "1 GiB");
        assert_eq!(show_count(9999.0), "9999");
        assert_eq!(show_count(12_345.0), "12.3k");
        assert_eq!(show_microseconds(850.0), "850 us");
        assert_eq!(show_microseconds(12_345.0), "12.3 ms");
        assert_eq!(show_microseconds(7200e6), "2.0 h");
    }
}
