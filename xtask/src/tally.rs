//! Counts what test programs say of themselves, line by line. Pure; who runs them is `test`.
//!
//! A test that finds that it cannot run here passes, and prints a line that begins with `skipped:`. Such a
//! test is counted as skipped, and its line is shown; the rest of what good tests print is not.

use std::fmt;

/// The counts so far, and where in a test program's output we are.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
    /// Tests of the program that is speaking which passed because they were skipped.
    skipped_here: usize,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Default, Debug)]
enum Place {
    #[default]
    Elsewhere,
    /// In the output of tests that passed.
    Successes,
    /// The same, in that of a test that was skipped.
    SkippedTest,
}

impl Tally {
    /// Takes one line of output. Gives whether it is worth showing.
    pub(crate) fn hear(&mut self, line: &str) -> bool {
        let text = line.trim_end();
        if text.starts_with("test result:") {
            self.place = Place::Elsewhere;
            let count = |what| number_before(text, what);
            let skipped = std::mem::take(&mut self.skipped_here);
            self.passed += count("passed").saturating_sub(skipped);
            self.failed += count("failed");
            self.skipped += count("ignored") + skipped;
            return true;
        }
        if let Some((passed, failed, skipped)) = closing_counts(text) {
            self.passed += passed;
            self.failed += failed;
            self.skipped += skipped;
            return true;
        }
        match text {
            "successes:" => self.place = Place::Successes,
            "failures:" => self.place = Place::Elsewhere,
            _ if self.place == Place::Elsewhere => return true,
            _ if text.starts_with("---- ") && text.ends_with(" ----") => {
                self.place = Place::Successes
            }
            _ if text.starts_with("skipped:") => {
                if self.place == Place::Successes {
                    self.skipped_here += 1;
                }
                self.place = Place::SkippedTest;
                return true;
            }
            _ => {}
        }
        text == "failures:"
    }

    /// A step that could not be done here.
    pub(crate) fn skip(&mut self) {
        self.skipped += 1;
    }

    /// A step failed: a test program that died left no count.
    pub(crate) fn fail_at_least_once(&mut self) {
        self.failed = self.failed.max(1);
    }

    /// Whether no test failed.
    pub(crate) fn is_good(&self) -> bool {
        self.failed == 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
            ..
        } = self;
        write!(
            formatter,
            "{passed} passed, {failed} failed, {skipped} skipped"
        )
    }
}

/// The counts of a closing line that is nothing else, as `cargo xtask mutants` prints: `3 passed, 1 failed`, and
/// `, 1 skipped` behind it where something was.
fn closing_counts(text: &str) -> Option<(usize, usize, usize)> {
    let (text, skipped) = match text.strip_suffix(" skipped") {
        Some(text) => text.rsplit_once(", ")?,
        None => (text, "0"),
    };
    let (passed, failed) = text.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some((
        passed.parse().ok()?,
        failed.parse().ok()?,
        skipped.parse().ok()?,
    ))
}

/// The number in front of a word, as in `3 passed;`.
fn number_before(text: &str, what: &str) -> usize {
    let words: Vec<&str> = text
        .split([' ', ';'])
        .filter(|word| !word.is_empty())
        .collect();
    let found = words.windows(2).find(|pair| pair[1] == what);
    found.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts after these lines, and the lines that were shown.
    fn hear(text: &str) -> (String, Vec<&str>) {
        let mut tally = Tally::default();
        let shown = text.lines().filter(|line| tally.hear(line)).collect();
        (tally.to_string(), shown)
    }

    #[test]
    fn results_of_all_programs_are_summed_up() {
        let (counts, shown) = hear(
            "running 3 tests\n\
             test one ... ok\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s\n",
        );
        assert_eq!(counts, "13 passed, 2 failed, 1 skipped");
        assert_eq!(shown.len(), 4);
    }

    #[test]
    fn a_test_that_says_so_is_skipped_once_and_not_passed() {
        let (counts, shown) = hear(
            "test one ... ok\n\
             \n\
             successes:\n\
             \n\
             ---- one stdout ----\n\
             skipped: one: no such engine\n\
             skipped: one: nor that\n\
             \n\
             ---- two stdout ----\n\
             much to say\n\
             \n\
             successes:\n    one\n    two\n\
             \n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!(counts, "1 passed, 0 failed, 1 skipped");
        assert!(shown.contains(&"skipped: one: no such engine"));
        assert!(!shown.contains(&"much to say"));
    }

    #[test]
    fn a_plain_closing_line_counts() {
        assert_eq!(
            hear("3 passed, 1 failed\n").0,
            "3 passed, 1 failed, 0 skipped"
        );
        assert_eq!(
            hear("0 passed, 0 failed, 1 skipped\n").0,
            "0 passed, 0 failed, 1 skipped"
        );
        assert_eq!(
            hear("some passed, 1 failed\n").0,
            "0 passed, 0 failed, 0 skipped"
        );
    }

    #[test]
    fn output_of_failed_tests_is_shown() {
        let (counts, shown) = hear(
            "successes:\n\nsuccesses:\n    one\n\nfailures:\n\n---- two stdout ----\nskipped: not this\nit broke\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored\n",
        );
        assert_eq!(counts, "1 passed, 1 failed, 0 skipped");
        assert!(shown.contains(&"it broke"));
    }

    #[test]
    fn a_step_that_died_without_a_count_counts() {
        let mut tally = Tally::default();
        tally.skip();
        tally.fail_at_least_once();
        assert_eq!(tally.to_string(), "0 passed, 1 failed, 1 skipped");
    }
}
