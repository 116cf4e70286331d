//! `hivemind doctor` over hosts: every host is examined though some can't be reached, and what a run would refuse is
//! found before.

use serde_json::Value;

use crate::world::{Ended, HOSTS, World, world};

/// What the doctor wrote of one host, or of the way between two.
fn findings<'a>(charts: &'a Value, host: &str) -> &'a [Value] {
    let charts = charts.as_array().expect("a list");
    let chart = charts.iter().find(|chart| chart["host"] == host);
    let chart = chart.unwrap_or_else(|| panic!("{host} is not in {charts:?}"));
    chart["findings"].as_array().expect("findings")
}

fn state<'a>(charts: &'a Value, host: &str, subject: &str) -> &'a str {
    let found = findings(charts, host)
        .iter()
        .filter(|finding| finding["subject"] == subject);
    let states: Vec<_> = found
        .filter_map(|finding| finding["state"].as_str())
        .collect();
    let worst = ["failure", "warning", "note", "ok"]
        .into_iter()
        .find(|state| states.contains(state));
    worst.unwrap_or_else(|| panic!("nothing of {subject} at {host}: {charts:#}"))
}

fn examine(world: &World, words: &str) -> (Ended, Value) {
    let ended = world.hive(&format!("doctor --json /root/found.json {words}"));
    let text = world.desk.sh("cat /root/found.json");
    let charts = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended, charts)
}

#[test]
fn four_healthy_hosts_are_found_healthy_and_every_way_is_measured() {
    let Some(world) = world("the doctor on four hosts") else {
        return;
    };
    let (ended, charts) = examine(&world, "--hosts ann,bob,cid,dot jacobi");
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(
        ended
            .output
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("A job can run")),
        "{ended:?}"
    );
    for host in HOSTS {
        for subject in [
            "reached",
            "kernel",
            "page faults",
            "memory",
            "limits",
            "private files",
            "ports",
            "clock",
            "program",
        ] {
            assert_ne!(
                state(&charts, host, subject),
                "failure",
                "{host}, {subject}: {charts:#}"
            );
        }
        assert_eq!(state(&charts, host, "program"), "ok");
        assert_eq!(
            state(&charts, host, "clock"),
            "ok",
            "they all have one clock"
        );
    }
    for (place, one) in HOSTS.iter().enumerate() {
        for other in &HOSTS[place + 1..] {
            let way = format!("{one} – {other}");
            assert_ne!(state(&charts, &way, "network"), "failure", "{charts:#}");
            let fact = findings(&charts, &way)[0]["fact"]
                .as_str()
                .unwrap_or_default();
            assert!(
                fact.contains("there and back") && fact.contains("/s"),
                "{fact}"
            );
        }
    }
    world.expect_nothing_left(&HOSTS);
}

#[test]
fn each_trouble_is_found_at_its_host_with_what_to_do() {
    let Some(world) = world("the doctor and sick hosts") else {
        return;
    };
    // A port that is taken, a library that is missing, a key that isn't accepted, a host that isn't there.
    let other = world
        .desk
        .sh("ssh-keygen -q -t ed25519 -N '' -f /mnt/other && cat /mnt/other.pub");
    world
        .host("cid")
        .write("/root/.ssh/authorized_keys", &other);
    world.host("bob").sh(
        "mount -t tmpfs none /mnt && printf '#!/bin/sh\\necho \"libmagic.so.9 => not found\"\\n' > /mnt/ldd && \
         chmod +x /mnt/ldd && mount --bind /mnt/ldd $(command -v ldd)",
    );
    world.desk.write(
        "/root/hive.toml",
        "[[hosts]]\nname = \"ann\"\nports = \"22\"\n[[hosts]]\nname = \"bob\"\n[[hosts]]\nname = \"cid\"\n[[hosts]]\nname = \"nobody\"\n",
    );
    let (ended, charts) = examine(&world, "--hive hive.toml pi");
    assert_eq!(ended.status, Some(1), "{ended:?}");
    for (host, subject, what, remedy) in [
        (
            "ann",
            "ports",
            "of its ports 22 0 are free",
            "allow more `ports`",
        ),
        ("bob", "program", "libmagic.so.9", "install them"),
        (
            "cid",
            "reached",
            "it accepts none of your keys",
            "ssh-copy-id cid",
        ),
        ("nobody", "reached", "it cannot be reached", ""),
    ] {
        assert_eq!(
            state(&charts, host, subject),
            "failure",
            "{host}: {charts:#}"
        );
        let found = findings(&charts, host).iter().any(|finding| {
            let has = |part: &str, wanted: &str| {
                finding[part]
                    .as_str()
                    .is_some_and(|text| text.contains(wanted))
            };
            finding["state"] == "failure" && has("fact", what) && has("remedy", remedy)
        });
        assert!(found, "{host}: {what}; {remedy}: {charts:#}");
    }
    // Those that were reached were looked at nevertheless.
    assert_eq!(state(&charts, "bob", "kernel"), "ok");
    assert!(
        ended.output.contains("A job cannot run as asked"),
        "{ended:?}"
    );
    world.expect_nothing_left(&HOSTS);
}

#[test]
fn a_way_that_is_closed_is_found() {
    let Some(world) = world("the doctor and a closed way") else {
        return;
    };
    // ssh gets through, but no drone would.
    world.host("bob").sh(
        "ip route add blackhole 10.42.0.1/32 2>/dev/null || ip route add unreachable 10.42.0.1/32",
    );
    let (ended, charts) = examine(&world, "--hosts ann,bob");
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert_eq!(
        state(&charts, "ann – bob", "network"),
        "failure",
        "{charts:#}"
    );
    world.expect_nothing_left(&["ann", "bob"]);
}
