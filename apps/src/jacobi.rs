//! Heat in a square plate by Jacobi's iteration: every inner point becomes the mean of its four neighbours,
//! sweep after sweep; the top edge is hot, the other edges are cold. Each drone sweeps a band of rows and
//! reads its neighbours' nearest rows. The arithmetic of a row is one function for the serial and the
//! shared version, so their plates are equal bit for bit. The picture is painted by [`crate::picture`].

use crate::picture;
use crate::program::{self, Comparison, Console, Failure, parse_count};
use crate::progress::Progress;
use clap::Parser;
use hivemind::{Hive, Shared};
use rayon::prelude::*;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Heat in a square plate by Jacobi's iteration, on shared memory.
#[derive(Parser, Debug)]
#[command(name = "jacobi", version)]
pub struct Arguments {
    /// Points along a side of the plate, at least 3
    #[arg(long, default_value = "1024", value_parser = parse_size)]
    pub size: usize,
    /// How many sweeps over the plate, at most
    #[arg(long, alias = "sweeps", default_value = "1000", value_parser = parse_count)]
    pub steps: u64,
    /// Stop as soon as no point changes by more than this in a sweep (looked at every 16 sweeps), in degrees
    #[arg(long, value_parser = parse_tolerance, allow_negative_numbers = true)]
    pub tolerance: Option<f64>,
    /// Write a picture of the final plate to this file
    #[arg(long, value_name = "FILE")]
    pub png: Option<PathBuf>,
    /// Also run the serial version and say whether the plates agree to the last bit
    #[arg(long)]
    pub check: bool,
}

/// What is to be computed.
#[derive(Clone, Copy, Debug)]
pub struct Plate {
    /// Points along a side, the edges among them; at least 3.
    pub size: usize,
    /// The most sweeps to do.
    pub steps: u64,
    /// Stop when no point changes by more than this in a sweep that is looked at, in degrees.
    pub tolerance: Option<f64>,
}

/// A plate when its sweeps are done: its points row by row in `points`.
pub struct Swept<P> {
    /// The temperatures in degrees.
    pub points: P,
    /// The sweeps that were done.
    pub sweeps: u64,
    /// How long the sweeps took.
    pub time: Duration,
}

/// Does what the command line says; collective.
pub fn run(arguments: &Arguments, hive: &mut Hive, console: &Console) -> Result<(), Failure> {
    let plate = Plate {
        size: arguments.size,
        steps: arguments.steps,
        tolerance: arguments.tolerance,
    };
    if let Some(path) = &arguments.png {
        program::first(hive, |_| open(path).map(drop))?;
    }
    let workers = program::workers(hive)?;
    let swept = shared(
        hive,
        plate,
        &workers,
        &console.progress("sweep", plate.steps),
    )?;
    let mean = mean(hive, plate.size, &swept.points)?;
    let centre = swept.points.view(hive)[plate.size / 2 * plate.size + plate.size / 2];
    console.answer(format_args!(
        "{0} x {0} plate after {1} sweeps: mean {mean:.9}, centre {centre:.9} degrees",
        plate.size, swept.sweeps
    ));
    if let Some(path) = &arguments.png {
        paint(hive, plate.size, &swept.points, path)?;
        console.answer(format_args!("picture in {}", path.display()));
    }
    program::conclude(hive, console, swept.time, arguments.check, |hive| {
        let expected = serial(plate);
        let difference = difference(plate.size, swept.points.view(hive), swept.sweeps, &expected);
        Comparison {
            serial: expected.time,
            difference,
        }
    })
}

/// The plate, swept on one core of one machine.
pub fn serial(plate: Plate) -> Swept<Vec<f64>> {
    let Plate {
        size,
        steps,
        tolerance,
    } = plate;
    let mut now = vec![0.0; size * size];
    warm(size, &(0..size), &mut now);
    let mut next = now.clone();
    let rows = 1..size - 1;
    let start = Instant::now();
    let mut sweeps = 0;
    while sweeps < steps {
        for row in rows.clone() {
            relax(&now, size, row, &mut next[row * size..][..size]);
        }
        std::mem::swap(&mut now, &mut next);
        sweeps += 1;
        if is_looked_at(sweeps, tolerance)
            && tolerance >= Some(largest_change(&now, &next, size, &rows))
        {
            break;
        }
    }
    Swept {
        points: now,
        sweeps,
        time: start.elapsed(),
    }
}

/// The plate, swept by all drones, a band of rows each.
pub fn shared(
    hive: &mut Hive,
    plate: Plate,
    workers: &rayon::ThreadPool,
    progress: &Progress,
) -> hivemind::Result<Swept<Shared<f64>>> {
    let Plate {
        size,
        steps,
        tolerance,
    } = plate;
    let mut now = hive.alloc::<f64>(size * size)?;
    let mut next = hive.alloc::<f64>(size * size)?;
    let rows = hive.share_of(1..size - 1);
    let with_edges = band_with_edges(hive, size);
    warm(size, &with_edges, now.view_mut(hive));
    warm(size, &with_edges, next.view_mut(hive));
    hive.barrier()?;
    let start = Instant::now();
    let mut sweeps = 0;
    while sweeps < steps {
        sweep_edges(now.view(hive), size, &rows, next.view_mut(hive));
        let between = hive.arrive()?;
        let inner = inner(&rows);
        sweep_inner(
            now.view(&between),
            size,
            &inner,
            next.view_mut(&between),
            workers,
        );
        between.depart()?;
        std::mem::swap(&mut now, &mut next);
        sweeps += 1;
        progress.at(sweeps);
        if is_looked_at(sweeps, tolerance) {
            let change = largest_change(now.view(hive), next.view(hive), size, &rows);
            if tolerance >= Some(hive.max(change)?) {
                break;
            }
        }
    }
    let time = start.elapsed();
    hive.free(next)?;
    Ok(Swept {
        points: now,
        sweeps,
        time,
    })
}

/// The temperature of the top edge in degrees; the others have 0.
const HOT: f64 = 100.0;
/// A look at the changes costs about half a sweep, and a meeting of all drones: so only every so often.
const LOOK_EVERY: u64 = 16;
/// More points along a side than the addresses of any machine reach.
const MOST_POINTS: u64 = 1 << 22;

/// Sets these rows to where the sweeps start from: the heat falls evenly from the hot top edge to the bottom,
/// and the sides are cold.
fn warm(size: usize, rows: &Range<usize>, plate: &mut [f64]) {
    for row in rows.clone() {
        let heat = HOT * (size - 1 - row) as f64 / (size - 1) as f64;
        let points = &mut plate[row * size..][..size];
        points.fill(heat);
        if row > 0 {
            points[0] = 0.0;
            points[size - 1] = 0.0;
        }
    }
}

/// The rows of a band that no neighbour reads, and that are swept of the band alone.
fn inner(rows: &Range<usize>) -> Range<usize> {
    rows.start + 1..rows.end.max(rows.start + 2) - 1
}

/// Sweeps the first and the last row of the band `rows` of the plate `now` into `next`: what the neighbours wait for. They go out
/// while the others are swept.
fn sweep_edges(now: &[f64], size: usize, rows: &Range<usize>, next: &mut [f64]) {
    let inner = inner(rows);
    let edges = [inner.start - 1, inner.end];
    for row in edges.into_iter().filter(|row| rows.contains(row)) {
        relax(now, size, row, &mut next[row * size..][..size]);
    }
}

/// Sweeps rows in any order, with all threads of this drone.
fn sweep_inner(
    now: &[f64],
    size: usize,
    rows: &Range<usize>,
    next: &mut [f64],
    workers: &rayon::ThreadPool,
) {
    let band = &mut next[rows.start * size..rows.end * size];
    if workers.current_num_threads() == 1 {
        let rows = rows.clone().zip(band.chunks_exact_mut(size));
        return rows.for_each(|(row, out)| relax(now, size, row, out));
    }
    workers.install(|| {
        let rows = rows
            .clone()
            .into_par_iter()
            .zip(band.par_chunks_exact_mut(size));
        rows.for_each(|(row, out)| relax(now, size, row, out));
    });
}

/// One row of a sweep: each inner point of `out` becomes the mean of its four neighbours.
fn relax(now: &[f64], size: usize, row: usize, out: &mut [f64]) {
    let inner = size - 2;
    let above = &now[(row - 1) * size + 1..][..inner];
    let left = &now[row * size..][..inner];
    let right = &now[row * size + 2..][..inner];
    let below = &now[(row + 1) * size + 1..][..inner];
    let out = &mut out[1..][..inner];
    for i in 0..inner {
        out[i] = 0.25 * ((above[i] + below[i]) + (left[i] + right[i]));
    }
}

fn is_looked_at(sweeps: u64, tolerance: Option<f64>) -> bool {
    tolerance.is_some() && sweeps.is_multiple_of(LOOK_EVERY)
}

/// The largest change of a point in these rows; 0 without rows. No order of looking changes a maximum.
fn largest_change(now: &[f64], before: &[f64], size: usize, rows: &Range<usize>) -> f64 {
    let band = rows.start * size..rows.end * size;
    let changes = now[band.clone()]
        .iter()
        .zip(&before[band])
        .map(|(now, before)| (now - before).abs());
    changes.fold(
        0.0,
        |largest, change| if change > largest { change } else { largest },
    )
}

/// The mean temperature: each drone sums its own rows, and the sums are added in the order of the drones.
fn mean(hive: &mut Hive, size: usize, points: &Shared<f64>) -> hivemind::Result<f64> {
    let rows = band_with_edges(hive, size);
    let part: f64 = points.view(hive)[rows.start * size..rows.end * size]
        .iter()
        .sum();
    Ok(hive.sum(part)? / (size * size) as f64)
}

/// The rows that this drone swept, and the edge of the plate with the first and the last row.
fn band_with_edges(hive: &Hive, size: usize) -> Range<usize> {
    let rows = hive.share_of(1..size - 1);
    if rows.is_empty() {
        return 0..0;
    }
    let start = if rows.start == 1 { 0 } else { rows.start };
    let end = if rows.end == size - 1 { size } else { rows.end };
    start..end
}

/// Paints the plate: each drone the pixels over its own part, drone 0 writes the file. Collective.
fn paint(hive: &mut Hive, size: usize, points: &Shared<f64>, path: &Path) -> Result<(), Failure> {
    let side = picture::side(size);
    let mut pixels = hive.alloc::<f64>(side * side)?;
    for row in hive.share_of(0..side) {
        let pixels = &mut pixels.view_mut(hive)[row * side..][..side];
        picture::pixel_row(points.view(hive), size, row, pixels);
    }
    hive.barrier()?;
    program::first(hive, |hive| {
        let mut file = BufWriter::new(open(path)?);
        let written = file.get_mut().set_len(0);
        let written =
            written.and_then(|()| picture::write_png(&mut file, pixels.view(hive), side, HOT));
        written
            .and_then(|()| file.flush())
            .map_err(|error| unwritable(path, &error))
    })?;
    hive.free(pixels)?;
    Ok(())
}

/// Opens the picture's file and leaves what is in it: it is cut when the new picture is there.
fn open(path: &Path) -> Result<File, Failure> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    file.map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Refused(format!(
        "can't write the picture to {}: {error}",
        path.display()
    ))
}

fn difference(
    size: usize,
    points: &[f64],
    sweeps: u64,
    expected: &Swept<Vec<f64>>,
) -> Option<String> {
    if sweeps != expected.sweeps {
        return Some(format!(
            "shared ended after {sweeps} sweeps, serial after {}",
            expected.sweeps
        ));
    }
    let differs = |(shared, serial): (&f64, &f64)| shared.to_bits() != serial.to_bits();
    let count = points
        .iter()
        .zip(&expected.points)
        .filter(|&pair| differs(pair))
        .count();
    let at = points.iter().zip(&expected.points).position(differs)?;
    Some(format!(
        "{count} of {} points, the first in row {}, column {}: shared {:?}, serial {:?}",
        points.len(),
        at / size,
        at % size,
        points[at],
        expected.points[at]
    ))
}

fn parse_size(text: &str) -> Result<usize, String> {
    match parse_count(text)? {
        size if size < 3 => {
            Err("a plate has at least 3 points a side: two edges and one between".to_owned())
        }
        size if size > MOST_POINTS => Err(format!("at most {MOST_POINTS} points a side")),
        size => usize::try_from(size).map_err(|error| error.to_string()),
    }
}

fn parse_tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(tolerance) if tolerance >= 0.0 && tolerance.is_finite() => Ok(tolerance),
        _ => Err(format!(
            "'{text}' is no tolerance; write degrees like 0.001"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plate(size: usize, steps: u64, tolerance: Option<f64>) -> Swept<Vec<f64>> {
        serial(Plate {
            size,
            steps,
            tolerance,
        })
    }

    #[test]
    fn the_smallest_plate_has_one_point_that_is_a_mean() {
        let swept = plate(3, 1, None);
        assert_eq!(
            swept.points,
            [100.0, 100.0, 100.0, 0.0, 25.0, 0.0, 0.0, 0.0, 0.0]
        );
    }

    #[test]
    fn no_sweeps_leave_the_plate_as_it_is() {
        let swept = plate(5, 0, None);
        assert_eq!(swept.sweeps, 0);
        assert_eq!(swept.points[..5], [100.0; 5]);
        assert_eq!(swept.points[5..10], [0.0, 75.0, 75.0, 75.0, 0.0]);
        assert_eq!(swept.points[20..], [0.0; 5]);
    }

    #[test]
    fn the_centre_of_a_settled_plate_has_a_quarter_of_the_heat() {
        // Four plates with another edge hot each add up to one that is hot everywhere.
        let swept = plate(21, 100_000, Some(1e-12));
        assert!(
            swept.sweeps < 100_000 && swept.sweeps.is_multiple_of(LOOK_EVERY),
            "{}",
            swept.sweeps
        );
        assert!((swept.points[10 * 21 + 10] - 25.0).abs() < 1e-9);
    }

    #[test]
    fn a_plate_stays_between_its_edges_and_its_mirror_image() {
        let size = 10;
        let swept = plate(size, 50, None);
        for (at, &point) in swept.points.iter().enumerate() {
            assert!((0.0..=HOT).contains(&point));
            let mirrored = swept.points[at / size * size + size - 1 - at % size];
            assert!((point - mirrored).abs() < 1e-12);
        }
    }

    #[test]
    fn a_difference_names_the_first_point() {
        let expected = plate(4, 3, None);
        let mut points = expected.points.clone();
        assert_eq!(difference(4, &points, 3, &expected), None);
        points[6] = -0.0;
        let told = difference(4, &points, 3, &expected).unwrap();
        assert!(
            told.contains("1 of 16 points") && told.contains("row 1, column 2"),
            "{told}"
        );
        assert!(
            difference(4, &points, 2, &expected)
                .unwrap()
                .contains("after 2 sweeps")
        );
    }
}
