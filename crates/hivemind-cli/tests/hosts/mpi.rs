//! A real Open MPI, from Debian's packages: on one host, and on several by its own ssh.

use std::path::Path;

use crate::world::{World, world};

fn with_mpi(test: &str) -> Option<World> {
    if !Path::new("/usr/bin/mpirun.openmpi").exists() {
        println!("skipped: {test}: no openmpi-bin here; `cargo xtask test` as root installs it");
        return None;
    }
    let world = world(test)?;
    world.share(&["tour", "jacobi"]);
    Some(world)
}

/// Only root is in these worlds, and more drones than cores may be asked for.
const MPIRUN: &str = "\
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1; \
cd /root; export PATH=/root/bin:$PATH; ";

#[test]
fn mpirun_starts_drones_that_find_each_other_on_one_host() {
    let Some(world) = with_mpi("mpirun on one host") else {
        return;
    };
    // Two jobs at once, whose drones must not meet.
    let jobs = ["tour --check", "jacobi --size 259 --steps 50 --check"];
    let running = jobs.map(|job| {
        world
            .desk
            .start(&format!("{MPIRUN} mpirun.openmpi -n 4 {job}"))
    });
    for job in running {
        let ended = job.end();
        assert_eq!(ended.status, Some(0), "{ended:?}");
        let verdicts = ended.output.matches("check: equal to the serial answer");
        assert_eq!(verdicts.count(), 1, "{ended:?}");
    }
    world
        .desk
        .sh("! ls /dev/shm/hivemind* /tmp/hivemind* 2>/dev/null");
}

#[test]
fn mpirun_starts_drones_on_several_hosts_once_it_is_said_where_they_meet() {
    let Some(world) = with_mpi("mpirun on several hosts") else {
        return;
    };
    let words = "--host ann:2,bob:2 /root/bin/jacobi --size 259 --steps 50 --check";
    let untold = world
        .desk
        .try_sh(&format!("{MPIRUN} mpirun.openmpi {words}"));
    assert_ne!(untold.status, Some(0));
    assert!(
        untold
            .error
            .contains("set HIVEMIND_ROOT for all drones of the job, as in `mpirun -x"),
        "{untold:?}"
    );
    world.desk.write(
        "/root/mpirun.sh",
        include_str!("../../../../examples/mpirun.sh"),
    );
    world
        .desk
        .sh("mkdir -p /root/bin && ln -s /usr/bin/mpirun.openmpi /root/bin/mpirun");
    let example = "sh mpirun.sh ann:2,bob:2 /root/bin/jacobi --size 259 --steps 50 --check";
    let ended = world.desk.try_sh(&format!("{MPIRUN} {example}"));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let verdicts = ended.output.matches("check: equal to the serial answer");
    assert_eq!(verdicts.count(), 1, "{ended:?}");
}
