//! A picture (SVG) of forecasts: for each program a small plot of speed-up over drones, a line a network. Both axes are
//! logarithmic.

use super::Forecast;
use std::fmt::Write;

/// The picture of these forecasts.
///
/// ```
/// use hivemind_sim::model::picture;
/// assert!(picture(&[]).starts_with("<svg"));
/// ```
pub fn picture(forecasts: &[Forecast]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for forecast in forecasts {
        if !names.contains(&forecast.program.as_str()) {
            names.push(&forecast.program);
        }
    }
    let rows = names.len().div_ceil(COLUMNS);
    let (width, height) = (COLUMNS as f64 * CELL, HEAD + rows as f64 * CELL);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    draw_legend(&mut svg);
    for (nth, name) in names.iter().enumerate() {
        let of_program: Vec<&Forecast> = forecasts
            .iter()
            .filter(|forecast| forecast.program == *name)
            .collect();
        let (x, y) = (
            (nth % COLUMNS) as f64 * CELL,
            HEAD + (nth / COLUMNS) as f64 * CELL,
        );
        let _ = writeln!(svg, "<g transform=\"translate({x:.0} {y:.0})\">");
        draw_plot(&mut svg, &of_program);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

const COLUMNS: usize = 3;
const CELL: f64 = 300.0;
const HEAD: f64 = 40.0;
const LEFT: f64 = 44.0;
const TOP: f64 = 30.0;
const SIDE: f64 = 220.0;
/// The axes go from 1 to 1024, and down to a quarter: ten doublings, and two below.
const DOUBLINGS: f64 = 10.0;
const BELOW: f64 = 2.0;

/// The networks and their colours.
const NETWORKS: &[(u32, &str)] = &[(10, "#3b82c4"), (100, "#d1495b")];

fn draw_legend(svg: &mut String) {
    let mut x = LEFT;
    for (gigabits, colour) in NETWORKS {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.0}\" y=\"14\" width=\"14\" height=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"20\">{gigabits} Gb/s</text>",
            x + 20.0
        );
        x += 100.0;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{x:.0}\" y=\"20\">speed-up over one core (upwards) on so many drones (to the right), modelled; grey: a drone each</text>"
    );
}

/// Where a number of drones lies from the left, and a speed-up from above.
fn across(drones: f64) -> f64 {
    LEFT + SIDE * drones.log2() / DOUBLINGS
}

fn down(speed_up: f64) -> f64 {
    let place = speed_up.log2().clamp(-BELOW, DOUBLINGS);
    TOP + SIDE * (1.0 - (place + BELOW) / (DOUBLINGS + BELOW))
}

fn draw_plot(svg: &mut String, forecasts: &[&Forecast]) {
    let what = forecasts
        .first()
        .map_or("", |forecast| forecast.what.as_str());
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT:.0}\" y=\"{:.0}\" font-size=\"11\">{what}</text>",
        TOP - 10.0
    );
    for power in [0, 2, 4, 6, 8, 10] {
        let number = f64::from(1 << power);
        let (x, y) = (across(number), down(number));
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {TOP:.0}V{:.1}M{LEFT:.0} {y:.1}H{:.1}\" stroke=\"#e5e5e5\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\">{number}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"10\">{number}</text>",
            TOP + SIDE,
            LEFT + SIDE,
            TOP + SIDE + 14.0,
            LEFT - 6.0,
            y + 3.0
        );
    }
    let (x, y, far, high) = (across(1.0), down(1.0), across(1024.0), down(1024.0));
    let _ = writeln!(
        svg,
        "<path d=\"M{x:.1} {y:.1}L{far:.1} {high:.1}\" stroke=\"#aaaaaa\" fill=\"none\"/>"
    );
    for (gigabits, colour) in NETWORKS {
        let on_network = forecasts
            .iter()
            .filter(|forecast| forecast.gigabits == *gigabits);
        draw_line(svg, on_network.copied(), colour);
    }
}

fn draw_line<'a>(svg: &mut String, forecasts: impl Iterator<Item = &'a Forecast>, colour: &str) {
    let place = |forecast: &Forecast| (across(f64::from(forecast.drones)), down(forecast.speed_up));
    let mut places: Vec<(f64, f64)> = forecasts.map(place).collect();
    places.sort_by(|one, other| one.0.total_cmp(&other.0));
    let points: Vec<String> = places
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        points.join(" ")
    );
    for (x, y) in places {
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_faster_than_one_core_lies_on_the_line_of_one() {
        assert_eq!(down(1.0) - TOP, SIDE * (1.0 - BELOW / (DOUBLINGS + BELOW)));
        assert!(down(0.001) <= TOP + SIDE && down(1e9) >= TOP);
        assert!((across(1024.0) - LEFT - SIDE).abs() < 1e-9);
    }
}
