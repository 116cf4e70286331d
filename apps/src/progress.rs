//! How far a program is, for the person who waits: a bar on a terminal, plain lines under a launcher that
//! runs on one, nothing otherwise. Shown only for what takes longer than a second.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Nothing is shown before this time, and a plain line is shown once in it.
const PERIOD: Duration = Duration::from_secs(1);

/// Shows how many steps of how many are done. Any thread may report; cheap enough for every millisecond.
pub struct Progress {
    unit: &'static str,
    total: u64,
    way: Way,
}

enum Way {
    Silent,
    Lines {
        name: &'static str,
        last: Mutex<Instant>,
    },
    Bar {
        start: Instant,
        bar: Mutex<Option<ProgressBar>>,
    },
}

impl Progress {
    /// Progress on this process's standard error: a bar where that is a terminal, lines where the launcher
    /// says that its own is one (`HIVEMIND_TERMINAL=1`), else silence.
    pub fn new(name: &'static str, unit: &'static str, total: u64) -> Progress {
        let now = Instant::now();
        let way = if std::io::stderr().is_terminal() {
            Way::Bar {
                start: now,
                bar: Mutex::new(None),
            }
        } else if std::env::var_os("HIVEMIND_TERMINAL").is_some_and(|value| value == "1") {
            Way::Lines {
                name,
                last: Mutex::new(now),
            }
        } else {
            Way::Silent
        };
        Progress { unit, total, way }
    }

    /// Progress that is never shown.
    pub fn silent() -> Progress {
        Progress {
            unit: "",
            total: 0,
            way: Way::Silent,
        }
    }

    /// Says that `done` of the steps are done. A thread that finds another one reporting doesn't wait.
    pub fn at(&self, done: u64) {
        match &self.way {
            Way::Silent => {}
            Way::Lines { name, last } => {
                let Ok(mut last) = last.try_lock() else {
                    return;
                };
                if last.elapsed() >= PERIOD {
                    *last = Instant::now();
                    let line = line(name, self.unit, done, self.total);
                    // Who waits for no progress any more is no error.
                    let _ = writeln!(std::io::stderr(), "{line}");
                }
            }
            Way::Bar { start, bar } => {
                let Ok(mut bar) = bar.try_lock() else { return };
                if start.elapsed() >= PERIOD {
                    bar.get_or_insert_with(|| make_bar(self.unit, self.total))
                        .set_position(done);
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Way::Bar { bar, .. } = &self.way
            && let Ok(mut bar) = bar.lock()
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
    }
}

fn line(name: &str, unit: &str, done: u64, total: u64) -> String {
    let percent = (u128::from(done) * 100)
        .checked_div(u128::from(total))
        .unwrap_or(100);
    format!("{name}: {unit} {done} of {total} ({percent} %)")
}

fn make_bar(unit: &'static str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{wide_bar} {msg} {human_pos} of {human_len} ({percent} %, {eta} left)",
    );
    let bar = ProgressBar::new(total).with_message(unit);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_program_step_and_percent() {
        assert_eq!(
            line("jacobi", "sweep", 300, 1000),
            "jacobi: sweep 300 of 1000 (30 %)"
        );
        assert_eq!(
            line("pi", "step", u64::MAX, u64::MAX),
            format!("pi: step {0} of {0} (100 %)", u64::MAX)
        );
        assert_eq!(
            line("quicksort", "number", 0, 0),
            "quicksort: number 0 of 0 (100 %)"
        );
    }
}
