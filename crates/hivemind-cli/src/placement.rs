//! Which drone runs on which host. Pure.
//!
//! Drones are numbered in the order of the hosts. A host has as many places as stand behind its name, and one
//! where nothing stands; `-n` takes the first so many places. Where no host has a number, `-n` is spread evenly.

use crate::hive_file::HostEntry;
use hivemind::settings::MAX_DRONES;

/// A host and the drones that run there.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Berth {
    pub(crate) host: HostEntry,
    /// The numbers of its drones, rising.
    pub(crate) ranks: Vec<u32>,
}

/// Spreads drones over hosts. Hosts without a drone are left out; one that stands in the list more than once is
/// one host.
///
/// # Errors
/// One sentence that says what is allowed.
pub(crate) fn place(hosts: &[HostEntry], drones: Option<u32>) -> Result<Vec<Berth>, String> {
    let mut berths: Vec<Berth> = Vec::new();
    let mut next = 0;
    for (host, count) in hosts.iter().zip(counts(hosts, drones)?) {
        if count == 0 {
            continue;
        }
        let ranks = next..next + count;
        next += count;
        match berths.iter_mut().find(|berth| berth.host.name == host.name) {
            Some(berth) if is_same(&berth.host, host) => berth.ranks.extend(ranks),
            Some(_) => {
                return Err(format!(
                    "host {} stands in the list more than once, with different settings; write it once",
                    host.name
                ));
            }
            None => berths.push(Berth {
                host: host.clone(),
                ranks: ranks.collect(),
            }),
        }
    }
    Ok(berths)
}

/// How many drones each entry of the list gets.
fn counts(hosts: &[HostEntry], drones: Option<u32>) -> Result<Vec<u32>, String> {
    if hosts.iter().all(|host| host.drones.is_none()) {
        let all = hosts.len() as u32;
        let drones = drones.unwrap_or(all);
        let (each, rest) = (drones / all, drones % all);
        return Ok((0..all).map(|host| each + u32::from(host < rest)).collect());
    }
    let places: Vec<u32> = hosts.iter().map(|host| host.drones.unwrap_or(1)).collect();
    let all: u64 = places.iter().map(|&places| u64::from(places)).sum();
    let wanted = drones.map_or(all, u64::from);
    if wanted > u64::from(MAX_DRONES) {
        return Err(format!(
            "{wanted} drones are too many; {MAX_DRONES} are allowed"
        ));
    }
    if wanted > all {
        return Err(format!(
            "{wanted} drones have no place on hosts with {all} places; write more behind a host, as in a:8, or \
             leave all numbers out and the drones are spread evenly"
        ));
    }
    let mut left = wanted as u32;
    let take = |places: u32| {
        let taken = places.min(left);
        left -= taken;
        taken
    };
    Ok(places.into_iter().map(take).collect())
}

/// Whether two entries mean the same but for the number of drones.
fn is_same(one: &HostEntry, other: &HostEntry) -> bool {
    let mut other = other.clone();
    other.drones = one.drones;
    *one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(hosts: &[&str], drones: Option<u32>) -> Vec<(String, Vec<u32>)> {
        let berths = place(&entries(hosts), drones).expect("they have room");
        berths
            .into_iter()
            .map(|berth| (berth.host.name.to_string(), berth.ranks))
            .collect()
    }

    fn entries(hosts: &[&str]) -> Vec<HostEntry> {
        let entry = |word: &&str| HostEntry::parse(word).expect("a right word");
        hosts.iter().map(entry).collect()
    }

    fn is(placed: &[(String, Vec<u32>)], wanted: &[(&str, &[u32])]) {
        let placed: Vec<(&str, &[u32])> = placed
            .iter()
            .map(|(host, ranks)| (host.as_str(), &ranks[..]))
            .collect();
        assert_eq!(placed, wanted);
    }

    #[test]
    fn drones_go_in_the_order_of_the_hosts() {
        is(
            &placed(&["a", "b:4", "c"], None),
            &[("a", &[0]), ("b", &[1, 2, 3, 4]), ("c", &[5])],
        );
    }

    #[test]
    fn n_takes_the_first_places() {
        is(
            &placed(&["a:2", "b:4", "c"], Some(3)),
            &[("a", &[0, 1]), ("b", &[2])],
        );
    }

    #[test]
    fn without_numbers_n_is_spread_evenly() {
        is(
            &placed(&["a", "b", "c"], Some(7)),
            &[("a", &[0, 1, 2]), ("b", &[3, 4]), ("c", &[5, 6])],
        );
        is(
            &placed(&["a", "b", "c"], Some(2)),
            &[("a", &[0]), ("b", &[1])],
        );
    }

    #[test]
    fn a_host_that_comes_again_is_one_host() {
        is(
            &placed(&["a:1", "b:1", "a:1"], None),
            &[("a", &[0, 2]), ("b", &[1])],
        );
        let error = place(&entries(&["a", "ada@a"]), None).expect_err("they differ");
        assert!(error.contains("host a stands"), "{error}");
    }

    #[test]
    fn more_drones_than_places_are_refused() {
        let error = place(&entries(&["a:2", "b"]), Some(4)).expect_err("too many");
        assert!(
            error.contains("4 drones have no place on hosts with 3 places"),
            "{error}"
        );
        assert!(place(&entries(&["a:65536", "b"]), None).is_err());
    }
}
