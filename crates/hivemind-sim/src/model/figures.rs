//! What things cost: named figures, the checked-in ones with where they come from, or those of a machine's own
//! `hivemind bench --json` and `bench/compare --json`.

use hivemind_protocol::{PAGE_SIZE, Stats};
use serde::Deserialize;

/// What a hive's work costs in nanoseconds.
///
/// ```
/// use hivemind_sim::model::Figures;
/// let figures = Figures::default();
/// assert!(figures.shown().iter().any(|(name, _, from)| *name == "message" && from.contains("round trip")));
/// ```
#[derive(Clone, Debug)]
pub struct Figures {
    list: Vec<Figure>,
}

#[derive(Clone, Debug, Deserialize)]
struct Figure {
    name: String,
    value: f64,
    unit: String,
    from: String,
}

/// A line of what the benchmarks write; they have more fields.
#[derive(Debug, Deserialize)]
struct Measured {
    name: String,
    value: f64,
    floor: f64,
}

/// The figures that the model asks for, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Costs {
    /// A message, at both ends together.
    pub(crate) message: f64,
    /// A byte of it, at each end.
    pub(crate) byte: f64,
    pub(crate) wake: u64,
    pub(crate) spin: u64,
    pub(crate) fault: u64,
    page: f64,
    twin: f64,
    diff: f64,
    invalidate: f64,
    notice: f64,
}

const CHECKED_IN: &str = include_str!("figures.json");

impl Default for Figures {
    fn default() -> Self {
        let list =
            serde_json::from_str(CHECKED_IN).expect("the checked-in figures are a list of such");
        Self { list }
    }
}

impl Figures {
    /// These figures, but for those that a file of `hivemind bench --json` or `bench/compare --json` has.
    ///
    /// ```
    /// use hivemind_sim::model::Figures;
    /// let bench = r#"[{ "name": "barrier/2", "value": 9.0, "floor": 8.0, "unit": "us" }]"#;
    /// let figures = Figures::default().with_measured(bench)?;
    /// assert!(figures.shown().iter().any(|(name, value, _)| *name == "message" && value == "4 us"));
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// The text is no such file, or has none of the figures that the model uses.
    pub fn with_measured(mut self, text: &str) -> Result<Self, String> {
        let measured: Vec<Measured> = serde_json::from_str(text)
            .map_err(|error| format!("this is no file of hivemind bench --json: {error}"))?;
        let bench = Bench(measured);
        let found: Vec<_> = RULES
            .iter()
            .filter_map(|rule| Some((rule, (rule.value)(&bench)?)))
            .collect();
        if found.is_empty() {
            let wanted: Vec<_> = RULES.iter().map(|rule| rule.from).collect();
            return Err(format!(
                "no figure of the model can be made from this file; it wants one of: {}",
                wanted.join("; ")
            ));
        }
        for (rule, ns) in found {
            let known = self.list.iter_mut().find(|figure| figure.name == rule.name);
            let figure = known.expect("a rule makes a figure that is checked in");
            figure.value = ns / unit_ns(&figure.unit);
            figure.from = format!("measured: {}", rule.from);
        }
        Ok(self)
    }

    /// Name, value with its unit, and where it comes from.
    ///
    /// ```
    /// use hivemind_sim::model::Figures;
    /// assert!(Figures::default().shown().len() > 10);
    /// ```
    pub fn shown(&self) -> Vec<(&str, String, &str)> {
        let shown = |figure: &Figure| format!("{} {}", figure.value, figure.unit);
        let list = self.list.iter();
        list.map(|figure| (figure.name.as_str(), shown(figure), figure.from.as_str()))
            .collect()
    }

    /// A figure in nanoseconds.
    pub(crate) fn ns(&self, name: &str) -> f64 {
        let figure = self.list.iter().find(|figure| figure.name == name);
        let figure = figure.unwrap_or_else(|| panic!("the checked-in figures lack {name:?}"));
        figure.value * unit_ns(&figure.unit)
    }

    pub(crate) fn costs(&self) -> Costs {
        Costs {
            message: self.ns("message"),
            byte: self.ns("byte"),
            wake: self.ns("wake") as u64,
            spin: self.ns("spin") as u64,
            fault: self.ns("fault") as u64,
            page: self.ns("page"),
            twin: self.ns("twin"),
            diff: self.ns("diff"),
            invalidate: self.ns("invalidate"),
            notice: self.ns("notice"),
        }
    }
}

impl Costs {
    /// One end of a message of so many bytes.
    pub(crate) fn end_of_message(&self, bytes: usize) -> u64 {
        (self.message / 2.0 + self.byte * bytes as f64) as u64
    }

    /// What a drone did between two readings of its counters, besides sending: so many pages were named to it, and so
    /// many came.
    pub(crate) fn work(&self, before: &Stats, after: &Stats, notices: u64, pages: u64) -> u64 {
        let grown = |count: fn(&Stats) -> u64| (count(after) - count(before)) as f64;
        let work = self.page * pages as f64
            + self.twin * grown(|stats| stats.twins)
            + self.diff * grown(|stats| stats.diffs_made + stats.diffs_applied)
            + self.invalidate * grown(|stats| stats.invalidations)
            + self.notice * notices as f64;
        work as u64
    }
}

/// How a figure is made from measured ones, in nanoseconds.
struct Rule {
    name: &'static str,
    from: &'static str,
    value: fn(&Bench) -> Option<f64>,
}

/// What a benchmark wrote.
struct Bench(Vec<Measured>);

impl Bench {
    fn value(&self, name: &str) -> Option<f64> {
        let line = self.0.iter().find(|line| line.name == name)?;
        Some(line.value)
    }

    fn floor(&self, name: &str) -> Option<f64> {
        let line = self.0.iter().find(|line| line.name == name)?;
        Some(line.floor)
    }

    /// A byte takes as long as the slower end of a stream needs for it.
    fn byte_ns(&self) -> Option<f64> {
        Some(1e9 / f64::from(1 << 20) / self.floor("fetch/64MiB")?)
    }

    fn more_page_ns(&self) -> Option<f64> {
        let more_us = (self.value("fetch/16")? - self.value("fetch/1")?) / 15.0;
        Some((more_us * 1e3 - 2.0 * PAGE_SIZE as f64 * self.byte_ns()?).max(0.0))
    }

    fn invalidate_ns(&self) -> Option<f64> {
        let all_us = self.value("barrier/1024-of-1024")? - self.value("barrier/0-of-1024")?;
        Some((all_us * 1e3 / 1024.0).max(0.0))
    }

    /// What one core takes for one of so many steps of a program; the file says milliseconds.
    fn step_ns(&self, program: &str, steps: f64) -> Option<f64> {
        Some(self.floor(&format!("{program} : serial"))? * 1e6 / steps)
    }
}

const RULES: &[Rule] = &[
    Rule {
        name: "message",
        from: "half the floor of barrier/2",
        value: |bench| Some(bench.floor("barrier/2")? * 1e3 / 2.0),
    },
    Rule {
        name: "byte",
        from: "the floor of fetch/64MiB",
        value: Bench::byte_ns,
    },
    Rule {
        name: "fault",
        from: "fault/own",
        value: |bench| Some(bench.value("fault/own")? * 1e3),
    },
    Rule {
        name: "page",
        from: "fetch/16 less fetch/1, and less its bytes by the floor of fetch/64MiB",
        value: Bench::more_page_ns,
    },
    Rule {
        name: "twin",
        from: "write/after-fetch",
        value: |bench| Some(bench.value("write/after-fetch")? * 1e3),
    },
    Rule {
        name: "invalidate",
        from: "barrier/1024-of-1024 less barrier/0-of-1024, for each page",
        value: Bench::invalidate_ns,
    },
    Rule {
        name: "pi step",
        from: "pi/1e8 on one core",
        value: |bench| bench.step_ns("pi/1e8", 1e8),
    },
    Rule {
        name: "jacobi point",
        from: "jacobi/8192 on one core",
        value: |bench| bench.step_ns("jacobi/8192", 8192.0 * 8192.0 * 100.0),
    },
    Rule {
        name: "matmul product",
        from: "matmul/2048 on one core",
        value: |bench| bench.step_ns("matmul/2048", 2048.0 * 2048.0 * 2048.0),
    },
    Rule {
        name: "intsort key",
        from: "intsort/8M on one core, for each key and round",
        value: |bench| bench.step_ns("intsort/8M", f64::from(1 << 23) * 10.0),
    },
    Rule {
        name: "quicksort number",
        from: "quicksort/32M on one core, for each number and doubling",
        value: |bench| bench.step_ns("quicksort/32M", 32e6 * 32e6_f64.log2()),
    },
];

fn unit_ns(unit: &str) -> f64 {
    match unit {
        "ns" => 1.0,
        "us" => 1e3,
        other => panic!("a figure has the unit {other:?}; write ns or us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_checked_in_figure_says_where_it_comes_from() {
        for (name, value, from) in Figures::default().shown() {
            assert!(from.len() > 20, "{name} is {value}, from {from:?}");
        }
    }

    #[test]
    fn every_rule_makes_a_figure_that_is_checked_in() {
        let figures = Figures::default();
        for rule in RULES {
            assert!(figures.ns(rule.name) > 0.0, "{}", rule.name);
        }
    }

    #[test]
    fn a_file_of_the_benchmark_replaces_what_it_measured_and_nothing_else() {
        let bench = r#"[
            { "name": "fetch/1", "value": 12.0, "floor": 11.0 },
            { "name": "fetch/16", "value": 42.0, "floor": 39.0 },
            { "name": "fetch/64MiB", "value": 4000.0, "floor": 4768.37158203125 },
            { "name": "jacobi/8192 : serial", "value": 9000.0, "floor": 13421.7728 }
        ]"#;
        let figures = Figures::default()
            .with_measured(bench)
            .expect("it has figures");
        let near = |name, ns: f64| (figures.ns(name) - ns).abs() < 1e-6;
        assert!(near("byte", 0.2) && near("page", 2000.0 - 8192.0 * 0.2));
        assert!(near("jacobi point", 2.0));
        assert!(near("message", Figures::default().ns("message")));
    }

    #[test]
    fn a_file_without_a_figure_is_refused_with_what_it_should_have() {
        let refused = Figures::default()
            .with_measured("[]")
            .expect_err("nothing is in it");
        assert!(refused.contains("fetch/16"), "{refused}");
        assert!(Figures::default().with_measured("{").is_err());
    }
}
