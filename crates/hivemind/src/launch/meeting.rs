//! Where drones meet whom somebody else has started: a host, and ports that all of the job find by its name.
//!
//! Nothing is agreed on and no file is written: the ports follow from the job's name. Where another job or program has
//! one, drone 0 takes the next; a drone that knocks at a stranger's is hung up on, and tries the next as well.

use ring::digest::{SHA256, digest};

use super::seat::Root;

/// How many ports a job may meet at.
const PORTS: usize = 8;

/// The ports: beyond the well-known ones, below those that Linux lends to connections (32768 and above).
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 32_767;

/// Drone 0 listens on this host, at the first of the job's ports that is free.
pub(super) fn on_host(host: &str, job: &str) -> Root {
    let bare = host.trim_matches(['[', ']']);
    let host = match bare.contains(':') {
        true => format!("[{bare}]"),
        false => bare.to_owned(),
    };
    let addresses = ports(job).into_iter().map(|port| format!("{host}:{port}"));
    Root::Addresses(addresses.collect())
}

/// The same where all drones are on one host.
pub(super) fn here(job: &str) -> Root {
    on_host("127.0.0.1", job)
}

/// The first host of a list as Slurm writes it: `node[01-03,07],other`. None where it is no such list.
pub(super) fn first_host(list: &str) -> Option<String> {
    let mut host = String::new();
    let mut rest = list.trim();
    while let Some(at) = rest.find(['[', ',', ']']) {
        host.push_str(&rest[..at]);
        let group = match rest.as_bytes()[at] {
            b'[' => &rest[at + 1..],
            b',' => return checked(host),
            _ => return None,
        };
        let (group, behind) = group.split_once(']')?;
        let number = group.split(['-', ',']).next()?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number {
            return None;
        }
        host.push_str(number);
        rest = behind;
    }
    host.push_str(rest);
    checked(host)
}

fn checked(host: String) -> Option<String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_part)).then_some(host)
}

fn ports(job: &str) -> Vec<u16> {
    let room = LAST_PORT - FIRST_PORT + 1;
    let mut found = Vec::new();
    for pair in digest(&SHA256, job.as_bytes()).as_ref().chunks_exact(2) {
        let port = FIRST_PORT + u16::from_be_bytes([pair[0], pair[1]]) % room;
        if !found.contains(&port) {
            found.push(port);
        }
    }
    found.truncate(PORTS);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_host_of_a_list_is_found() {
        for (list, first) in [
            ("ann", "ann"),
            ("ann,bob", "ann"),
            ("node[01-03,07],other", "node01"),
            ("node[7]", "node7"),
            ("rack[2-3]node[010-020]-ib", "rack2node010-ib"),
            ("a.b-c_d[1,3]", "a.b-c_d1"),
        ] {
            assert_eq!(first_host(list).as_deref(), Some(first), "{list}");
        }
    }

    #[test]
    fn what_is_no_list_of_hosts_has_no_first() {
        for list in [
            "",
            ",ann",
            "node[",
            "node[]",
            "node]1",
            "node[a-b]",
            "a b",
            "node[1",
            "a:b",
            "[x]",
        ] {
            assert_eq!(first_host(list), None, "{list}");
        }
    }

    #[test]
    fn a_job_has_the_same_ports_everywhere_and_jobs_have_different_ones() {
        let of = |job| ports(job);
        assert_eq!(of("slurm 17.0"), of("slurm 17.0"));
        assert_ne!(of("slurm 17.0"), of("slurm 17.1"));
        let all = of("slurm 17.0");
        assert_eq!(all.len(), PORTS);
        assert!(
            all.iter()
                .all(|port| (FIRST_PORT..=LAST_PORT).contains(port))
        );
        // Drones of different builds must agree, so these numbers never change.
        assert_eq!(ports("")[..2], [27_216, 31_938]);
    }

    #[test]
    fn a_host_may_be_a_name_or_an_address() {
        let first = |host| match on_host(host, "") {
            Root::Addresses(addresses) => addresses[0].clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(first("ann"), "ann:27216");
        assert_eq!(first("fd00::1"), "[fd00::1]:27216");
        assert_eq!(first("[fd00::1]"), "[fd00::1]:27216");
    }
}
