//! How an examination is shown: a table a host on standard output, or JSON in a file.

use std::fmt::Write as _;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};

use super::finding::{Chart, State};
use crate::console::is_colored;
use crate::options::Color;
use crate::run;
use crate::trouble::{OUTPUT, Trouble};

/// Prints all charts, and a last line that says how it stands.
///
/// # Errors
/// Nobody takes it.
pub(crate) fn print(charts: &[Chart], color: Color) -> Result<(), Trouble> {
    let colored = is_colored(color, crate::console::OUTPUT);
    let mut text = String::new();
    for chart in charts {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        for finding in &chart.findings {
            table.add_row([
                finding.state.word(),
                &finding.subject,
                &told(&finding.fact, &finding.remedy),
            ]);
        }
        let _ = writeln!(text, "{}", chart.host);
        for line in table.lines() {
            let _ = writeln!(text, "  {}", painted(line.trim_end(), colored));
        }
    }
    let _ = writeln!(text, "{}", verdict(charts));
    run::print(&text, "what was found").map(|_| ())
}

fn told(fact: &str, remedy: &str) -> String {
    if remedy.is_empty() {
        return fact.to_owned();
    }
    format!("{fact}\n→ {remedy}")
}

/// A line with its first word in the colour of its state.
fn painted(line: &str, colored: bool) -> String {
    let trimmed = line.trim_start();
    let states = [State::Ok, State::Note, State::Warning, State::Failure];
    let state = states
        .into_iter()
        .find(|state| trimmed.starts_with(state.word()));
    let Some(state) = state.filter(|_| colored) else {
        return line.to_owned();
    };
    let color = match state {
        State::Ok => AnsiColor::Green,
        State::Note => AnsiColor::Blue,
        State::Warning => AnsiColor::Yellow,
        State::Failure => AnsiColor::Red,
    };
    let style = Style::new().fg_color(Some(color.into()));
    line.replacen(
        state.word(),
        &format!("{style}{}{style:#}", state.word()),
        1,
    )
}

fn verdict(charts: &[Chart]) -> String {
    let findings = || charts.iter().flat_map(|chart| &chart.findings);
    let count = |state: State| findings().filter(|finding| finding.state == state).count();
    match (count(State::Failure), count(State::Warning)) {
        (0, 0) => "A job can run.".to_owned(),
        (0, warnings) => format!("A job can run; {}.", counted(warnings, "warning")),
        (failures, _) => format!(
            "A job cannot run as asked: {}.",
            counted(failures, "failure")
        ),
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// Writes all charts as a list of objects: host, and findings with subject, state, fact and remedy.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(charts: &[Chart], path: &Path) -> Result<(), Trouble> {
    let mut text = serde_json::to_string_pretty(charts).expect("findings are text");
    text.push('\n');
    std::fs::write(path, text)
        .map_err(|error| Trouble::new(OUTPUT, format!("cannot write {}: {error}", path.display())))
}
