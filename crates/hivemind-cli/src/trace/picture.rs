//! A picture (SVG) of a trace in space and time: a lane a drone, bars for waits, arrows for messages.

use std::collections::BTreeMap;
use std::fmt::Write;

use hivemind_trace::{Entry, Happening};

use super::logs::message;
use super::timeline::{arrows, category};

const LEFT: f64 = 70.0;
const WIDTH: f64 = 1100.0;
const TOP: f64 = 60.0;
const LANE: f64 = 90.0;
const BAR: f64 = 16.0;

/// The colours of waits, and of messages.
const COLOURS: &[(&str, &str, &str)] = &[
    ("fault", "#3b82c4", "waits for a page"),
    ("lock", "#d1495b", "waits for a lock"),
    ("meeting", "#9a9a9a", "waits in a meeting"),
    ("heap", "#8f6bb3", "waits for the heap"),
    ("message", "#2e8b57", "message with data"),
    ("word", "#c9b458", "other message"),
];

/// The picture of these events.
pub(super) fn write(entries: &[Entry]) -> String {
    let Some(picture) = Picture::of(entries) else {
        return String::new();
    };
    let height = TOP + LANE * picture.lanes.len() as f64 + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        LEFT + WIDTH + 30.0
    );
    picture.draw_legend(&mut svg);
    picture.draw_lanes(&mut svg, height);
    picture.draw_waits(&mut svg, entries);
    picture.draw_messages(&mut svg, entries);
    svg.push_str("</svg>\n");
    svg
}

struct Picture {
    /// Where each drone's lane lies, from above.
    lanes: BTreeMap<u32, f64>,
    first_ns: u64,
    last_ns: u64,
}

impl Picture {
    fn of(entries: &[Entry]) -> Option<Self> {
        let times = entries
            .iter()
            .filter_map(|entry| Happening::read(&entry.text).time_ns("at_us"));
        let (first_ns, last_ns) = times.fold(None, |range: Option<(u64, u64)>, at| {
            let (first, last) = range.unwrap_or((at, at));
            Some((first.min(at), last.max(at)))
        })?;
        let mut hosts: Vec<u32> = entries.iter().map(|entry| entry.host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let lanes = hosts.into_iter().enumerate();
        Some(Self {
            lanes: lanes
                .map(|(at, host)| (host, TOP + LANE * (at as f64 + 0.5)))
                .collect(),
            first_ns,
            last_ns: last_ns.max(first_ns + 1),
        })
    }

    fn x(&self, at_ns: u64) -> f64 {
        let span = (self.last_ns - self.first_ns) as f64;
        LEFT + WIDTH * at_ns.saturating_sub(self.first_ns) as f64 / span
    }

    fn draw_legend(&self, svg: &mut String) {
        for (at, (_, colour, means)) in COLOURS.iter().enumerate() {
            let x = LEFT + 185.0 * at as f64;
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"12\" width=\"14\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"21\">{means}</text>",
                x + 19.0
            );
        }
    }

    fn draw_lanes(&self, svg: &mut String, height: f64) {
        for (host, y) in &self.lanes {
            let _ = writeln!(
                svg,
                "<text x=\"12\" y=\"{}\">drone {host}</text><line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"#222222\"/>",
                y + 4.0,
                LEFT + WIDTH
            );
        }
        let span_us = (self.last_ns - self.first_ns) as f64 / 1000.0;
        let step_us = step(span_us);
        let mut tick_us = (self.first_ns as f64 / 1000.0 / step_us).ceil() * step_us;
        while tick_us * 1000.0 <= self.last_ns as f64 {
            let x = self.x((tick_us * 1000.0) as u64);
            let (value, unit) = if step_us >= 1000.0 {
                (tick_us / 1000.0, "ms")
            } else {
                (tick_us, "µs")
            };
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{}\" stroke=\"#e2e2e2\"/><text x=\"{x:.1}\" y=\"{}\" \
                 text-anchor=\"middle\" fill=\"#555555\">{value} {unit}</text>",
                height - 28.0,
                height - 12.0
            );
            tick_us += step_us;
        }
    }

    fn draw_waits(&self, svg: &mut String, entries: &[Entry]) {
        for entry in entries {
            let over = Happening::read(&entry.text);
            let (Some(at_ns), Some(waited_ns)) = (over.time_ns("at_us"), over.time_ns("waited_us"))
            else {
                continue;
            };
            let from = self.x(at_ns.saturating_sub(waited_ns));
            let width = (self.x(at_ns) - from).max(0.6);
            let y = self.lanes[&entry.host] - BAR / 2.0;
            let colour = colour(category(over.name()));
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\" \
                 fill-opacity=\"0.75\"><title>{}</title></rect>",
                escape(&entry.text)
            );
        }
    }

    fn draw_messages(&self, svg: &mut String, entries: &[Entry]) {
        let arrows = arrows(entries);
        let mut sent: BTreeMap<(u32, u32, u64), u64> = BTreeMap::new();
        for entry in entries {
            let Some((sends, (from, to), no)) = message(entry) else {
                continue;
            };
            let happening = Happening::read(&entry.text);
            let at_ns = happening.time_ns("at_us").unwrap_or(self.first_ns);
            if sends {
                sent.insert((from, to, no), at_ns);
            } else if arrows.contains(&(from, to, no)) {
                let begin = sent.get(&(from, to, no)).copied().unwrap_or(at_ns);
                let data = matches!(
                    happening.name(),
                    "PageReply" | "PagePush" | "DiffReply" | "Flush"
                );
                let colour = colour(if data { "message" } else { "word" });
                let (x1, y1) = (self.x(begin), self.lanes[&from]);
                let (x2, y2) = (self.x(at_ns), self.lanes[&to]);
                let _ = writeln!(
                    svg,
                    "<line x1=\"{x1:.1}\" y1=\"{y1}\" x2=\"{x2:.1}\" y2=\"{y2}\" stroke=\"{colour}\"><title>{}</title></line>\
                     <circle cx=\"{x2:.1}\" cy=\"{y2}\" r=\"2\" fill=\"{colour}\"/>",
                    escape(&entry.text)
                );
            }
        }
    }
}

fn colour(kind: &str) -> &'static str {
    let found = COLOURS.iter().find(|colour| colour.0 == kind);
    found.map_or("#000000", |colour| colour.1)
}

/// A round step that gives some ten ticks.
fn step(span_us: f64) -> f64 {
    let rough = span_us / 10.0;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
