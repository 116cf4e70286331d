//! The environments that starters make, as they make them (captured from Open MPI 4.1, MPICH 4.0 and Slurm 22.05), and
//! their traps.

use super::super::seat::Root;
use super::super::tests::with;
use super::*;

type Variables<'a> = [(&'a str, &'a str)];

fn seat(parts: &[&Variables<'_>]) -> Result<Seat, String> {
    with(&parts.concat(), Seat::read)
}

fn right(parts: &[&Variables<'_>]) -> Seat {
    seat(parts).unwrap()
}

/// The first place where a seat's drone 0 is looked for, without the port.
fn host(seat: &Seat) -> &str {
    match &seat.root {
        Root::Addresses(addresses) => addresses[0].rsplit_once(':').unwrap().0,
        other => panic!("{other:?}"),
    }
}

/// Open MPI on one host.
const MPI: [(&str, &str); 5] = [
    ("OMPI_COMM_WORLD_RANK", "2"),
    ("OMPI_COMM_WORLD_SIZE", "4"),
    ("OMPI_COMM_WORLD_LOCAL_SIZE", "4"),
    ("PMIX_NAMESPACE", "229900289"),
    (
        "OMPI_MCA_orte_precondition_transports",
        "37334d6ba2020186-d5071ce9822c33bd",
    ),
];
/// MPICH's Hydra on one host: nothing of it tells one job from another.
const HYDRA: [(&str, &str); 3] = [
    ("PMI_RANK", "1"),
    ("PMI_SIZE", "2"),
    ("MPI_LOCALNRANKS", "2"),
];
const SLURM: [(&str, &str); 7] = [
    ("SLURM_PROCID", "0"),
    ("SLURM_STEP_NUM_TASKS", "3"),
    ("SLURM_JOB_ID", "17"),
    ("SLURM_STEP_ID", "5"),
    ("SLURM_STEP_NUM_NODES", "2"),
    ("SLURM_STEP_NODELIST", "node[3-4]"),
    ("SLURM_CPUS_ON_NODE", "16"),
];
const BATCH: [(&str, &str); 5] = [
    ("SLURM_PROCID", "0"),
    ("SLURM_JOB_ID", "17"),
    ("SLURM_JOB_NODELIST", "node[1-2]"),
    ("SLURM_NTASKS", "4"),
    ("SLURM_CPUS_ON_NODE", "16"),
];
const TORCH: [(&str, &str); 7] = [
    ("RANK", "1"),
    ("WORLD_SIZE", "4"),
    ("LOCAL_WORLD_SIZE", "2"),
    ("MASTER_ADDR", "node0"),
    ("MASTER_PORT", "29500"),
    ("TORCHELASTIC_RUN_ID", "none"),
    ("TORCHELASTIC_USE_AGENT_STORE", "True"),
];
const POD: [(&str, &str); 4] = [
    ("JOB_COMPLETION_INDEX", "3"),
    ("HIVEMIND_SIZE", "4"),
    ("HIVEMIND_JOB", "uid"),
    ("HIVEMIND_ROOT", "pi-0.pi:7000"),
];
const MEET: [(&str, &str); 1] = [("HIVEMIND_ROOT", "a:7")];
const NAMED: [(&str, &str); 1] = [("HIVEMIND_JOB", "mine")];

#[test]
fn each_starter_gives_rank_and_size() {
    for (parts, rank, size) in [
        (&[&MPI[..]][..], 2, 4),
        (&[&HYDRA, &NAMED], 1, 2),
        (&[&SLURM], 0, 3),
        (&[&TORCH], 1, 4),
        (&[&POD], 3, 4),
    ] {
        let found = right(parts);
        assert_eq!((found.rank, found.size), (rank, size));
    }
}

#[test]
fn on_one_host_drones_meet_on_the_loopback() {
    let one_node = [("SLURM_STEP_NUM_NODES", "1")];
    let one_host = [("LOCAL_WORLD_SIZE", "4")];
    for parts in [
        &[&MPI[..]][..],
        &[&HYDRA, &NAMED],
        &[&one_node, &SLURM],
        &[&one_host, &TORCH],
    ] {
        let found = right(parts);
        assert_eq!(host(&found), "127.0.0.1");
        assert!(!found.several_hosts);
    }
}

#[test]
fn on_several_hosts_drones_meet_where_rank_0_is() {
    let two_hosts = [("OMPI_COMM_WORLD_LOCAL_SIZE", "2")];
    for (parts, first) in [
        (&[&SLURM[..]][..], "node3"),
        // The step of mpirun's own daemons is without the first host.
        (&[&two_hosts, &MPI, &BATCH, &SLURM], "node1"),
        (&[&TORCH], "node0"),
        (&[&POD], "pi-0.pi"),
    ] {
        let found = right(parts);
        assert_eq!(host(&found), first);
        assert!(found.several_hosts);
    }
}

#[test]
fn a_root_that_we_are_told_wins() {
    for parts in [&[&MEET[..], &MPI][..], &[&MEET, &SLURM], &[&MEET, &TORCH]] {
        assert_eq!(right(parts).root, Root::Addresses(vec!["a:7".to_owned()]));
    }
    let file = [("HIVEMIND_ROOT", "file:/shared/root")];
    let found = right(&[&file, &SLURM]);
    assert_eq!(found.root, Root::File("/shared/root".into()));
    assert!(found.several_hosts);
}

#[test]
fn jobs_of_a_user_have_different_names_and_meet_at_different_ports() {
    let other_job = [("SLURM_JOB_ID", "18")];
    let other_step = [("SLURM_STEP_ID", "6")];
    let other_port = [("MASTER_PORT", "29501")];
    let restarted = [("TORCHELASTIC_RESTART_COUNT", "1")];
    let other_mpi = [("OMPI_MCA_orte_precondition_transports", "1-2")];
    let other_name = [("HIVEMIND_JOB", "yours")];
    let pairs: [(&[&Variables<'_>], &Variables<'_>); 6] = [
        (&[&SLURM], &other_job),
        (&[&SLURM], &other_step),
        (&[&TORCH], &other_port),
        (&[&TORCH], &restarted),
        (&[&MPI], &other_mpi),
        (&[&NAMED, &HYDRA], &other_name),
    ];
    for (parts, other) in pairs {
        let (one, two) = (right(parts), right(&[&[other], parts].concat()));
        assert_ne!(one.job, two.job);
        assert_ne!(one.root, two.root);
    }
}

#[test]
fn inside_a_batch_script_open_mpi_wins_over_slurm_and_ours_over_both() {
    let both = [&SLURM[..], &MPI[..], &MEET];
    assert_eq!(right(&both).rank, 2);
    let ours = [("HIVEMIND_RANK", "1"), ("HIVEMIND_SIZE", "2")];
    let found = right(&[&both[..], &[&ours]].concat());
    assert_eq!((found.rank, found.size), (1, 2));
}

#[test]
fn a_batch_script_is_no_drone_of_a_step() {
    assert_eq!(right(&[&BATCH]), Seat::alone());
    // Nor is what an allocation's shell starts, which is a step of one task.
    let shell = [
        ("SLURM_STEP_ID", "4294967290"),
        ("SLURM_STEP_NUM_TASKS", "1"),
    ];
    assert_eq!(right(&[&shell, &SLURM]).root, Root::Alone);
}

#[test]
fn where_srun_speaks_pmi_it_tells_the_place_itself() {
    let pmi = [("PMI_RANK", "0"), ("PMI_SIZE", "3"), ("PMI_JOBID", "17.5")];
    assert_eq!(right(&[&pmi, &SLURM]), right(&[&SLURM]));
    // Another process manager inside an allocation is no srun.
    let found = right(&[&MEET, &NAMED, &HYDRA, &SLURM]);
    assert_eq!((found.rank, found.size), (1, 2));
}

#[test]
fn slurm_tells_how_many_cores_the_job_has_here() {
    assert_eq!(right(&[&SLURM]).cores, Some(16));
    assert_eq!(right(&[&MPI]).cores, None);
}

#[test]
fn words_that_anybody_uses_are_no_torchrun() {
    let words = [("RANK", "general"), ("WORLD_SIZE", "large")];
    assert_eq!(right(&[&words]), Seat::alone());
    let error = seat(&[&words[..1], &TORCH]).unwrap_err();
    assert!(error.starts_with("RANK=general is wrong"), "{error}");
}

#[test]
fn a_store_on_the_loopback_means_one_host() {
    for address in ["localhost", "127.0.0.1", "::1", "[::1]"] {
        let local = [("MASTER_ADDR", address), ("LOCAL_WORLD_SIZE", "")];
        assert!(!right(&[&local, &TORCH]).several_hosts, "{address}");
    }
    let far = [("MASTER_ADDR", "fd00::7")];
    assert_eq!(host(&right(&[&far, &TORCH])), "[fd00::7]");
}

#[test]
fn a_partial_set_names_what_is_missing() {
    for (variables, missing) in [
        (&MPI[..1], "OMPI_COMM_WORLD_SIZE is not"),
        (&MPI[1..], "OMPI_COMM_WORLD_RANK is not"),
        (&HYDRA[..1], "PMI_SIZE is not"),
        (&HYDRA[1..], "PMI_RANK is not"),
        (&SLURM[1..], "SLURM_PROCID is not"),
        (&TORCH[1..], "RANK is not"),
        (&POD[..1], "HIVEMIND_SIZE is not"),
    ] {
        let error = seat(&[variables]).unwrap_err();
        assert!(error.contains(missing), "{error}");
    }
}

#[test]
fn what_nobody_tells_is_asked_for_by_name() {
    let two_hosts = [("OMPI_COMM_WORLD_LOCAL_SIZE", "2")];
    let ranks_here = [("MPI_LOCALNRANKS", "1")];
    let no_list = [("SLURM_STEP_NODELIST", "")];
    let no_name = [("SLURM_JOB_ID", "")];
    for (parts, variable, example) in [
        (
            &[&two_hosts[..], &MPI][..],
            "HIVEMIND_ROOT",
            "mpirun -x HIVEMIND_ROOT=",
        ),
        (&[&MPI[..3]], "HIVEMIND_JOB", "mpirun -x HIVEMIND_JOB="),
        (&[&HYDRA], "HIVEMIND_JOB", "mpiexec -genv HIVEMIND_JOB"),
        (
            &[&ranks_here, &NAMED, &HYDRA],
            "HIVEMIND_ROOT",
            "mpiexec -genv HIVEMIND_ROOT",
        ),
        (
            &[&no_list, &SLURM],
            "HIVEMIND_ROOT",
            "HIVEMIND_ROOT=a:7000 srun",
        ),
        (
            &[&no_name, &SLURM],
            "HIVEMIND_JOB",
            "HIVEMIND_JOB=$(date +%s%N) srun",
        ),
        (&[&POD[..2]], "HIVEMIND_JOB", "examples/kubernetes.yaml"),
        (&[&POD[..3]], "HIVEMIND_ROOT", "examples/kubernetes.yaml"),
    ] {
        let error = seat(parts).unwrap_err();
        let wanted = format!(": set {variable} for all drones of the job, ");
        assert!(error.contains(&wanted), "{error}");
        assert!(error.contains(example), "{error}");
    }
}

#[test]
fn values_that_cannot_be_are_named_with_what_is_allowed() {
    let wrong_list = [("SLURM_STEP_NODELIST", "node[a")];
    let too_many = [("OMPI_COMM_WORLD_LOCAL_SIZE", "5")];
    let no_port = [("MASTER_PORT", "0")];
    for (parts, begin) in [
        (
            &[&wrong_list[..], &SLURM][..],
            "SLURM_STEP_NODELIST=node[a is wrong: allowed is a list of hosts",
        ),
        (
            &[&too_many, &MPI],
            "OMPI_COMM_WORLD_LOCAL_SIZE=5 is wrong: allowed is a number of drones from 1 to 4",
        ),
        (
            &[&no_port, &TORCH],
            "MASTER_PORT=0 is wrong: allowed is a port",
        ),
    ] {
        let error = seat(parts).unwrap_err();
        assert!(error.starts_with(begin), "{error}");
    }
}
