//! A real Slurm on the four hosts: its daemons and munge's, from Debian's packages, with their files in each place. They
//! end with the world.

use std::path::Path;

use crate::world::{HOSTS, World, world};

const CONFIGURATION: &str = "\
ClusterName=hive
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/root/state
SlurmdSpoolDir=/root/spool
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/root/slurmctld.log
SlurmdLogFile=/root/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
NodeName=ann NodeAddr=10.42.0.1 CPUs=8
NodeName=bob NodeAddr=10.42.0.2 CPUs=8
NodeName=cid NodeAddr=10.42.0.3 CPUs=8
NodeName=dot NodeAddr=10.42.0.4 CPUs=8
PartitionName=all Nodes=ann,bob,cid,dot Default=YES OverSubscribe=FORCE:4 State=UP
";

const MUNGE: &str = "\
mkdir -p -m 755 /run/munge && chmod 400 /root/munge.key && munged --force --key-file=/root/munge.key \
--socket=/run/munge/munge.socket.2 --pid-file=/run/munge/pid --seed-file=/root/munge.seed --log-file=/root/munged.log";

const SETTING: &str = "export SLURM_CONF=/root/slurm.conf; cd /root;";

/// A world with a cluster, or none where there is no Slurm; the reason is printed.
fn cluster(test: &str) -> Option<World> {
    let programs = [
        "/usr/sbin/slurmctld",
        "/usr/sbin/slurmd",
        "/usr/bin/srun",
        "/usr/sbin/munged",
    ];
    if let Some(missing) = programs.iter().find(|path| !Path::new(path).exists()) {
        println!("skipped: {test}: no {missing} here; `cargo xtask test` as root installs it");
        return None;
    }
    let world = world(test)?;
    world.share(&["tour", "jacobi"]);
    let munge_key = world
        .desk
        .sh("od -An -vtx1 -N64 /dev/urandom | tr -d ' \\n'");
    let name = world.desk.sh("hostname");
    let controller = format!(
        "SlurmctldHost={}(10.42.0.254)\n{CONFIGURATION}",
        name.trim()
    );
    let hosts = HOSTS.iter().map(|name| world.host(name));
    for place in std::iter::once(&world.desk).chain(hosts) {
        place.write("/root/munge.key", &munge_key);
        place.write("/root/slurm.conf", &controller);
        place.sh(MUNGE);
    }
    world.desk.sh(&format!("{SETTING} mkdir state; slurmctld"));
    for name in HOSTS {
        world.host(name).sh(&format!("{SETTING} slurmd -N {name}"));
    }
    let up = "i=0; until [ \"$(sinfo -h -o %T | sort -u)\" = idle ]; do i=$((i + 1)); [ $i -lt 100 ] || exit 1; sleep 0.1; done";
    if world.desk.try_sh(&format!("{SETTING} {up}")).status != Some(0) {
        let log = world.desk.sh("tail -n 3 /root/slurmctld.log");
        println!(
            "skipped: {test}: Slurm does not come up here: {}",
            log.trim()
        );
        return None;
    }
    Some(world)
}

/// Runs a script where Slurm's commands find their cluster. The launcher, if it is one, notes its number.
fn submit(script: &str) -> String {
    format!("{SETTING} export PATH=/root/bin:$PATH; {script}")
}

/// The hosts of an allocation, which is waited for: left to itself, Slurm takes others while these still end a job.
const ALLOCATION: &str = "--nodelist=ann,bob";

/// `hivemind run` with these words in an allocation of two hosts and four tasks.
fn allocated(words: &str) -> String {
    submit(&format!(
        "salloc --quiet {ALLOCATION} --nodes=2 --ntasks=4 sh -c 'echo $$ >> /mnt/launchers; exec hivemind run {words}'"
    ))
}

#[test]
fn srun_starts_drones_that_find_each_other_on_several_hosts() {
    let Some(world) = cluster("srun on several hosts") else {
        return;
    };
    // Two steps at once, whose drones must not meet, and one on a single host.
    let steps = [
        "srun --nodes=2 --ntasks=4 tour --check",
        "srun --nodes=4 --ntasks=4 jacobi --size 259 --steps 50 --check",
        "srun --nodes=1 --ntasks=3 tour --check",
        "srun --nodes=2 --ntasks=2 --mpi=pmi2 tour --check",
    ];
    let running = steps.map(|step| world.desk.start(&submit(step)));
    for (step, job) in steps.iter().zip(running) {
        let ended = job.end();
        assert_eq!(ended.status, Some(0), "{step}: {ended:?}");
        let verdicts = ended.output.matches("check: equal to the serial answer");
        assert_eq!(verdicts.count(), 1, "{step}: {ended:?}");
    }
    for name in HOSTS {
        world
            .host(name)
            .sh("! ls /dev/shm/hivemind* /tmp/hivemind* 2>/dev/null");
    }
}

#[test]
fn a_batch_script_runs_the_example_and_the_command() {
    let Some(world) = cluster("a batch script") else {
        return;
    };
    let example = include_str!("../../../../examples/slurm.sh");
    // A batch script runs on the allocation's first host.
    let command = "#!/bin/sh\n#SBATCH --nodes=2 --ntasks=4\nhivemind run jacobi --size 259 --steps 50 --check\n";
    for (script, words, prefix) in [
        (example, "jacobi --size 259 --steps 50 --check", "0: "),
        (command, "", "[0] "),
    ] {
        world.desk.write("/root/job.sh", script);
        let job = format!("sbatch --wait {ALLOCATION} --output=/root/job.out /root/job.sh {words}");
        let ended = world.desk.try_sh(&submit(&job));
        let output = world.host("ann").try_sh("cat /root/job.out").output;
        assert_eq!(ended.status, Some(0), "{ended:?}: {output}");
        let verdict = format!("{prefix}check: equal to the serial answer");
        assert_eq!(output.matches(&verdict).count(), 1, "{output}");
    }
}

#[test]
fn inside_an_allocation_the_command_starts_drones_by_srun() {
    let Some(world) = cluster("hivemind run in an allocation") else {
        return;
    };
    let script = "sh -c \"echo \\$SLURM_PROCID of \\$SLURM_STEP_NUM_TASKS on \\$SLURMD_NODENAME, \\$HIVEMIND_REGION\"";
    let ended = world
        .desk
        .try_sh(&allocated(&format!("--region 64M {script}")));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let mut lines: Vec<&str> = ended.output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 4, "{ended:?}");
    for (rank, line) in lines.iter().enumerate() {
        assert!(
            line.starts_with(&format!("[{rank}] {rank} of 4 on ")),
            "{lines:?}"
        );
        assert!(line.ends_with(", 67108864"), "{lines:?}");
    }
    assert!(
        ended.output.contains(" on ann,") && ended.output.contains(" on bob,"),
        "{lines:?}"
    );
    let fed = world.desk.try_sh(&allocated("cat < /mnt/hosts"));
    assert!(
        fed.output.starts_with("[0] 127.0.0.1 localhost\n"),
        "{fed:?}"
    );
    assert!(!fed.output.contains("[1]"), "{fed:?}");
    let here = world
        .desk
        .try_sh(&allocated("--launcher local -n 2 tour --check"));
    assert_eq!(here.status, Some(0), "{here:?}");
    let shown = world.desk.try_sh(&allocated("--dry-run tour --check"));
    let wanted = "command    srun --export=ALL --kill-on-bad-exit=1 --ntasks=4 --nodes=2 --input=0 --label -- /root/bin/tour --check\n";
    assert!(shown.output.starts_with(wanted), "{shown:?}");
}

#[test]
fn the_first_drone_that_fails_under_srun_is_named_and_gives_the_status() {
    let Some(world) = cluster("blame under srun") else {
        return;
    };
    for (end, status, words) in [
        ("exit 3", 3, "exited with status 3"),
        (
            "kill -SEGV \\$\\$",
            139,
            "was killed by signal 11 (SIGSEGV)",
        ),
    ] {
        let script =
            format!("sh -c \"sleep 0.3; [ \\$SLURM_PROCID = 2 ] && {end}; exec sleep 1234\"");
        let ended = world.desk.try_sh(&allocated(&script));
        assert_eq!(ended.status, Some(status), "{ended:?}");
        let sentence = format!("drone 2 (on host ann) {words}; ending the other 3 drones");
        let other = sentence.replace("ann", "bob");
        assert!(
            ended.error.contains(&sentence) || ended.error.contains(&other),
            "{ended:?}"
        );
        world.expect_none_of("sleep 1234");
    }
    let refused = world.desk.try_sh(&allocated("-n 1000 true"));
    assert!(
        refused
            .error
            .contains("srun, which starts the drones, exited with status"),
        "{refused:?}"
    );
    assert_ne!(refused.status, Some(0));
}

#[test]
fn drones_under_srun_end_with_their_launcher() {
    let Some(world) = cluster("the launcher's end under srun") else {
        return;
    };
    for (signal, status) in [("INT", Some(130)), ("TERM", Some(143)), ("KILL", None)] {
        let job = world
            .desk
            .start(&allocated("sh -c \"echo here; exec sleep 4321\""));
        job.lines(4);
        world.signal_launcher(signal);
        let ended = job.end();
        if status.is_some() {
            assert_eq!(ended.status, status, "{signal}: {ended:?}");
        }
        world.expect_none_of("sleep 4321");
        let directories = world
            .desk
            .sh("ls -d /dev/shm/hivemind-* 2>/dev/null || true");
        assert_eq!(directories, "", "{signal}");
    }
}
