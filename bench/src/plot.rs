//! What came out as a picture: a line a case, with the ratio of figure to floor as a point, its spread as a bar and its goal
//! as a tick.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::outcome::Outcome;

/// How high a line is, and how wide the picture, in points.
const LINE: u32 = 18;
const WIDTH: u32 = 900;
/// Room beside the lines: names, and the scale above and below.
const NAMES: u32 = 230;
const SCALE: u32 = 50;

const MET: RGBColor = RGBColor(44, 123, 182);
const MISSED: RGBColor = RGBColor(215, 48, 39);

/// Draws these outcomes into a file.
pub(crate) fn draw(outcomes: &[Outcome], path: &Path) -> anyhow::Result<()> {
    let failed =
        |error: &dyn std::fmt::Display| anyhow!("cannot draw into {}: {error}", path.display());
    let shown: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| outcome.low > 0.0)
        .collect();
    let ends = shown.iter().flat_map(|outcome| [outcome.low, outcome.high]);
    let (least, most) = ends.fold((0.5_f64, 2.0_f64), |(least, most), end| {
        (least.min(end), most.max(end))
    });
    let lines = shown.len() as i32;
    let height = LINE * shown.len() as u32 + 2 * SCALE;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption("figure : floor", ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(SCALE / 2)
        .y_label_area_size(NAMES)
        .build_cartesian_2d((least * 0.8..most * 1.2).log_scale(), -1..lines)
        .map_err(|error| failed(&error))?;
    let name = |line: &i32| {
        let from_below = usize::try_from(lines - 1 - line).ok();
        from_below
            .and_then(|at| shown.get(at))
            .map_or(String::new(), |outcome| outcome.name.clone())
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(shown.len() + 2)
        .y_label_formatter(&name)
        .x_label_formatter(&|ratio| format!("{ratio}"))
        .draw()
        .map_err(|error| failed(&error))?;
    for (at, outcome) in shown.iter().enumerate() {
        let line = lines - 1 - at as i32;
        let colour = if outcome.met == Some(false) {
            MISSED
        } else {
            MET
        };
        let spread = [(outcome.low, line), (outcome.high, line)];
        let bar = PathElement::new(spread, colour.stroke_width(3));
        chart.draw_series([bar]).map_err(|error| failed(&error))?;
        let point = Circle::new((outcome.ratio, line), 4, colour.filled());
        chart.draw_series([point]).map_err(|error| failed(&error))?;
        let bounds_ratio = outcome
            .goal_is
            .is_some_and(|what| what.starts_with("ratio"));
        if let Some(goal) = outcome.goal.filter(|_| bounds_ratio) {
            let tick = Cross::new((goal, line), 4, BLACK.stroke_width(1));
            chart.draw_series([tick]).map_err(|error| failed(&error))?;
        }
    }
    area.present().map_err(|error| failed(&error))?;
    Ok(())
}
