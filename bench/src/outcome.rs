//! What came out: from the rounds of a case to a line of the table and an object of the file.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::cases::{Case, Goal, Unit};
use crate::series::Series;
use crate::start;

/// A figure beside its floor.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// The median of the rounds.
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// The floor's median, in the same unit.
    pub(crate) floor: f64,
    /// The median of the rounds' ratios of figure to floor.
    pub(crate) ratio: f64,
    /// A tenth of the rounds had a smaller ratio.
    pub(crate) low: f64,
    /// A tenth had a greater one.
    pub(crate) high: f64,
    /// What the goal bounds: the ratio, or the value itself; none where there is no goal.
    pub(crate) goal_is: Option<&'static str>,
    pub(crate) goal: Option<f64>,
    pub(crate) met: Option<bool>,
    /// Messages an operation that drone 0 sent and received; null where they aren't counted.
    pub(crate) messages: Option<f64>,
    /// Bytes an operation, likewise.
    pub(crate) bytes: Option<f64>,
    /// What an operation and its floor are.
    pub(crate) what: &'static str,
}

impl Outcome {
    /// What a case's rounds say.
    pub(crate) fn of(case: &Case, series: &Series) -> Self {
        let (unit, show): (_, Box<dyn Fn(f64) -> f64>) = match case.unit {
            Unit::Microseconds => ("us", Box::new(|ns| ns / 1e3)),
            Unit::MebibytesPerSecond { operation_bytes } => {
                let mebibytes = f64::from(operation_bytes) / f64::from(1 << 20);
                ("MiB/s", Box::new(move |ns| mebibytes / (ns / 1e9)))
            }
        };
        let outcome = Self::measured(series, unit, case.what, &*show);
        match case.goal {
            None => outcome,
            Some(Goal::AtMost(bound)) => Self {
                goal_is: Some("ratio at most"),
                goal: Some(bound),
                met: Some(outcome.ratio <= bound),
                ..outcome
            },
            Some(Goal::AtLeast(bound)) => Self {
                goal_is: Some("ratio at least"),
                goal: Some(bound),
                met: Some(outcome.ratio >= bound),
                ..outcome
            },
        }
    }

    /// What the starts say.
    pub(crate) fn of_start(series: &Series) -> Self {
        let outcome = Self::measured(series, "ms", start::WHAT, &|ns| ns / 1e6);
        let bound = start::GOAL.as_secs_f64() * 1e3;
        Self {
            goal_is: Some("value at most"),
            goal: Some(bound),
            met: Some(outcome.value <= bound),
            ..outcome
        }
    }

    /// What the runs of a program say beside those of another way: the ratio is of speeds, so more is better.
    pub(crate) fn of_program(
        name: String,
        series: &Series,
        what: &'static str,
        goal: Option<f64>,
    ) -> Self {
        let speed = |times: &[f64]| times.iter().map(|ns| 1.0 / ns).collect::<Vec<_>>();
        let speeds = Series {
            ours_ns: speed(&series.ours_ns),
            floor_ns: speed(&series.floor_ns),
            ..Series::default()
        };
        let times = Self::measured(series, "ms", what, &|ns| ns / 1e6);
        let ratios = Self::measured(&speeds, "", what, &|speed| speed);
        Self {
            name,
            ratio: ratios.ratio,
            low: ratios.low,
            high: ratios.high,
            goal_is: goal.map(|_| "ratio at least"),
            goal,
            met: goal.map(|bound| ratios.ratio >= bound),
            ..times
        }
    }

    fn measured(
        series: &Series,
        unit: &'static str,
        what: &'static str,
        show: &dyn Fn(f64) -> f64,
    ) -> Self {
        let shown = |times: &[f64]| times.iter().map(|&ns| show(ns)).collect::<Vec<_>>();
        let (ours, floor) = (shown(&series.ours_ns), shown(&series.floor_ns));
        let ratios: Vec<_> = ours
            .iter()
            .zip(&floor)
            .map(|(ours, floor)| ours / floor)
            .collect();
        Self {
            name: series.name.clone(),
            value: quantile(&ours, 0.5),
            unit,
            floor: quantile(&floor, 0.5),
            ratio: quantile(&ratios, 0.5),
            low: quantile(&ratios, 0.1),
            high: quantile(&ratios, 0.9),
            goal_is: None,
            goal: None,
            met: None,
            messages: series.messages,
            bytes: series.bytes,
            what,
        }
    }
}

/// The value below which this part of all lies; between two of them where none is there.
///
/// # Panics
/// Without values.
fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = part * (sorted.len() - 1) as f64;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

/// Prints all as a table on standard output. A reader that has gone away is no error.
pub(crate) fn show(outcomes: &[Outcome]) {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header([
            "case", "value", "", "floor", "ratio", "low", "high", "goal", "met", "messages",
            "bytes",
        ]);
    for outcome in outcomes {
        let sign = match outcome.goal_is {
            Some(what) if what.ends_with("most") => "≤ ",
            Some(_) => "≥ ",
            None => "",
        };
        table.add_row([
            outcome.name.clone(),
            number(outcome.value),
            outcome.unit.to_owned(),
            number(outcome.floor),
            format!("{:.2}", outcome.ratio),
            format!("{:.2}", outcome.low),
            format!("{:.2}", outcome.high),
            outcome
                .goal
                .map_or(String::new(), |goal| format!("{sign}{goal:.2}")),
            match outcome.met {
                Some(true) => "yes",
                Some(false) => "no",
                None => "",
            }
            .to_owned(),
            outcome.messages.map_or(String::new(), number),
            outcome.bytes.map_or(String::new(), number),
        ]);
    }
    for column in [1, 3, 4, 5, 6, 7, 9, 10] {
        let column = table.column_mut(column).expect("it is in the header");
        column.set_cell_alignment(CellAlignment::Right);
    }
    let _ = writeln!(std::io::stdout(), "{table}");
}

/// With as many digits as say something.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// Writes all as a list of objects.
pub(crate) fn write(outcomes: &[Outcome], path: &Path) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(outcomes)?;
    text.push('\n');
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;

    fn series(ours: &[f64], floor: &[f64]) -> Series {
        Series {
            name: "a".to_owned(),
            ours_ns: ours.to_vec(),
            floor_ns: floor.to_vec(),
            messages: Some(2.0),
            bytes: Some(128.0),
        }
    }

    fn case(name: &str) -> &'static Case {
        cases::all()
            .find(|case| case.name == name)
            .expect("there is such a case")
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_ratios() {
        // The medians' own ratio would be 1.
        let outcome = Outcome::of(
            case("barrier/2"),
            &series(&[1000.0, 2000.0, 6000.0], &[1000.0, 2000.0, 2000.0]),
        );
        assert_eq!(
            (outcome.value, outcome.floor, outcome.ratio),
            (2.0, 2.0, 1.0)
        );
        assert_eq!(outcome.met, Some(true));
        assert!(outcome.low <= outcome.ratio && outcome.ratio < outcome.high);
        let slow = Outcome::of(case("barrier/2"), &series(&[1300.0; 3], &[1000.0; 3]));
        assert_eq!((slow.ratio, slow.met), (1.3, Some(false)));
    }

    #[test]
    fn of_speeds_a_greater_ratio_is_better() {
        let fast = Outcome::of(case("fetch/64MiB"), &series(&[1000.0; 3], &[900.0; 3]));
        assert_eq!((fast.unit, fast.met), ("MiB/s", Some(true)));
        let slow = Outcome::of(case("fetch/64MiB"), &series(&[2000.0; 3], &[900.0; 3]));
        assert!((slow.ratio - 0.45).abs() < 1e-9);
        assert_eq!(slow.met, Some(false));
    }

    #[test]
    fn the_file_is_a_list_of_objects_with_the_promised_names() {
        let folder = std::env::temp_dir().join(format!("hivemind-outcome-{}", std::process::id()));
        let outcome = Outcome::of(case("barrier/2"), &series(&[1000.0; 3], &[1000.0; 3]));
        write(&[outcome], &folder).unwrap();
        let text = std::fs::read_to_string(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        for name in [
            "name", "value", "unit", "floor", "ratio", "low", "high", "goal", "met",
        ] {
            assert!(!list[0][name].is_null(), "{name}");
        }
    }
}
