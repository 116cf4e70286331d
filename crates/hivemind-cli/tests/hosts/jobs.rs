//! Good runs: every program on four hosts, several jobs at once, what is copied and what isn't.

use crate::world::{BINARIES, HOSTS, world};

/// Every program, small enough for a busy machine.
const PROGRAMS: [&str; 7] = [
    "pi --steps 2000003 --check",
    "jacobi --size 259 --steps 50 --check",
    "quicksort --count 100001 --check",
    "matmul --size 131 --check",
    "intsort --count 100003 --values 5003 --check",
    "tsp --check",
    "tour --check",
];

#[test]
fn every_program_runs_on_four_hosts_and_is_copied_once() {
    let Some(world) = world("every program on four hosts") else {
        return;
    };
    for program in PROGRAMS {
        let ended = world.hive(&format!("run --hosts ann,bob,cid,dot {program}"));
        assert_eq!(ended.status, Some(0), "{program}: {ended:?}");
        let verdicts = ended.output.matches("check: equal to the serial answer");
        assert_eq!(verdicts.count(), 1, "{program}: {ended:?}");
        assert_eq!(ended.error, "", "{program}");
    }
    let again =
        world.hive("deploy --hosts ann,bob,cid,dot pi jacobi quicksort matmul intsort tsp tour");
    assert_eq!(again.status, Some(0), "{again:?}");
    assert_eq!(again.output.lines().count(), HOSTS.len());
    for line in again.output.lines() {
        assert_eq!(line.matches("was there").count(), 8, "{line}");
        assert!(!line.contains("copied"), "{line}");
    }
    world.expect_nothing_left(&HOSTS);
    let cleaned = world.hive("clean --hosts ann,bob,cid,dot");
    assert_eq!(cleaned.status, Some(0), "{cleaned:?}");
    for host in HOSTS {
        assert!(
            cleaned
                .output
                .contains(&format!("{host}: removed 8 programs")),
            "{cleaned:?}"
        );
        world.host(host).sh("! test -e /root/.cache/hivemind");
    }
}

#[test]
fn drones_go_where_a_hive_file_says_and_come_back_with_statistics() {
    let Some(world) = world("a hive file") else {
        return;
    };
    world.desk.write("/root/hive.toml", HIVE);
    let ended = world.hive(
        "run --hive hive.toml --stats=json:/root/stats.json \
         sh -c 'echo $HIVEMIND_RANK on $(hostname) of $HIVEMIND_LOCAL_DRONES at $HIVEMIND_LISTEN in $(pwd) threads $HIVEMIND_THREADS'",
    );
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let mut lines: Vec<&str> = ended.output.lines().collect();
    lines.sort_unstable();
    let wanted = [
        "[0] 0 on dot of 2 at 10.42.0.4:7000-7009 in /root threads 3",
        "[1] 1 on dot of 2 at 10.42.0.4:7000-7009 in /root threads 3",
        "[2] 2 on bob of 1 at 10.42.0.2 in /tmp threads 2",
    ];
    assert_eq!(lines, wanted);
    let ended =
        world.hive("run --hive hive.toml --stats=json:/root/stats.json pi --steps 100003 --check");
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let stats = world.desk.sh("cat /root/stats.json");
    assert_eq!(stats.matches("\"messages_sent\"").count(), 3, "{stats}");
    world.expect_nothing_left(&["bob", "dot"]);
}

const HIVE: &str = r#"
region = "64M"
threads = 2
[[hosts]]
name = "dot"
address = "10.42.0.4"
ports = "7000-7009"
drones = 2
threads = 3
[[hosts]]
name = "bob"
directory = "/tmp"
"#;

#[test]
fn the_form_of_2018_runs_in_list_order_and_its_passwords_are_refused() {
    let Some(world) = world("the form of 2018") else {
        return;
    };
    let file = r#"{"IsCBM": true, "NrProc": 3, "CBM": "10.42.0.3:8080", "Drones": [
        {"Address": "10.42.0.3", "Port": "22", "Username": "root", "Password": ""},
        {"Address": "10.42.0.1", "Port": "22", "Username": "root", "Password": ""},
        {"Address": "10.42.0.3", "Port": "22", "Username": "root", "Password": ""}],
        "DroneList": []}"#;
    world.desk.write("/root/config.json", file);
    let ended = world.hive("run --hive config.json sh -c 'echo $HIVEMIND_RANK on $(hostname)'");
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let mut lines: Vec<&str> = ended.output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["[0] 0 on cid", "[1] 1 on ann", "[2] 2 on cid"]);
    let secret = file.replace(r#""Password": """#, r#""Password": "hunter2""#);
    world.desk.write("/root/config.json", &secret);
    let ended = world.hive("run --hive config.json pi");
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(
        ended.error.contains("config.json: Drones[0].Password: "),
        "{ended:?}"
    );
    assert!(ended.error.contains("ssh-copy-id 10.42.0.3"), "{ended:?}");
}

#[test]
fn two_jobs_run_at_the_same_time_on_the_same_hosts() {
    let Some(world) = world("two jobs at once") else {
        return;
    };
    let words = "run --hosts ann:2,bob:2 jacobi --size 259 --steps 100 --check";
    let jobs = [world.start(words), world.start(words)];
    for job in jobs {
        let ended = job.end();
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert!(
            ended.output.contains("check: equal to the serial answer"),
            "{ended:?}"
        );
    }
    world.expect_nothing_left(&["ann", "bob"]);
}

#[test]
fn the_key_stands_in_no_argument_and_no_environment() {
    let Some(world) = world("where the key is") else {
        return;
    };
    let job = world.start(
        "run --hosts ann,bob sh -c 'echo key $(cat $HIVEMIND_KEY_FILE); echo mode $(stat -c %a-%U $HIVEMIND_KEY_FILE); sleep 1000'",
    );
    let lines = job.lines(4);
    assert_eq!(lines[1], "[0] mode 600-root");
    let key = lines[0].strip_prefix("[0] key ").unwrap_or_default();
    assert_eq!(key.len(), 64, "{lines:?}");
    assert_eq!(
        lines[2].strip_prefix("[1] key "),
        Some(key),
        "all drones have one key"
    );
    let places = [&world.desk, world.host("ann"), world.host("bob")];
    for place in places {
        place.write("/root/pattern", key);
        let found = place.sh(
            "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | grep -acf /root/pattern || true",
        );
        assert_eq!(found.trim(), "0");
    }
    world.signal_launcher("INT");
    assert_eq!(job.end().status, Some(130));
}

#[test]
fn nothing_is_copied_where_all_hosts_have_it_already() {
    let Some(world) = world("nothing is copied") else {
        return;
    };
    let folder = world.desk.sh(&format!("readlink -f {BINARIES}"));
    let folder = folder.trim();
    for host in ["ann", "bob"] {
        let copy =
            format!("mkdir -p {folder} && cat > {folder}/hivemind && chmod +x {folder}/hivemind");
        let ssh = format!("ssh {host} 'mount -t tmpfs none /mnt && {copy}' < {BINARIES}/hivemind");
        world.desk.sh(&ssh);
    }
    let words = "run --hosts ann,bob --no-copy /bin/sh -c 'echo $HIVEMIND_RANK'";
    let ended = world.hive(words);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    for host in ["ann", "bob"] {
        world.host(host).sh("! test -e /root/.cache/hivemind");
    }
    let ended = world.hive(&format!("run --hosts ann,bob --no-copy {BINARIES}/pi"));
    assert_eq!(ended.status, Some(69), "{ended:?}");
    assert!(ended.error.contains("2 of 2 hosts"), "{ended:?}");
    assert!(ended.error.contains("leave --no-copy out"), "{ended:?}");
}
