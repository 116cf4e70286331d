//! Branch and bound on one drone: distances, the tour to start from, the lower bound, the search below a
//! prefix. It knows nothing of other drones: whoever calls it brings news of a better tour.
//!
//! The lower bound is Held and Karp's (1970): whatever number is put on each city and added to the roads
//! that meet there changes the length of every tour alike, but not that of a spanning tree. Good numbers
//! are sought once, by going up the gradient; then a node costs one spanning tree.

use super::instance::MOST_CITIES;
use crate::numbers::seeded;
use bytemuck::{Pod, Zeroable};

/// The distances between all cities: the same both ways.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distances {
    cities: usize,
    rows: Vec<u32>,
}

impl Distances {
    /// Distances row by row; `rows` has `cities` squared of them, and `cities` is 3 to [`MOST_CITIES`].
    pub fn new(cities: usize, rows: Vec<u32>) -> Distances {
        assert!((3..=MOST_CITIES).contains(&cities) && rows.len() == cities * cities);
        Distances { cities, rows }
    }

    /// How many cities there are.
    pub fn cities(&self) -> usize {
        self.cities
    }

    /// All distances, row by row.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The distance between two cities.
    pub fn between(&self, a: usize, b: usize) -> u64 {
        u64::from(self.rows[a * self.cities + b])
    }

    /// The length of a round trip; nothing where it doesn't visit each city once.
    pub fn tour_length(&self, tour: &[u8]) -> Option<u64> {
        let mut seen = 0_u64;
        for &city in tour {
            let known = usize::from(city) < self.cities;
            if !known || seen & bit(city.into()) != 0 {
                return None;
            }
            seen |= bit(city.into());
        }
        let closed = tour.iter().zip(tour.iter().cycle().skip(1));
        let length = closed
            .map(|(&a, &b)| self.between(a.into(), b.into()))
            .sum();
        (tour.len() == self.cities).then_some(length)
    }
}

/// The best tour known so far. It can lie in shared memory.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Best {
    /// Its length.
    pub length: u64,
    /// How many cities it has.
    pub cities: u64,
    /// The cities in their order, counted from 0; the rest is 0.
    pub tour: [u8; MOST_CITIES],
}

impl Best {
    fn new(length: u64, cities: &[u8]) -> Best {
        let mut tour = [0; MOST_CITIES];
        tour[..cities.len()].copy_from_slice(cities);
        Best {
            length,
            cities: cities.len() as u64,
            tour,
        }
    }

    /// The cities in their order, counted from 0.
    pub fn tour(&self) -> &[u8] {
        &self.tour[..self.cities as usize]
    }

    /// The cities in their order as people write them: counted from 1, and back to the first.
    pub fn in_words(&self) -> String {
        let back = self.tour().first();
        let cities = self
            .tour()
            .iter()
            .chain(back)
            .map(|city| (city + 1).to_string());
        cities.collect::<Vec<_>>().join(" ")
    }
}

/// The first cities of a tour. It can lie in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Prefix {
    depth: u8,
    cities: [u8; LONGEST_PREFIX],
}

impl Prefix {
    fn new(path: &[u8]) -> Prefix {
        let mut cities = [0; LONGEST_PREFIX];
        cities[..path.len()].copy_from_slice(path);
        Prefix {
            depth: path.len() as u8,
            cities,
        }
    }

    fn cities(&self) -> &[u8] {
        &self.cities[..self.depth.into()]
    }
}

/// The most cities of a prefix: far more than are ever needed to have a prefix for every core there is.
const LONGEST_PREFIX: usize = 15;
/// The search asks for news every so many nodes; a node costs about a microsecond.
const NEWS_EVERY: u64 = 256;
/// Distances are cut into so many parts where the numbers put on the cities are added.
const SCALE: i64 = 1024;
/// How often the numbers on the cities are improved; more helps little.
const ASCENTS: usize = 400;
/// How often the first tour is cut and improved again, for each city: milliseconds that save minutes.
const KICKS_EACH: usize = 4;

/// A search through all tours that may be shorter than the best one known.
pub struct Search<'a> {
    distances: &'a Distances,
    /// The roads with the numbers of their cities added, scaled.
    roads: Vec<i64>,
    numbers: Vec<i64>,
    /// Each city's neighbours, nearest first.
    nearest: Vec<Vec<u8>>,
    /// The best tour known.
    pub best: Best,
    /// How many nodes have been looked at.
    pub nodes: u64,
}

impl<'a> Search<'a> {
    /// A search that knows a good tour, and numbers for the cities that make the bound sharp. Every drone
    /// makes the same from the same distances.
    pub fn new(distances: &'a Distances) -> Search<'a> {
        let cities = distances.cities;
        let tour = good_tour(distances);
        let best = Best::new(length(distances, &tour), &tour);
        let numbers = ascend(distances, best.length);
        let roads = (0..cities * cities).map(|at| {
            SCALE * i64::from(distances.rows[at]) + numbers[at / cities] + numbers[at % cities]
        });
        let roads = roads.collect();
        let nearest = (0..cities)
            .map(|city| by_distance(distances, city))
            .collect();
        Search {
            distances,
            roads,
            numbers,
            nearest,
            best,
            nodes: 0,
        }
    }

    /// At least `wanted` prefixes that cover all tours which may be shorter than the best one, if there are
    /// that many; the most promising first.
    pub fn prefixes(&mut self, wanted: usize) -> Vec<Prefix> {
        let mut level = vec![(0, vec![0_u8])];
        let deepest = LONGEST_PREFIX.min(self.distances.cities - 1);
        while level.len() < wanted && level.first().is_some_and(|(_, path)| path.len() < deepest) {
            let mut longer = Vec::new();
            for (_, path) in &level {
                let node = Node::at(self.distances, path);
                for city in self.children(&node) {
                    let child = node.to(self.distances, city);
                    let bound = self.bound(&child);
                    if bound < self.best.length {
                        longer.push((bound, [path.as_slice(), &[city as u8]].concat()));
                    }
                }
            }
            level = longer;
        }
        level.sort();
        level.iter().map(|(_, path)| Prefix::new(path)).collect()
    }

    /// Searches all tours that begin with this prefix. Every few hundred nodes `news` may put a better tour
    /// into its argument, or take one out of it; an error of it ends the search.
    pub fn below<E>(
        &mut self,
        prefix: &Prefix,
        mut news: impl FnMut(&mut Best) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut path = prefix.cities().to_vec();
        let node = Node::at(self.distances, &path);
        if self.bound(&node) < self.best.length {
            self.descend(&node, &mut path, &mut news)?;
        }
        Ok(())
    }

    fn descend<E>(
        &mut self,
        node: &Node,
        path: &mut Vec<u8>,
        news: &mut impl FnMut(&mut Best) -> Result<(), E>,
    ) -> Result<(), E> {
        self.nodes += 1;
        if self.nodes.is_multiple_of(NEWS_EVERY) {
            news(&mut self.best)?;
        }
        if path.len() == self.distances.cities {
            let length = node.length + self.distances.between(node.last, 0);
            if length < self.best.length {
                self.best = Best::new(length, path);
            }
            return Ok(());
        }
        let mut children = Vec::with_capacity(self.distances.cities - path.len());
        for city in self.children(node) {
            let child = node.to(self.distances, city);
            children.push((self.bound(&child), child));
        }
        children.sort_by_key(|(bound, _)| *bound);
        for (bound, child) in &children {
            // Asked anew for each: a child before may have found a better tour.
            if *bound >= self.best.length {
                break;
            }
            path.push(child.last as u8);
            self.descend(child, path, news)?;
            path.pop();
        }
        Ok(())
    }

    /// The cities that may come next. Of a tour and its mirror image only the one that visits city 1 before
    /// city 2 is looked at.
    fn children(&self, node: &Node) -> impl Iterator<Item = usize> {
        let open = node.open;
        let near = self.nearest[node.last]
            .iter()
            .map(|&city| usize::from(city));
        near.filter(move |&city| open & bit(city) != 0 && !(city == 2 && open & bit(1) != 0))
    }

    /// A length that no tour through this node undercuts: the way so far, the shortest tree over the open
    /// cities, and the shortest roads from both ends of the way into it, all with the cities' numbers added
    /// and taken off again.
    fn bound(&self, node: &Node) -> u64 {
        if node.open == 0 {
            return node.length + self.distances.between(node.last, 0);
        }
        let cities = self.distances.cities;
        let (last, home) = (
            &self.roads[node.last * cities..][..cities],
            &self.roads[..cities],
        );
        let (mut from_last, mut from_home, mut numbers) = (i64::MAX, i64::MAX, 0);
        for city in ones(node.open) {
            from_last = from_last.min(last[city]);
            from_home = from_home.min(home[city]);
            numbers += 2 * self.numbers[city];
        }
        numbers += self.numbers[node.last] + self.numbers[0];
        let rest = tree(&self.roads, cities, node.open) + from_last + from_home - numbers;
        let rest = u64::try_from(rest).unwrap_or(0);
        node.length + rest.div_ceil(SCALE as u64)
    }
}

/// A place in the tree of all tours: where the way has come to and what is still open.
#[derive(Clone, Copy)]
struct Node {
    last: usize,
    length: u64,
    open: u64,
}

impl Node {
    fn at(distances: &Distances, path: &[u8]) -> Node {
        let open = (u64::MAX >> (64 - distances.cities)) & !1;
        let start = Node {
            last: 0,
            length: 0,
            open,
        };
        path.iter()
            .skip(1)
            .fold(start, |node, &city| node.to(distances, city.into()))
    }

    fn to(&self, distances: &Distances, city: usize) -> Node {
        let length = self.length + distances.between(self.last, city);
        Node {
            last: city,
            length,
            open: self.open & !bit(city),
        }
    }
}

fn bit(city: usize) -> u64 {
    1 << city
}

/// The positions of the set bits, ascending.
fn ones(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(lowest)
    })
}

/// The length of the shortest tree that connects the cities of `set` (Prim's).
fn tree(roads: &[i64], cities: usize, set: u64) -> i64 {
    let mut length = 0;
    grow(roads, cities, set, |_, _, road| length += road);
    length
}

/// Grows the shortest tree over `set` from its lowest city; tells each road as it is added.
fn grow(roads: &[i64], cities: usize, set: u64, mut add: impl FnMut(usize, usize, i64)) {
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
fn ascend(distances: &Distances, tour: u64) -> Vec<i64> {
    let cities = distances.cities;
    let all_but_home = (u64::MAX >> (64 - cities)) & !1;
    let plain: Vec<i64> = distances
        .rows
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
        grow(&roads, cities, all_but_home, |a, b, road| {
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

fn by_distance(distances: &Distances, from: usize) -> Vec<u8> {
    let mut others: Vec<u8> = (0..distances.cities as u8)
        .filter(|&city| usize::from(city) != from)
        .collect();
    others.sort_by_key(|&city| distances.between(from, city.into()));
    others
}

/// A good tour to start from: the nearest open city first, improved until no small change makes it
/// shorter; then the best is cut at three places and improved again, many times. A search that starts from
/// the shortest tour only has to prove it; one that starts from a longer one may lose itself first.
fn good_tour(distances: &Distances) -> Vec<u8> {
    let cities = distances.cities;
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
    while tour.len() < distances.cities {
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

fn length(distances: &Distances, tour: &[u8]) -> u64 {
    let length = distances.tour_length(tour);
    length.expect("a tour made here visits each city once")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsp::instance::Instance;

    /// The length of the shortest tour by Held and Karp's dynamic programming: another way to the answer.
    fn dynamic(distances: &Distances) -> u64 {
        let cities = distances.cities();
        let mut shortest = vec![u64::MAX; (1 << (cities - 1)) * cities];
        for city in 1..cities {
            shortest[(1 << (city - 1)) * cities + city] = distances.between(0, city);
        }
        for set in 1_usize..1 << (cities - 1) {
            for last in (1..cities).filter(|last| set & (1 << (last - 1)) != 0) {
                let length = shortest[set * cities + last];
                for next in (1..cities).filter(|next| set & (1 << (next - 1)) == 0) {
                    let longer = length + distances.between(last, next);
                    let place = &mut shortest[(set | 1 << (next - 1)) * cities + next];
                    *place = longer.min(*place);
                }
            }
        }
        let all = ((1 << (cities - 1)) - 1) * cities;
        (1..cities)
            .map(|last| shortest[all + last] + distances.between(last, 0))
            .min()
            .unwrap()
    }

    #[test]
    fn the_search_finds_what_dynamic_programming_finds() {
        for cities in 3..=12 {
            for seed in 0..12 {
                // Small squares have many ties, large ones few.
                let distances =
                    Instance::random(cities, seed, [10, 1000][seed as usize % 2]).distances;
                let best = crate::tsp::serial(&distances);
                assert_eq!(
                    best.length,
                    dynamic(&distances),
                    "{cities} cities, seed {seed}"
                );
                assert_eq!(distances.tour_length(best.tour()), Some(best.length));
            }
        }
    }

    #[test]
    fn the_shipped_instances_have_the_optimum_that_they_state() {
        for instance in [Instance::meadow(), Instance::capitals()] {
            assert_eq!(
                Some(dynamic(&instance.distances)),
                instance.optimum,
                "{}",
                instance.name
            );
            assert_eq!(
                Some(crate::tsp::serial(&instance.distances).length),
                instance.optimum
            );
        }
    }

    #[test]
    fn the_bound_never_exceeds_the_best_tour_through_a_node() {
        let distances = Instance::random(9, 3, 1000).distances;
        let search = Search::new(&distances);
        let root = Node::at(&distances, &[0]);
        assert!(search.bound(&root) <= dynamic(&distances));
        let tour = crate::tsp::serial(&distances);
        for depth in 1..=9 {
            let node = Node::at(&distances, &tour.tour()[..depth]);
            assert!(search.bound(&node) <= tour.length, "at depth {depth}");
        }
    }

    #[test]
    fn all_cities_in_one_place_make_a_tour_of_no_length() {
        let distances = Distances::new(5, vec![0; 25]);
        assert_eq!(crate::tsp::serial(&distances).length, 0);
    }

    #[test]
    fn the_first_tour_is_a_tour_and_nearly_the_shortest() {
        for seed in 0..20 {
            let distances = Instance::random(11, seed, 1000).distances;
            let tour = good_tour(&distances);
            assert_eq!(tour[0], 0);
            assert!(
                length(&distances, &tour) <= dynamic(&distances) * 21 / 20,
                "seed {seed}"
            );
        }
    }

    #[test]
    fn a_tour_is_written_from_one_and_back() {
        assert_eq!(Best::new(7, &[0, 2, 1]).in_words(), "1 3 2 1");
    }
}
