//! The tour to start from: short already, so that the search has little more to do than to prove that none is shorter.

use super::search::Distances;
use crate::numbers::seeded;

/// How often the first tour is cut and improved again, for each city: milliseconds that save minutes.
const KICKS_EACH: usize = 4;

fn by_distance(distances: &Distances, from: usize) -> Vec<u8> {
    let mut others: Vec<u8> = (0..distances.cities() as u8)
        .filter(|&city| usize::from(city) != from)
        .collect();
    others.sort_by_key(|&city| distances.between(from, city.into()));
    others
}

/// A good tour to start from: the nearest open city first, improved until no small change makes it
/// shorter; then the best is cut at three places and improved again, many times. A search that starts from
/// the shortest tour only has to prove it; one that starts from a longer one may lose itself first.
pub(super) fn good_tour(distances: &Distances) -> Vec<u8> {
    let cities = distances.cities();
    let mut best = improved(distances, nearest_first(distances, 0));
    // With fewer cities there are no four pieces to put together in another way.
    for kick in 0..if cities < 8 { 0 } else { KICKS_EACH * cities } {
        let mut cuts = [0, 1, 2].map(|nth| {
            1 + seeded::<i64>(cities as u64, 3 * kick + nth) as u64 as usize % (cities - 1)
        });
        cuts.sort_unstable();
        let (a, b, c, d) = (
            &best[..cuts[0]],
            &best[cuts[0]..cuts[1]],
            &best[cuts[1]..cuts[2]],
            &best[cuts[2]..],
        );
        let tour = improved(distances, [a, c, b, d].concat());
        if length(distances, &tour) < length(distances, &best) {
            best = tour;
        }
    }
    best
}

fn nearest_first(distances: &Distances, start: u8) -> Vec<u8> {
    let mut tour = vec![start];
    while tour.len() < distances.cities() {
        let last = usize::from(tour[tour.len() - 1]);
        let next = by_distance(distances, last)
            .into_iter()
            .find(|city| !tour.contains(city));
        tour.extend(next);
    }
    tour
}

/// Turns stretches of the tour round, and moves stretches of up to three cities elsewhere, as long as that
/// makes it shorter.
fn improved(distances: &Distances, mut tour: Vec<u8>) -> Vec<u8> {
    while turn(distances, &mut tour) || shift(distances, &mut tour) {}
    tour
}

/// Turns the first stretch round that makes the tour shorter so; says whether there was one.
fn turn(distances: &Distances, tour: &mut [u8]) -> bool {
    let cities = tour.len();
    let road = |a: u8, b: u8| distances.between(a.into(), b.into());
    for from in 1..cities - 1 {
        for to in from + 1..cities {
            let (before, after) = (tour[from - 1], tour[(to + 1) % cities]);
            let now = road(before, tour[from]) + road(tour[to], after);
            if road(before, tour[to]) + road(tour[from], after) < now {
                tour[from..=to].reverse();
                return true;
            }
        }
    }
    false
}

/// Moves the first short stretch elsewhere, turned round or not, that makes the tour shorter so; says
/// whether there was one. The first city stays where it is.
fn shift(distances: &Distances, tour: &mut Vec<u8>) -> bool {
    let cities = tour.len();
    let road = |a: u8, b: u8| distances.between(a.into(), b.into());
    for long in 1..=3.min(cities - 2) {
        for from in 1..=cities - long {
            let (before, first) = (tour[from - 1], tour[from]);
            let (last, after) = (tour[from + long - 1], tour[(from + long) % cities]);
            let without = road(before, first) + road(last, after);
            for to in (0..from - 1).chain(from + long..cities) {
                let (left, right) = (tour[to], tour[(to + 1) % cities]);
                let straight = road(left, first) + road(last, right);
                let turned = road(left, last) + road(first, right);
                if straight.min(turned) + road(before, after) < without + road(left, right) {
                    let mut stretch: Vec<u8> = tour.drain(from..from + long).collect();
                    if turned < straight {
                        stretch.reverse();
                    }
                    let to = if to < from { to + 1 } else { to + 1 - long };
                    tour.splice(to..to, stretch);
                    return true;
                }
            }
        }
    }
    false
}

pub(super) fn length(distances: &Distances, tour: &[u8]) -> u64 {
    let length = distances.tour_length(tour);
    length.expect("a tour made here visits each city once")
}
