//! How jobs on hosts end: by a drone's failure, by Ctrl-C, by the launcher's or an agent's death, by a host that
//! is cut off. Nothing may be left anywhere.

use std::time::{Duration, Instant};

use crate::world::{HOSTS, world};

/// Says which process it is and stays, with a child.
const STAY: &str = "sh -c 'echo $$ on $(hostname); sleep 5000 & wait'";

#[test]
fn a_killed_drone_is_named_with_its_host() {
    let Some(world) = world("a killed drone") else {
        return;
    };
    let job = world.start(&format!("run --hosts ann,bob:2 {STAY}"));
    let lines = job.lines(3);
    let victim = lines[2].split(' ').nth(1).expect("a process");
    world.host("bob").sh(&format!("kill -9 {victim}"));
    let ended = job.end();
    assert_eq!(ended.status, Some(137), "{ended:?}");
    let sentence = format!(
        "hivemind: drone 2 (pid {victim} on host bob) was killed by signal 9 (SIGKILL); ending the other 2 drones\n"
    );
    assert_eq!(ended.error, sentence);
    world.expect_nothing_left(&["ann", "bob"]);
}

#[test]
fn a_drones_own_status_and_last_words_come_back() {
    let Some(world) = world("a drone's own status") else {
        return;
    };
    let ended = world.hive(
        "run --hosts ann,bob sh -c '[ $HIVEMIND_RANK = 1 ] && { printf \"out of luck\" >&2; exit 42; }; sleep 5000'",
    );
    assert_eq!(ended.status, Some(42), "{ended:?}");
    let lines: Vec<&str> = ended.error.lines().collect();
    assert_eq!(lines[0], "[1] out of luck", "{ended:?}");
    assert!(
        lines[1].contains("on host bob) exited with status 42"),
        "{ended:?}"
    );
    world.expect_nothing_left(&["ann", "bob"]);
}

#[test]
fn an_interruption_ends_all_hosts() {
    let Some(world) = world("Ctrl-C") else {
        return;
    };
    let job = world.start(&format!("run --hosts ann,bob,cid,dot {STAY}"));
    job.lines(4);
    world.signal_launcher("INT");
    let ended = job.end();
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert_eq!(
        ended.error,
        "hivemind: interrupted by signal 2 (SIGINT); ending 4 drones\n"
    );
    world.expect_nothing_left(&HOSTS);
}

#[test]
fn a_killed_launcher_leaves_nothing_on_any_host() {
    let Some(world) = world("a killed launcher") else {
        return;
    };
    let job = world.start(&format!("run --hosts ann:2,bob,cid,dot {STAY}"));
    job.lines(5);
    for host in HOSTS {
        assert!(
            !world.host(host).processes().is_empty(),
            "nothing runs on {host}"
        );
    }
    world.signal_launcher("KILL");
    job.end();
    world.expect_nothing_left(&HOSTS);
}

#[test]
fn a_launcher_killed_while_it_copies_leaves_nothing_half() {
    let Some(world) = world("a launcher killed while it copies") else {
        return;
    };
    for pause_ms in [50, 300, 800] {
        let job = world.start("run --hosts ann,bob,cid,dot pi");
        std::thread::sleep(Duration::from_millis(pause_ms));
        // It may have ended already.
        world.desk.try_sh("kill -KILL $(tail -n 1 /mnt/launchers)");
        job.end();
        world.expect_nothing_left(&HOSTS);
    }
    let ended = world.hive("run --hosts ann,bob,cid,dot pi --steps 100003 --check");
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn a_killed_agent_takes_its_drones_along_and_ends_the_job() {
    let Some(world) = world("a killed agent") else {
        return;
    };
    let job = world.start(&format!("run --hosts ann,bob {STAY}"));
    job.lines(2);
    world.host("bob").sh(
        "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' < $p/cmdline) in *hivemind' __agent '*) kill -9 ${p#/proc/};; esac; done",
    );
    let ended = job.end();
    assert_eq!(ended.status, Some(69), "{ended:?}");
    assert!(ended.error.contains("host bob was lost: "), "{ended:?}");
    assert!(ended.error.contains("ending the other drone"), "{ended:?}");
    world.expect_nothing_left(&["ann", "bob"]);
}

#[test]
fn a_host_that_is_cut_off_ends_the_job_by_name() {
    let Some(world) = world("a host that is cut off") else {
        return;
    };
    let job = world
        .start("run --hosts ann,bob,cid,dot --silence-limit 6s torture silence --seconds 1000");
    // All are together once they wait for each other.
    let start = Instant::now();
    while HOSTS
        .iter()
        .any(|host| !has_links(&world.host(host).sh("cat /proc/net/tcp")))
    {
        assert!(start.elapsed() < Duration::from_secs(60), "they never met");
        std::thread::sleep(Duration::from_millis(100));
    }
    world.cut_off("cid");
    let ended = job.end();
    assert_eq!(ended.status, Some(69), "{ended:?}");
    assert!(
        ended.error.contains(
            "host cid was lost: nothing is heard from it for 4.0s; ending the other 3 drones"
        ),
        "{ended:?}"
    );
    world.expect_nothing_left(&["ann", "bob", "dot"]);
    // The host itself can't be told, and finds out by the same silence.
    let start = Instant::now();
    let has_drone = |line: &String| line.contains("torture") || line.contains("__agent");
    while world.host("cid").processes().iter().any(has_drone) {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "a drone outlives its job on cid"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether a table of sockets has links to other hosts besides ssh's.
fn has_links(table: &str) -> bool {
    let is_link = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Established, and not at port 22 of this end.
        words.get(3) == Some(&"01") && words.get(1).is_some_and(|local| !local.ends_with(":0016"))
    };
    table.lines().skip(1).filter(is_link).count() >= 3
}
