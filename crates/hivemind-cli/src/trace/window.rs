//! Which events of a trace are wanted.

use clap::Args;
use hivemind_trace::{Entry, Happening};

/// A window. What is not said does not matter.
#[derive(Args, Debug, Default)]
pub(super) struct Window {
    /// From this time on, counted from the first drone's start, as in 1.5ms, 20us or 3s.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<u64>,

    /// Up to this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<u64>,

    /// What happens at this drone; may be given several times.
    #[arg(long, value_name = "N")]
    drone: Vec<u32>,

    /// What is about this page; may be given several times.
    #[arg(long, value_name = "PAGE")]
    page: Vec<u64>,

    /// What is about this lock; may be given several times.
    #[arg(long, value_name = "LOCK")]
    lock: Vec<u64>,
}

impl Window {
    /// Whether an event is in it.
    pub(super) fn keeps(&self, entry: &Entry) -> bool {
        let happening = Happening::read(&entry.text);
        let at_ns = happening.time_ns("at_us").unwrap_or(0);
        let in_time =
            self.from.is_none_or(|from| from <= at_ns) && self.to.is_none_or(|to| at_ns <= to);
        let here = self.drone.is_empty() || self.drone.contains(&entry.host);
        let about_page = self.page.iter().any(|page| happening.has_page(*page));
        let lock = happening.number("lock");
        let about_lock = lock.is_some_and(|lock| self.lock.contains(&lock));
        let about_any = self.page.is_empty() && self.lock.is_empty();
        in_time && here && (about_any || about_page || about_lock)
    }
}

/// A time in ns.
fn parse_time(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let ns = match unit.trim() {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        _ => return Err("write a number and us, ms, s or m, as in 1.5ms".to_owned()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "write a number and us, ms, s or m, as in 1.5ms".to_owned())?;
    Ok((number * ns) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit() {
        assert_eq!(parse_time("1.5ms"), Ok(1_500_000));
        assert_eq!(parse_time("0s"), Ok(0));
        assert_eq!(parse_time("20 us"), Ok(20_000));
        for wrong in ["", "5", "ms", "1.2.3s", "-1s", "3 weeks"] {
            assert!(parse_time(wrong).is_err(), "{wrong} was read as a time");
        }
    }

    #[test]
    fn a_window_is_about_time_and_drone_and_page_or_lock() {
        let entry = |host, text: &str| Entry {
            host,
            clock: [(host, 1)].into_iter().collect(),
            text: text.to_owned(),
        };
        let request = entry(1, "sends PageRequest to=d0 no=1 pages=3-5 at_us=7.5");
        let grant = entry(1, "gets LockGrant from=d0 no=2 lock=9 at_us=8.0");
        let keeps = |window: &Window| [window.keeps(&request), window.keeps(&grant)];
        assert_eq!(keeps(&Window::default()), [true, true]);
        let page = vec![4];
        let lock = vec![9];
        let about = |page: &[u64], lock: &[u64]| Window {
            page: page.to_vec(),
            lock: lock.to_vec(),
            ..Window::default()
        };
        assert_eq!(keeps(&about(&page, &[])), [true, false]);
        assert_eq!(keeps(&about(&[], &lock)), [false, true]);
        assert_eq!(keeps(&about(&page, &lock)), [true, true]);
        let late = Window {
            from: Some(8000),
            ..Window::default()
        };
        assert_eq!(keeps(&late), [false, true]);
        let elsewhere = Window {
            drone: vec![0],
            ..Window::default()
        };
        assert_eq!(keeps(&elsewhere), [false, false]);
    }
}
