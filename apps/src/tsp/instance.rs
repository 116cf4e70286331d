//! Reads TSPLIB files with EUC_2D or GEO coordinates, and makes random instances. Distances are rounded as
//! TSPLIB says, so lengths can be compared with published ones. What else TSPLIB knows (explicit weights,
//! other metrics, other problems) is refused by name. How tours are found is in [`super::search`].

use super::search::Distances;
use std::path::Path;

/// The most cities: a set of them is a bit each in a word of the machine, or two.
pub const MOST_CITIES: usize = 128;

/// Cities and the distances between them.
#[derive(Debug)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// The distances between its cities.
    pub distances: Distances,
    /// The length of the shortest tour, where a comment states it as `optimum N`.
    pub optimum: Option<u64>,
}

impl Instance {
    /// The instance with plane coordinates that ships with the program.
    pub fn meadow() -> Instance {
        shipped(include_str!("../../instances/meadow14.tsp"))
    }

    /// The instance with geographic coordinates that ships with the program.
    pub fn capitals() -> Instance {
        shipped(include_str!("../../instances/capitals14.tsp"))
    }

    /// Reads a file. The error names the file and the line.
    pub fn read(path: &Path) -> Result<Instance, String> {
        let bytes = std::fs::read(path)
            .map_err(|error| format!("can't read {}: {error}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        Instance::parse(&text).map_err(|(line, what)| format!("{}:{line}: {what}", path.display()))
    }

    /// Cities on a square with sides of length `square`, the same for the same seed.
    pub fn random(cities: usize, seed: u64, square: u64) -> Instance {
        let coordinate =
            |nth| (crate::numbers::seeded::<i64>(seed, nth) as u64 % (square + 1)) as f64;
        let places: Vec<_> = (0..cities)
            .map(|city| (coordinate(2 * city), coordinate(2 * city + 1)))
            .collect();
        let name = format!("random {cities} (seed {seed})");
        Instance {
            name,
            distances: Metric::Plane.distances(&places),
            optimum: None,
        }
    }

    /// Reads the text of a file; an error is a line, counted from 1, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Instance, (usize, String)> {
        let mut header = Header::default();
        let mut places: Vec<Option<(f64, f64)>> = Vec::new();
        let mut in_section = false;
        let mut last = 0;
        for (number, line) in text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line.trim()))
        {
            last = number;
            let fault = |what: String| (number, what);
            match line {
                "" => {}
                "EOF" => break,
                "NODE_COORD_SECTION" if in_section => {
                    return Err(fault("a second NODE_COORD_SECTION".to_owned()));
                }
                "NODE_COORD_SECTION" => {
                    places = vec![None; header.complete().map_err(fault)?];
                    in_section = true;
                }
                _ if in_section => header.metric.place(line, &mut places).map_err(fault)?,
                _ => header.take(line).map_err(fault)?,
            }
        }
        if !in_section {
            return Err((
                last.max(1),
                "the file ends before its NODE_COORD_SECTION".to_owned(),
            ));
        }
        let missing = places.iter().position(Option::is_none);
        if let Some(missing) = missing {
            let what = format!(
                "the file ends without city {} of {}",
                missing + 1,
                places.len()
            );
            return Err((last, what));
        }
        let places: Vec<_> = places.into_iter().flatten().collect();
        let distances = header.metric.distances(&places);
        Ok(Instance {
            name: header.name,
            distances,
            optimum: header.optimum,
        })
    }
}

/// What stands in a file before its coordinates.
struct Header {
    name: String,
    dimension: Option<usize>,
    metric: Metric,
    has_metric: bool,
    optimum: Option<u64>,
}

impl Default for Header {
    fn default() -> Header {
        let name = "unnamed".to_owned();
        Header {
            name,
            dimension: None,
            metric: Metric::Plane,
            has_metric: false,
            optimum: None,
        }
    }
}

impl Header {
    /// Takes in one line like `DIMENSION : 14`.
    fn take(&mut self, line: &str) -> Result<(), String> {
        let Some((keyword, value)) = line.split_once(':') else {
            return Err(match line.ends_with("_SECTION") {
                true => format!("{} is not supported, only NODE_COORD_SECTION", shown(line)),
                false => format!("'{}' is no TSPLIB line like 'DIMENSION : 14'", shown(line)),
            });
        };
        let value = value.trim();
        match keyword.trim() {
            "NAME" => self.name = shown(value),
            "TYPE" if value == "TSP" => {}
            "TYPE" => return Err(format!("TYPE {} is not supported, only TSP", shown(value))),
            "COMMENT" => self.optimum = self.optimum.or_else(|| stated_optimum(value)),
            "DIMENSION" => self.dimension = Some(dimension(value)?),
            "EDGE_WEIGHT_TYPE" => {
                self.metric = Metric::named(value)?;
                self.has_metric = true;
            }
            "NODE_COORD_TYPE" if value == "TWOD_COORDS" => {}
            "DISPLAY_DATA_TYPE" | "EDGE_WEIGHT_FORMAT" => {}
            other => return Err(format!("the keyword '{}' is not supported", shown(other))),
        }
        Ok(())
    }

    /// The number of cities, once all is known that coordinates need.
    fn complete(&self) -> Result<usize, String> {
        let dimension = self
            .dimension
            .ok_or("NODE_COORD_SECTION before DIMENSION")?;
        if !self.has_metric {
            return Err("NODE_COORD_SECTION before EDGE_WEIGHT_TYPE".to_owned());
        }
        Ok(dimension)
    }
}

/// What coordinates mean and how far they are apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Metric {
    /// EUC_2D
    Plane,
    /// GEO
    Earth,
}

impl Metric {
    fn named(name: &str) -> Result<Metric, String> {
        match name {
            "EUC_2D" => Ok(Metric::Plane),
            "GEO" => Ok(Metric::Earth),
            other => Err(format!(
                "EDGE_WEIGHT_TYPE {} is not supported, only EUC_2D and GEO",
                shown(other)
            )),
        }
    }

    /// Takes in one line like `3 41.5 17`.
    fn place(self, line: &str, places: &mut [Option<(f64, f64)>]) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [city, x, y] = words[..] else {
            return Err(format!(
                "'{}' is no city like '3 41.5 17': number, two coordinates",
                shown(line)
            ));
        };
        let count = places.len();
        let known = city
            .parse::<usize>()
            .ok()
            .filter(|city| (1..=count).contains(city));
        let city =
            known.ok_or_else(|| format!("'{}' is no city from 1 to {count}", shown(city)))?;
        let place = (self.coordinate(x, 90.0)?, self.coordinate(y, 180.0)?);
        match places[city - 1].replace(place) {
            None => Ok(()),
            Some(_) => Err(format!("city {city} a second time")),
        }
    }

    fn coordinate(self, text: &str, most: f64) -> Result<f64, String> {
        /// Differences of such coordinates still are exact to a fraction, and distances fit into 32 bits.
        const FARTHEST: f64 = 1e9;
        let most = if self == Metric::Earth {
            most
        } else {
            FARTHEST
        };
        match text.parse::<f64>() {
            Ok(coordinate) if coordinate.abs() <= most => Ok(coordinate),
            Ok(coordinate) if coordinate.is_finite() => {
                Err(format!("the coordinate {} is beyond {most}", shown(text)))
            }
            _ => Err(format!("'{}' is no coordinate", shown(text))),
        }
    }

    fn distances(self, places: &[(f64, f64)]) -> Distances {
        let cities = places.len();
        let between = |at: usize| {
            let (a, b) = (places[at / cities], places[at % cities]);
            match self {
                _ if at / cities == at % cities => 0,
                Metric::Plane => (a.0 - b.0).hypot(a.1 - b.1).round() as u32,
                Metric::Earth => on_earth(a, b),
            }
        };
        Distances::new(cities, (0..cities * cities).map(between).collect())
    }
}

/// TSPLIB's distance in kilometres between two places given as degrees and minutes (DDD.MM), with the
/// radius and the five digits of pi that it prescribes. Degrees are cut, not rounded, as in its published
/// optima.
fn on_earth(a: (f64, f64), b: (f64, f64)) -> u32 {
    #[expect(
        clippy::approx_constant,
        reason = "with more digits the distances are no longer those of TSPLIB"
    )]
    const PI: f64 = 3.141592;
    const RADIUS_KM: f64 = 6378.388;
    let radians = |place: f64| {
        let degrees = place.trunc();
        PI * (degrees + 5.0 * (place - degrees) / 3.0) / 180.0
    };
    let (latitude, other_latitude) = (radians(a.0), radians(b.0));
    let q1 = (radians(a.1) - radians(b.1)).cos();
    let q2 = (latitude - other_latitude).cos();
    let q3 = (latitude + other_latitude).cos();
    // Rounding may take the cosine of no angle at all past 1.
    let cosine = (0.5 * ((1.0 + q1) * q2 - (1.0 - q1) * q3)).clamp(-1.0, 1.0);
    (RADIUS_KM * cosine.acos() + 1.0) as u32
}

fn dimension(value: &str) -> Result<usize, String> {
    match value.parse::<usize>() {
        Ok(cities) if (3..=MOST_CITIES).contains(&cities) => Ok(cities),
        Ok(cities) => Err(format!(
            "{cities} cities: this program takes 3 to {MOST_CITIES}"
        )),
        Err(_) => Err(format!("'{}' is no number of cities", shown(value))),
    }
}

fn stated_optimum(comment: &str) -> Option<u64> {
    let mut words = comment.split_whitespace();
    words.find(|word| *word == "optimum")?;
    words.next()?.parse().ok()
}

/// What a file holds, fit for one line of an error.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    text.chars()
        .take(MOST)
        .flat_map(char::escape_debug)
        .collect()
}

fn shipped(text: &str) -> Instance {
    Instance::parse(text).expect("the shipped instances are read by a test")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(metric: &str, cities: &[&str]) -> String {
        let head = format!(
            "NAME: t\nTYPE : TSP\nDIMENSION: {}\nEDGE_WEIGHT_TYPE : {metric}\n",
            cities.len()
        );
        format!("{head}NODE_COORD_SECTION\n{}\nEOF\n", cities.join("\n"))
    }

    #[track_caller]
    fn check_refused(text: &str, line: usize, what: &str) {
        let (at, told) = Instance::parse(text).unwrap_err();
        assert_eq!(at, line, "{told}");
        assert!(told.contains(what), "{told}");
    }

    #[test]
    fn plane_distances_are_rounded_to_the_nearest() {
        let text = file("EUC_2D", &["1 0 0", "3 3.0 4.0", "2 1e0 1"]);
        let instance = Instance::parse(&text).unwrap();
        assert_eq!(instance.name, "t");
        assert_eq!(instance.distances.rows(), [0, 1, 5, 1, 0, 4, 5, 4, 0]);
    }

    #[test]
    fn a_quarter_of_the_equator_is_as_long_as_the_radius_says() {
        let text = file("GEO", &["1 0.0 0.0", "2 0.0 90.0", "3 0.30 0.0"]);
        let distances = Instance::parse(&text).unwrap().distances;
        let quarter = 10_019.146_f64; // 6378.388 km times half of 3.141592
        assert_eq!(distances.between(0, 1), quarter as u64 + 1);
        // Thirty minutes are half a degree.
        assert_eq!(distances.between(0, 2), (quarter / 180.0) as u64 + 1);
    }

    #[test]
    fn two_cities_in_one_place_are_one_kilometre_apart_as_tsplib_has_it() {
        let text = file("GEO", &["1 52.31 13.24", "2 52.31 13.24", "3 48.51 2.21"]);
        let distances = Instance::parse(&text).unwrap().distances;
        assert_eq!((distances.between(0, 1), distances.between(0, 0)), (1, 0));
    }

    #[test]
    fn bad_files_are_refused_with_their_line() {
        check_refused("", 1, "ends before");
        check_refused("NAME : x\nhello", 2, "no TSPLIB line");
        check_refused("TYPE : ATSP", 1, "only TSP");
        check_refused("DIMENSION : many", 1, "no number");
        check_refused("DIMENSION : 2", 1, "3 to 128");
        check_refused("DIMENSION : 129", 1, "3 to 128");
        check_refused(
            "EDGE_WEIGHT_TYPE : EXPLICIT",
            1,
            "EXPLICIT is not supported",
        );
        check_refused("CAPACITY : 3", 1, "CAPACITY");
        check_refused("EDGE_WEIGHT_SECTION", 1, "not supported");
        check_refused(
            "EDGE_WEIGHT_TYPE : GEO\nNODE_COORD_SECTION",
            2,
            "before DIMENSION",
        );
        check_refused(
            "DIMENSION : 3\nNODE_COORD_SECTION",
            2,
            "before EDGE_WEIGHT_TYPE",
        );
        check_refused(
            &file("EUC_2D", &["1 0 0", "2 0", "3 1 1"]),
            7,
            "two coordinates",
        );
        check_refused(
            &file("EUC_2D", &["1 0 0", "4 0 0", "3 1 1"]),
            7,
            "from 1 to 3",
        );
        check_refused(
            &file("EUC_2D", &["1 0 0", "1 0 0", "3 1 1"]),
            7,
            "second time",
        );
        check_refused(
            &file("EUC_2D", &["1 0 0", "2 nan 0", "3 1 1"]),
            7,
            "no coordinate",
        );
        check_refused(
            &file("EUC_2D", &["1 0 0", "2 1e300 0", "3 1 1"]),
            7,
            "beyond",
        );
        check_refused(&file("GEO", &["1 91 0", "2 0 0", "3 1 1"]), 6, "beyond 90");
        check_refused(
            "DIMENSION:3\nEDGE_WEIGHT_TYPE:GEO\nNODE_COORD_SECTION\n1 1 1\n3 2 2\n",
            5,
            "without city 2",
        );
    }

    #[test]
    fn random_cities_are_the_same_for_the_same_seed() {
        let first = Instance::random(10, 1, 1000).distances;
        assert_eq!(first, Instance::random(10, 1, 1000).distances);
        assert_ne!(first, Instance::random(10, 2, 1000).distances);
    }
}
