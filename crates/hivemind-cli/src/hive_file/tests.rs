//! Hive files: both forms, both notations, and what is said about wrong ones.

use super::*;

fn json(text: &str) -> HiveFile {
    HiveFile::from_json(text).expect("a right file")
}

fn wrong(text: &str) -> String {
    HiveFile::from_json(text).expect_err("a wrong file")
}

const TOML: &str = r#"
region = "8GiB"
engine = "uffd"
encrypt = "always"
transport = "tcp"
bind = "none"
timeouts = { silence = "10s", start = 60 }

[[hosts]]
name = "queen"
address = "10.0.0.1"
ports = "7000-7099"
drones = 2
ssh = { user = "ada", port = 2222, key = "/home/ada/.ssh/hive" }

[[hosts]]
name = "worker"
ports = 7000
threads = 4
directory = "/data"
"#;

#[test]
fn toml_and_json_say_the_same() {
    let toml = HiveFile::from_toml(TOML).expect("a right file");
    let json = json(
        r#"{
            "region": 8589934592, "engine": "uffd", "encrypt": "always", "transport": "tcp", "bind": "none",
            "timeouts": {"silence": 10, "start": "1m"},
            "hosts": [
                {"name": "queen", "address": "10.0.0.1", "ports": "7000-7099", "drones": 2,
                 "ssh": {"user": "ada", "port": 2222, "key": "/home/ada/.ssh/hive"}},
                {"name": "worker", "ports": "7000", "threads": 4, "directory": "/data"}
            ]
        }"#,
    );
    assert_eq!(toml, json);
    assert_eq!(
        toml.hosts[0]
            .ports
            .map(|ports| ports.to_string())
            .as_deref(),
        Some("7000-7099")
    );
    assert_eq!(toml.hosts[1].drones, None);
}

#[test]
fn a_host_may_be_a_word() {
    let file = json(r#"{"hosts": ["a", "b:4", "ada@c:2", "[fe80::1]:3", "fe80::2"]}"#);
    let seen: Vec<(&str, Option<u32>)> = file
        .hosts
        .iter()
        .map(|host| (host.name.as_str(), host.drones))
        .collect();
    let wanted = [
        ("a", None),
        ("b", Some(4)),
        ("c", Some(2)),
        ("fe80::1", Some(3)),
        ("fe80::2", None),
    ];
    assert_eq!(seen, wanted);
    assert_eq!(
        file.hosts[2].ssh.user.as_ref().map(UserName::as_str),
        Some("ada")
    );
}

#[test]
fn an_error_names_the_path_and_what_is_allowed() {
    for (text, path, allowed) in [
        (
            r#"{"hosts": ["a", {"name": "b", "ports": "9-8"}]}"#,
            "hosts[1].ports: ",
            "7000-7099",
        ),
        (
            r#"{"hosts": [{"name": "a", "drones": 0}]}"#,
            "hosts[0].drones: ",
            "from 1 to 65536",
        ),
        (r#"{"hosts": ["a:x"]}"#, "hosts[0]: ", "as in a:4"),
        (
            r#"{"hosts": ["a"], "engine": "magic"}"#,
            "engine: ",
            "`uffd`",
        ),
        (
            r#"{"hosts": ["a"], "timeouts": {"start": "soon"}}"#,
            "timeouts.start: ",
            "30s",
        ),
        (r#"{"hosts": ["a"], "region": true}"#, "region: ", "8GiB"),
        (
            r#"{"hosts": [{"name": "a", "pots": 1}]}"#,
            "hosts[0].pots: ",
            "`ports`",
        ),
        (
            r#"{"hosts": [{"name": "-x"}]}"#,
            "hosts[0].name: ",
            "that `ssh` knows",
        ),
        (r#"{"hosts": []}"#, "hosts: ", "at least one host"),
        (r#"{"host": ["a"]}"#, "host: ", "`hosts`"),
        ("hosts = 1", "", ".toml"),
    ] {
        let error = wrong(text);
        assert!(error.starts_with(path), "{text}: {error}");
        assert!(error.contains(allowed), "{text}: {error}");
    }
    let error = HiveFile::from_toml("hosts = [\"a\", { name = \"b\", threads = 0 }]")
        .expect_err("a wrong file");
    assert!(
        error.starts_with("hosts[1].threads: 0 is out of range"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_too_long_is_not_read_to_its_end() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), vec![b' '; 2 << 20]).expect("it can be written");
    let error = HiveFile::read(file.path()).expect_err("it is too long");
    assert!(
        error.to_string().contains("longer than a megabyte"),
        "{error}"
    );
}

const REPORT: &str = r#"{
    "IsCBM": true, "NrProc": 3,
    "Drones": [
        {"Address": "10.0.0.1", "Port": "22", "Username": "azure", "Password": ""},
        {"Address": "10.0.0.2", "Port": 2222, "Username": "azure"},
        {"Address": "10.0.0.1", "Port": "22", "Username": "azure", "Password": ""}
    ],
    "CBM": "10.0.0.1:8080",
    "DroneList": [{"Address": "10.0.0.1:8080", "PID": 0}]
}"#;

#[test]
fn the_form_of_2018_is_read_with_ids_in_list_order() {
    let file = json(REPORT);
    let seen: Vec<(&str, Option<u16>, Option<u32>)> = file
        .hosts
        .iter()
        .map(|host| (host.name.as_str(), host.ssh.port, host.drones))
        .collect();
    let wanted = [
        ("10.0.0.1", Some(22), Some(1)),
        ("10.0.0.2", Some(2222), Some(1)),
        ("10.0.0.1", Some(22), Some(1)),
    ];
    assert_eq!(seen, wanted);
    assert_eq!(file.drones, Some(3));
}

#[test]
fn a_list_of_drones_without_logins_is_enough() {
    let file = json(
        r#"{"IsCBM": false, "DroneList": [{"Address": "a:1", "PID": 0}, {"Address": "b", "PID": 1}]}"#,
    );
    assert_eq!(file.hosts[0].name.as_str(), "a");
    let error = wrong(r#"{"DroneList": [{"Address": "a", "PID": 1}]}"#);
    assert!(
        error.starts_with("DroneList[0].PID: ids go in list order"),
        "{error}"
    );
}

#[test]
fn a_password_is_refused_with_the_remedy() {
    let error = wrong(&REPORT.replace(r#""Password": """#, r#""Password": "hunter2""#));
    assert!(error.starts_with("Drones[0].Password: "), "{error}");
    assert!(error.contains("ssh-copy-id 10.0.0.1"), "{error}");
    assert!(!error.contains("hunter2"), "the password is shown: {error}");
}

#[test]
fn the_first_drone_manages() {
    let error = wrong(&REPORT.replace("10.0.0.1:8080\",\n", "10.0.0.2:8080\",\n"));
    assert!(error.starts_with("CBM: "), "{error}");
}

#[test]
fn the_published_schema_is_what_is_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/hive.schema.json");
    let published = std::fs::read_to_string(path).unwrap_or_default();
    let schema = HiveFile::schema();
    assert!(
        published == schema,
        "docs/hive.schema.json is old; `hivemind schema > docs/hive.schema.json` renews it"
    );
}

mod any {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    /// Words that mean something in a hive file of either form, and some that don't.
    const WORDS: [&str; 24] = [
        "hosts",
        "name",
        "address",
        "ports",
        "drones",
        "threads",
        "ssh",
        "user",
        "port",
        "key",
        "cache",
        "directory",
        "region",
        "timeouts",
        "silence",
        "engine",
        "trace",
        "IsCBM",
        "NrProc",
        "Drones",
        "Address",
        "Password",
        "DroneList",
        "other",
    ];

    fn word() -> impl Strategy<Value = String> {
        proptest::sample::select(&WORDS[..]).prop_map(str::to_owned)
    }

    /// Values of every kind under such words.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            word().prop_map(Value::from),
            proptest::sample::select(
                &[
                    "1GiB",
                    "7000-7001",
                    "70000-1",
                    "30s",
                    "a:4",
                    "-x",
                    "",
                    "\u{0}"
                ][..]
            )
            .prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(word(), inner, 0..6)
                    .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    /// What was taken has hosts; what wasn't is told in words.
    fn check(read: Result<HiveFile, String>) {
        match read {
            Ok(file) => assert!(!file.hosts.is_empty()),
            Err(why) => assert!(!why.is_empty()),
        }
    }

    proptest! {
        #[test]
        fn whatever_a_file_says_it_is_taken_or_refused_in_words(file in value(), text in any::<String>(), host in value()) {
            check(HiveFile::from_json(&file.to_string()));
            check(HiveFile::from_json(&json!({"hosts": [host.clone()]}).to_string()));
            check(HiveFile::from_json(&json!({"IsCBM": true, "Drones": [host]}).to_string()));
            check(HiveFile::from_json(&text));
            check(HiveFile::from_toml(&text));
            if let Ok(text) = toml::to_string(&file) {
                check(HiveFile::from_toml(&text));
            }
        }
    }
}
