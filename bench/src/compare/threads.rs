//! The programs as one writes them for the threads of one process, on private memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use apps::{intsort, jacobi, matmul};
use rayon::prelude::*;

use super::Said;
use super::runs::{Intsort, Run, bits, distances, exact, fingerprint, heat, plate, said, unsorted};

/// Runs with the threads of the pool that this is called in.
pub(super) fn run(run: Run) -> Said {
    match run {
        Run::Pi { steps } => pi(steps),
        Run::Jacobi { size, sweeps } => jacobi(size, sweeps),
        Run::Matmul { size } => matmul(size),
        Run::Intsort(task) => intsort(task),
        Run::Quicksort { count } => quicksort(count),
        Run::Tsp { cities, seed } => tsp(cities, seed),
    }
}

fn pi(steps: u64) -> Said {
    const BLOCK: u64 = 1 << 20;
    const LANES: usize = 8;
    let width = 1.0 / steps as f64;
    let begin = Instant::now();
    let sum: f64 = (0..steps.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let (first, end) = (block * BLOCK, steps.min((block + 1) * BLOCK));
            let height = |step: u64| 4.0 / (1.0 + ((step as f64 + 0.5) * width).powi(2));
            let mut lanes = [0.0; LANES];
            let whole = first + (end - first) / LANES as u64 * LANES as u64;
            for step in (first..whole).step_by(LANES) {
                for (lane, sum) in lanes.iter_mut().enumerate() {
                    *sum += height(step + lane as u64);
                }
            }
            lanes.iter().sum::<f64>() + (whole..end).map(height).sum::<f64>()
        })
        .sum();
    said(sum * width, begin)
}

fn jacobi(size: usize, sweeps: u64) -> Said {
    // The same start as the shared version's: no sweep.
    let mut now = jacobi::serial(plate(size, 0)).points;
    let mut next = now.clone();
    let begin = Instant::now();
    for _ in 0..sweeps {
        let rows = next[size..size * (size - 1)].par_chunks_exact_mut(size);
        rows.enumerate().for_each(|(row, out)| {
            let at = (row + 1) * size;
            let (above, here, below) = (
                &now[at - size..at],
                &now[at..at + size],
                &now[at + size..at + 2 * size],
            );
            for i in 1..size - 1 {
                out[i] = 0.25 * ((above[i] + below[i]) + (here[i - 1] + here[i + 1]));
            }
        });
        std::mem::swap(&mut now, &mut next);
    }
    let seconds = begin.elapsed().as_secs_f64();
    Said {
        answer: heat(&now, size, 1..size - 1),
        seconds,
    }
}

fn matmul(size: usize) -> Said {
    let band = size.div_ceil(rayon::current_num_threads()).clamp(1, 16) * size;
    let (mut a, mut b) = (vec![0.0; size * size], vec![0.0; size * size]);
    matmul::fill(matmul::Factor::First, size, 0, &mut a);
    matmul::fill(matmul::Factor::Second, size, 0, &mut b);
    let mut c = vec![0.0; size * size];
    let begin = Instant::now();
    let bands = a.par_chunks(band).zip(c.par_chunks_mut(band));
    bands.for_each(|(a, c)| matmul::multiply(size, a, &b, c));
    let seconds = begin.elapsed().as_secs_f64();
    Said {
        answer: c.iter().sum(),
        seconds,
    }
}

fn intsort(run: Intsort) -> Said {
    let task = intsort::Task::from(run);
    let threads = rayon::current_num_threads();
    let mut keys = vec![0; task.count];
    intsort::make_keys(task, 0, &mut keys);
    let part = task.count.div_ceil(threads).max(1);
    let mut counts = vec![vec![0_u32; task.values]; threads];
    let mut ranks = vec![0_u32; task.values];
    let mut seen = 0;
    let begin = Instant::now();
    for round in 0..task.rounds {
        intsort::change_keys(task, round, 0, &mut keys);
        let parts = keys.par_chunks(part).zip(&mut counts);
        parts.for_each(|(keys, counts)| {
            counts.fill(0);
            intsort::count(keys, counts);
        });
        let mut before = 0;
        for (value, rank) in ranks.iter_mut().enumerate() {
            *rank = before;
            before += counts.iter().map(|counts| counts[value]).sum::<u32>();
        }
        let probed = intsort::probes(task).map(|value| u64::from(ranks[value]));
        seen += probed.sum::<u64>();
    }
    let mut sorted = vec![0_u32; task.count];
    let mut rest = sorted.as_mut_slice();
    let mut places = Vec::with_capacity(task.values);
    for value in 0..task.values {
        let end = ranks
            .get(value + 1)
            .map_or(task.count, |&rank| rank as usize);
        let (place, after) = rest.split_at_mut(end - ranks[value] as usize);
        places.push(place);
        rest = after;
    }
    let places = places.into_par_iter().enumerate();
    places.for_each(|(value, place)| place.fill(value as u32));
    let seconds = begin.elapsed().as_secs_f64();
    Said {
        answer: exact([seen, fingerprint(0, &sorted)]),
        seconds,
    }
}

fn quicksort(count: usize) -> Said {
    let mut numbers = unsorted(0..count);
    let begin = Instant::now();
    numbers.par_sort_unstable();
    let seconds = begin.elapsed().as_secs_f64();
    Said {
        answer: exact([fingerprint(0, &bits(&numbers))]),
        seconds,
    }
}

fn tsp(cities: usize, seed: u64) -> Said {
    const PREFIXES: usize = 256;
    const REFRESH: Duration = Duration::from_millis(2);
    let distances = distances(cities, seed);
    let begin = Instant::now();
    let mut first = apps::tsp::search::Search::new(&distances);
    let prefixes = first.prefixes(PREFIXES);
    let best = Mutex::new(first.best);
    let next = AtomicUsize::new(0);
    let meet = |own: &mut apps::tsp::search::Best| {
        let mut best = best.lock().expect("no thread has panicked");
        if own.length < best.length {
            *best = *own;
        } else {
            *own = *best;
        }
        Ok::<(), std::convert::Infallible>(())
    };
    rayon::broadcast(|_| {
        let mut search = apps::tsp::search::Search::new(&distances);
        while let Some(prefix) = prefixes.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Ok(()) = meet(&mut search.best);
            let mut last = Instant::now();
            let Ok(()) = search.below(prefix, |own| {
                if last.elapsed() < REFRESH {
                    return Ok(());
                }
                last = Instant::now();
                meet(own)
            });
            let Ok(()) = meet(&mut search.best);
        }
    });
    let length = best.lock().expect("no thread has panicked").length;
    said(length as f64, begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_give_the_serial_answer() {
        let close = pi(1_000_003).answer - apps::pi::serial(1_000_003);
        assert!(close.abs() < 1e-12);
        let swept = jacobi::serial(plate(67, 11));
        assert_eq!(jacobi(67, 11).answer, heat(&swept.points, 67, 1..66));
        let product: f64 = matmul::serial(67).elements.iter().sum();
        assert_eq!(matmul(67).answer, product);
        let task = Intsort {
            count: 10_007,
            values: 300,
            rounds: 4,
        };
        let sorted = intsort::serial(task.into());
        let expected = exact([sorted.ranks, fingerprint(0, &sorted.keys)]);
        assert_eq!(intsort(task).answer, expected);
        let mut numbers = unsorted(0..10_007);
        numbers.sort_unstable();
        let expected = exact([fingerprint(0, &bits(&numbers))]);
        assert_eq!(quicksort(10_007).answer, expected);
        let shortest = apps::tsp::serial(&distances(15, 1)).length;
        assert_eq!(tsp(15, 1).answer, shortest as f64);
    }
}
