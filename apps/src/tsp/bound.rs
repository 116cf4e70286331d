//! What the lower bound is made of: sets of cities, the shortest trees over them, and numbers on the cities that make
//! trees long. What is bounded is in [`search`](super::search).

use super::instance::MOST_CITIES;
use super::search::Distances;

/// Distances are cut into so many parts where the numbers put on the cities are added.
pub(super) const SCALE: i64 = 1024;
/// How often the numbers on the cities are improved; more helps little.
const ASCENTS: usize = 400;

/// A set of cities, a bit each.
pub(super) type Set = u128;

pub(super) fn all_but_home(cities: usize) -> Set {
    (Set::MAX >> (MOST_CITIES - cities)) & !1
}

pub(super) fn bit(city: usize) -> Set {
    1 << city
}

/// The positions of the set bits, ascending.
pub(super) fn ones(mut set: Set) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(lowest)
    })
}

/// The length of the shortest tree that connects the cities of `set` (Prim's).
pub(super) fn tree(roads: &[i64], cities: usize, set: Set) -> i64 {
    let mut length = 0;
    grow(roads, cities, set, |_, _, road| length += road);
    length
}

/// Grows the shortest tree over `set` from its lowest city; tells each road as it is added.
fn grow(roads: &[i64], cities: usize, set: Set, mut add: impl FnMut(usize, usize, i64)) {
    let mut open = [0_u8; MOST_CITIES];
    let mut near = [(i64::MAX, 0_u8); MOST_CITIES];
    let mut count = 0;
    for city in ones(set) {
        open[count] = city as u8;
        count += 1;
    }
    let Some(last) = count.checked_sub(1) else {
        return;
    };
    let mut joined = usize::from(open[0]);
    open.swap(0, last);
    for count in (1..=last).rev() {
        let row = &roads[joined * cities..][..cities];
        let (mut best, mut at) = (i64::MAX, 0);
        for (i, &city) in open[..count].iter().enumerate() {
            let city = usize::from(city);
            if row[city] < near[city].0 {
                near[city] = (row[city], joined as u8);
            }
            if near[city].0 < best {
                (best, at) = (near[city].0, i);
            }
        }
        joined = open[at].into();
        add(near[joined].1.into(), joined, best);
        open.swap(at, count - 1);
    }
}

/// Numbers for the cities that make the shortest 1-tree (a tree over all but city 0, and city 0 hung on by
/// its two shortest roads) long: raised where many roads meet, lowered where one ends.
pub(super) fn ascend(distances: &Distances, tour: u64) -> Vec<i64> {
    let cities = distances.cities();
    let others = all_but_home(cities);
    let plain: Vec<i64> = distances
        .rows()
        .iter()
        .map(|&road| SCALE * i64::from(road))
        .collect();
    let mut numbers = vec![0_i64; cities];
    let mut best = (i64::MIN, numbers.clone());
    let mut step = 0.1 * (SCALE as u64 * tour) as f64 / cities as f64;
    for _ in 0..ASCENTS {
        let with = |at: usize| plain[at] + numbers[at / cities] + numbers[at % cities];
        let roads: Vec<i64> = (0..cities * cities).map(with).collect();
        let mut degree = vec![0_i64; cities];
        let mut length = -2 * numbers.iter().sum::<i64>();
        grow(&roads, cities, others, |a, b, road| {
            degree[a] += 1;
            degree[b] += 1;
            length += road;
        });
        let mut home: Vec<(i64, usize)> = (1..cities).map(|city| (roads[city], city)).collect();
        home.sort_unstable();
        for &(road, city) in &home[..2] {
            degree[city] += 1;
            length += road;
        }
        if length > best.0 {
            best = (length, numbers.clone());
        }
        for (number, degree) in numbers.iter_mut().zip(&degree).skip(1) {
            *number += (step * (degree - 2) as f64) as i64;
        }
        step *= 0.98;
    }
    best.1
}
