//! Branch and bound on one drone: distances, the lower bound of a node, the search below a prefix. It knows nothing of
//! other drones: whoever calls it brings news of a better tour. The tour to start from is in `first`, the trees of the bound
//! in `bound`.
//!
//! The lower bound is Held and Karp's (1970): whatever number is put on each city and added to the roads
//! that meet there changes the length of every tour alike, but not that of a spanning tree. Good numbers
//! are sought once, by going up the gradient; then a node costs one spanning tree.

use super::bound::{SCALE, Set, all_but_home, ascend, bit, ones, tree};
use super::first::{good_tour, length};
use super::instance::MOST_CITIES;
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
        let mut seen: Set = 0;
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

/// The room for the cities of a prefix.
const LONGEST_PREFIX: usize = 15;
/// Prefixes are made by one drone while the others wait: so no longer ones are made, however few there are.
const DEEPEST_PREFIX: usize = 5;
/// The search asks for news every so many nodes; a node costs about a microsecond.
const NEWS_EVERY: u64 = 256;

/// A search through all tours that may be shorter than the best one known.
pub struct Search<'a> {
    distances: &'a Distances,
    /// The roads with the numbers of their cities added, scaled.
    roads: Vec<i64>,
    numbers: Vec<i64>,
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
        Search {
            distances,
            roads,
            numbers,
            best,
            nodes: 0,
        }
    }

    /// Prefixes that cover all tours which may be shorter than the best one, the most promising first: at
    /// least `wanted`, or those of `DEEPEST_PREFIX` cities.
    pub fn prefixes(&mut self, wanted: usize) -> Vec<Prefix> {
        let root = self.root();
        let mut level = vec![(root.bound, vec![0_u8], root)];
        let deepest = DEEPEST_PREFIX.min(self.distances.cities - 1);
        let mut depth = 1;
        while level.len() < wanted && depth < deepest {
            let longer = level.iter().flat_map(|(_, path, node)| {
                let children = self.children(node).into_iter();
                children.map(|child| {
                    (
                        child.bound,
                        [path.as_slice(), &[child.last as u8]].concat(),
                        child,
                    )
                })
            });
            level = longer.collect();
            depth += 1;
        }
        level.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        level.iter().map(|(_, path, _)| Prefix::new(path)).collect()
    }

    /// Searches all tours that begin with this prefix. Every few hundred nodes `news` may put a better tour
    /// into its argument, or take one out of it; an error of it ends the search.
    pub fn below<E>(
        &mut self,
        prefix: &Prefix,
        mut news: impl FnMut(&mut Best) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut path = prefix.cities().to_vec();
        let node = self.at(&path);
        if node.bound < self.best.length {
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
        if node.open == 0 {
            if node.bound < self.best.length {
                self.best = Best::new(node.bound, path);
            }
            return Ok(());
        }
        for child in self.children(node) {
            // Asked anew for each: a child before may have found a better tour.
            if child.bound >= self.best.length {
                break;
            }
            path.push(child.last as u8);
            self.descend(&child, path, news)?;
            path.pop();
        }
        Ok(())
    }

    fn root(&self) -> Node {
        self.node(0, 0, all_but_home(self.distances.cities))
    }

    /// The node that a path from city 0 leads to.
    fn at(&self, path: &[u8]) -> Node {
        path.iter()
            .skip(1)
            .fold(self.root(), |node, &city| self.step(&node, city.into()))
    }

    fn step(&self, from: &Node, city: usize) -> Node {
        let length = from.length + self.distances.between(from.last, city);
        self.node(city, length, from.open & !bit(city))
    }

    /// The nodes after this one through which a tour shorter than the best may lead, the most promising
    /// first. Of a tour and its mirror image only the one that visits city 1 before city 2 is looked at.
    fn children(&self, node: &Node) -> Vec<Node> {
        let roads = &self.roads[node.last * self.distances.cities..][..self.distances.cities];
        let turns_back = |city: usize| city == 2 && node.open & bit(1) != 0;
        // A bound that costs no tree of its own spares most of them.
        let may_be_short =
            |city: &usize| node.bound_by(node.trunk + roads[*city]) < self.best.length;
        let cities = ones(node.open)
            .filter(|&city| !turns_back(city))
            .filter(may_be_short);
        let mut children: Vec<Node> = cities.map(|city| self.step(node, city)).collect();
        children.retain(|child| child.bound < self.best.length);
        children.sort_by_key(|child| child.bound);
        children
    }

    /// A node with its bound: the way so far, the shortest tree over the open cities, and the shortest roads
    /// from both ends of the way into it, all with the cities' numbers added and taken off again.
    fn node(&self, last: usize, length: u64, open: Set) -> Node {
        let mut node = Node {
            last,
            length,
            open,
            trunk: 0,
            bound: 0,
        };
        if open == 0 {
            node.bound = length + self.distances.between(last, 0);
            return node;
        }
        let cities = self.distances.cities;
        let (roads, home) = (
            &self.roads[last * cities..][..cities],
            &self.roads[..cities],
        );
        let (mut from_last, mut from_home) = (i64::MAX, i64::MAX);
        let mut numbers = self.numbers[last] + self.numbers[0];
        for city in ones(open) {
            from_last = from_last.min(roads[city]);
            from_home = from_home.min(home[city]);
            numbers += 2 * self.numbers[city];
        }
        node.trunk = tree(&self.roads, cities, open) + from_home - numbers;
        node.bound = node.bound_by(node.trunk + from_last);
        node
    }
}

/// A place in the tree of all tours: where the way has come to and what is still open.
#[derive(Clone, Copy)]
struct Node {
    last: usize,
    length: u64,
    open: Set,
    /// What a tour costs at least after the next city, scaled, with the cities' numbers.
    trunk: i64,
    /// No tour through this node is shorter.
    bound: u64,
}

impl Node {
    fn bound_by(&self, rest: i64) -> u64 {
        self.length + u64::try_from(rest).unwrap_or(0).div_ceil(SCALE as u64)
    }
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
        assert!(search.root().bound <= dynamic(&distances));
        let tour = crate::tsp::serial(&distances);
        for depth in 1..=9 {
            let node = search.at(&tour.tour()[..depth]);
            assert!(node.bound <= tour.length, "at depth {depth}");
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
