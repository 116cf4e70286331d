//! `examples/`, and programs under starters that are too large to install here: each drone gets the environment that
//! such a starter makes. Slurm and Open MPI are real, beside the command's tests.

use saphyr::{LoadableYamlNode, Yaml};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

const CHECKED: &str = "check: equal to the serial answer";

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name)
}

fn small_jacobi() -> [&'static str; 6] {
    [
        env!("CARGO_BIN_EXE_jacobi"),
        "--size",
        "259",
        "--steps",
        "50",
        "--check",
    ]
}

/// A command without any starter's variables, in a home of its own.
fn command(program: &str, home: &TempDir) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("HIVEMIND_") || name.starts_with("XDG_") {
            command.env_remove(name.as_ref());
        }
    }
    command
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("HIVEMIND_START_TIMEOUT", "60s")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The drones of one job.
fn start(
    home: &TempDir,
    drones: u32,
    environment: impl Fn(u32) -> Vec<(&'static str, String)>,
) -> Vec<Child> {
    let words = small_jacobi();
    let drone = |rank| {
        let mut command = command(words[0], home);
        command.args(&words[1..]).envs(environment(rank));
        command.spawn().unwrap()
    };
    (0..drones).map(drone).collect()
}

#[track_caller]
fn expect_right(drones: Vec<Child>) {
    let ended: Vec<Output> = drones
        .into_iter()
        .map(|drone| drone.wait_with_output().unwrap())
        .collect();
    assert!(
        ended.iter().all(|drone| drone.status.success()),
        "{ended:?}"
    );
    let right = ended
        .iter()
        .filter(|drone| String::from_utf8_lossy(&drone.stdout).contains(CHECKED));
    assert_eq!(right.count(), 1, "{ended:?}");
}

#[test]
fn the_shell_loop_runs_drones_that_meet_and_leaves_nothing() {
    let home = home();
    let ended = command("sh", &home)
        .arg(example("loop.sh"))
        .arg("4")
        .args(small_jacobi())
        .output()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(
        String::from_utf8_lossy(&ended.stdout)
            .matches(CHECKED)
            .count(),
        1,
        "{ended:?}"
    );
    let left = std::fs::read_dir(home.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".config"], "only the user's own key stays");
}

#[test]
fn the_shell_loop_gives_the_status_of_the_first_drone_that_failed() {
    let ended = command("sh", &home())
        .arg(example("loop.sh"))
        .args(["3", "sh", "-c", "exit $((HIVEMIND_RANK * 7))"])
        .status()
        .unwrap();
    assert_eq!(ended.code(), Some(7));
}

#[test]
fn torchrun_starts_drones_of_two_jobs_at_once() {
    let home = home();
    let job = |port: u16| {
        start(&home, 3, move |rank| {
            vec![
                ("RANK", rank.to_string()),
                ("LOCAL_RANK", rank.to_string()),
                ("WORLD_SIZE", "3".to_owned()),
                ("LOCAL_WORLD_SIZE", "3".to_owned()),
                ("MASTER_ADDR", "localhost".to_owned()),
                ("MASTER_PORT", port.to_string()),
                ("TORCHELASTIC_RUN_ID", "none".to_owned()),
                ("TORCHELASTIC_USE_AGENT_STORE", "True".to_owned()),
            ]
        })
    };
    let jobs = [29_500, 29_501].map(job);
    jobs.into_iter().for_each(expect_right);
}

#[test]
fn a_process_manager_that_speaks_pmi_starts_drones() {
    let name = format!("pmi-{}", std::process::id());
    let home = home();
    let drones = start(&home, 2, |rank| {
        vec![
            ("PMI_RANK", rank.to_string()),
            ("PMI_SIZE", "2".to_owned()),
            ("MPI_LOCALNRANKS", "2".to_owned()),
            ("HIVEMIND_JOB", name.clone()),
        ]
    });
    expect_right(drones);
}

#[test]
fn every_script_can_be_read_by_a_shell() {
    let scripts = std::fs::read_dir(example("")).unwrap();
    let scripts: Vec<PathBuf> = scripts
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "sh"))
        .collect();
    assert_eq!(scripts.len(), 4);
    for script in scripts {
        let read = Command::new("sh").arg("-n").arg(&script).status().unwrap();
        assert!(read.success(), "{}", script.display());
    }
}

#[test]
fn the_manifest_says_the_same_thing_in_every_place() {
    let text = std::fs::read_to_string(example("kubernetes.yaml")).unwrap();
    let documents = Yaml::load_from_str(&text).unwrap();
    let [service, job] = &documents[..] else {
        panic!("{documents:?}");
    };
    assert_eq!(service["kind"].as_str(), Some("Service"));
    assert_eq!(
        service["spec"]["clusterIP"].as_str(),
        Some("None"),
        "pods are found by name"
    );
    assert_eq!(
        (job["kind"].as_str(), job["spec"]["completionMode"].as_str()),
        (Some("Job"), Some("Indexed"))
    );
    let (size, name) = (
        job["spec"]["completions"].as_integer(),
        job["metadata"]["name"].as_str().unwrap(),
    );
    assert_eq!(
        job["spec"]["parallelism"].as_integer(),
        size,
        "all run at the same time"
    );
    let pod = &job["spec"]["template"]["spec"];
    let domain = pod["subdomain"].as_str().unwrap();
    assert_eq!(service["metadata"]["name"].as_str(), Some(domain));
    assert_eq!(service["spec"]["selector"]["job-name"].as_str(), Some(name));
    let container = &pod["containers"][0];
    let variable = |name: &str| {
        let variables = container["env"].as_vec().unwrap();
        let found = variables
            .iter()
            .find(|entry| entry["name"].as_str() == Some(name));
        found.unwrap_or_else(|| panic!("{name} is not set"))
    };
    let value = |name| variable(name)["value"].as_str().unwrap().to_owned();
    assert_eq!(value("HIVEMIND_SIZE").parse().ok(), size);
    assert_eq!(value("HIVEMIND_ROOT"), format!("{name}-0.{domain}:7000"));
    let field = &variable("HIVEMIND_JOB")["valueFrom"]["fieldRef"]["fieldPath"];
    assert_eq!(
        field.as_str(),
        Some("metadata.labels['batch.kubernetes.io/controller-uid']")
    );
    let mounts = container["volumeMounts"].as_vec().unwrap();
    let place = mounts[0]["mountPath"].as_str().unwrap();
    assert_eq!(value("HIVEMIND_KEY_FILE"), format!("{place}/key"));
    let secret = &pod["volumes"][0]["secret"]["secretName"];
    assert_eq!(secret.as_str(), Some("hivemind-key"));
}
