//! Forecasts as text: a table for people, JSON for programs.

use super::{Figures, Forecast};
use serde::{Deserialize, Serialize};

/// A table, a line a forecast.
///
/// ```
/// use hivemind_sim::model::table;
/// assert!(table(&[]).starts_with("program"));
/// ```
pub fn table(forecasts: &[Forecast]) -> String {
    let head = [
        "program",
        "drones",
        "Gb/s",
        "messages",
        "MiB",
        "at drone 0",
        "serial",
        "shared",
        "faults",
        "locks",
        "meetings",
        "speed-up",
    ];
    let head = head.map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head)
        .chain(forecasts.iter().map(row))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).filter_map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let cell = if at == 0 {
                format!("{cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            };
            text.push_str(&cell);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn row(forecast: &Forecast) -> Vec<String> {
    let share = |ms: f64| format!("{:.0} %", 100.0 * ms / forecast.modelled_ms.max(1e-9));
    vec![
        forecast.program.clone(),
        forecast.drones.to_string(),
        forecast.gigabits.to_string(),
        forecast.messages.to_string(),
        (forecast.bytes >> 20).to_string(),
        forecast.first_messages.to_string(),
        time(forecast.modelled_serial_ms),
        time(forecast.modelled_ms),
        share(forecast.modelled_fault_ms),
        share(forecast.modelled_lock_ms),
        share(forecast.modelled_meeting_ms),
        format!("{:.1}", forecast.speed_up),
    ]
}

fn time(ms: f64) -> String {
    if ms < 1000.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{:.1} s", ms / 1e3)
    }
}

/// An object with the figures and the forecasts.
///
/// ```
/// use hivemind_sim::model::{Figures, json};
/// assert!(json(&Figures::default(), &[]).contains("\"forecasts\": []"));
/// ```
pub fn json(figures: &Figures, forecasts: &[Forecast]) -> String {
    #[derive(Serialize)]
    struct Named<'a> {
        name: &'a str,
        value: String,
        from: &'a str,
    }
    #[derive(Serialize)]
    struct Whole<'a> {
        figures: Vec<Named<'a>>,
        forecasts: &'a [Forecast],
    }
    let shown = figures.shown().into_iter();
    let whole = Whole {
        figures: shown
            .map(|(name, value, from)| Named { name, value, from })
            .collect(),
        forecasts,
    };
    serde_json::to_string_pretty(&whole).expect("numbers and words are always JSON")
}

/// The forecasts of a file that [`json`] made.
///
/// ```
/// use hivemind_sim::model::{Figures, json, read};
/// assert_eq!(read(&json(&Figures::default(), &[])), Ok(vec![]));
/// ```
///
/// # Errors
/// It is no such file.
pub fn read(text: &str) -> Result<Vec<Forecast>, String> {
    #[derive(Deserialize)]
    struct Whole {
        forecasts: Vec<Forecast>,
    }
    let whole: Whole = serde_json::from_str(text)
        .map_err(|error| format!("this is no file of hivemind-sim model --json: {error}"))?;
    Ok(whole.forecasts)
}
