//! Sizes, counts and times as people read them. How people write them is `hivemind::settings`'s affair.

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
