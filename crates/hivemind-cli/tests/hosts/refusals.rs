//! What keeps a job from starting: every host with a trouble is named at once, with a remedy, and nothing starts.

use crate::world::{HOSTS, world};

#[test]
fn every_host_that_cannot_take_part_is_named_and_nothing_starts() {
    let Some(world) = world("hosts that cannot take part") else {
        return;
    };
    // Another host key than the one that is known, another key than the one that is accepted, nobody there.
    world.desk.sh(
        "ssh-keygen -q -t ed25519 -N '' -f /mnt/other && \
         sed -i \"s|^bob.*|bob,10.42.0.2 $(cut -d' ' -f1,2 /mnt/other.pub)|\" /root/.ssh/known_hosts",
    );
    let other = world.desk.sh("cat /mnt/other.pub");
    world
        .host("cid")
        .write("/root/.ssh/authorized_keys", &other);
    let ended = world.hive("run --hosts ann,bob,cid,nobody,dot sh -c 'touch /root/started'");
    assert_eq!(ended.status, Some(69), "{ended:?}");
    assert_eq!(ended.output, "");
    for part in [
        "3 of 5 hosts cannot take part; nothing was started",
        "host bob: its host key is not the one in known_hosts",
        "ssh-keygen -R bob",
        "host cid: it accepts none of your keys; `ssh-copy-id cid`",
        "host nobody: it cannot be reached",
    ] {
        assert!(ended.error.contains(part), "{} lacks {part}", ended.error);
    }
    for host in ["ann", "dot"] {
        let named = ended.error.contains(&format!("host {host}:"));
        assert!(!named, "{}", ended.error);
        world.host(host).sh("! test -e /root/started");
    }
    world.expect_nothing_left(&HOSTS);
}

#[test]
fn an_unknown_host_key_is_never_accepted_silently() {
    let Some(world) = world("an unknown host key") else {
        return;
    };
    world.desk.sh("sed -i '/^bob/d' /root/.ssh/known_hosts");
    let ended = world.hive("run --hosts ann,bob true");
    assert_eq!(ended.status, Some(69), "{ended:?}");
    assert!(
        ended
            .error
            .contains("host bob: its host key is unknown here"),
        "{ended:?}"
    );
    world.desk.sh("! grep -q ^bob /root/.ssh/known_hosts");
}

#[test]
fn a_program_for_another_machine_is_refused_by_every_host() {
    let Some(world) = world("another CPU type") else {
        return;
    };
    // A header alone: 64 bits, little endian, RISC-V.
    world.desk.sh(
        "{ printf '\\177ELF\\002\\001\\001'; head -c 9 /dev/zero; printf '\\002\\000\\363\\000'; head -c 44 /dev/zero; } \
         > /root/foreign && chmod +x /root/foreign",
    );
    let ended = world.hive("run --hosts ann,bob ./foreign");
    assert_eq!(ended.status, Some(69), "{ended:?}");
    for host in ["ann", "bob"] {
        let named = format!("host {host}: the program is for machines of the type riscv64");
        assert!(ended.error.contains(&named), "{ended:?}");
    }
    world.expect_nothing_left(&["ann", "bob"]);
}

#[test]
fn a_missing_library_and_a_full_disk_are_told_by_the_host() {
    let Some(world) = world("a missing library") else {
        return;
    };
    // The host's own `ldd` says so.
    world.host("bob").sh(
        "mkdir /mnt/bin; mount -t tmpfs none /mnt && printf '#!/bin/sh\\necho \"libmagic.so.9 => not found\"\\n' > /mnt/ldd && \
         chmod +x /mnt/ldd && mount --bind /mnt/ldd $(command -v ldd)",
    );
    let ended = world.hive("run --hosts ann,bob pi");
    assert_eq!(ended.status, Some(69), "{ended:?}");
    assert!(
        ended
            .error
            .contains("host bob: libraries of the program are missing there: libmagic.so.9"),
        "{ended:?}"
    );
    // There is room for the command, but not for a program.
    world
        .host("ann")
        .sh("used=$(du -sk /root/.cache | cut -f1); mount -o remount,size=$((used + 3000))k /root");
    let ended = world.hive("run --hosts ann,cid jacobi");
    assert_eq!(ended.status, Some(69), "{ended:?}");
    assert!(ended.error.contains("host ann: /root"), "{ended:?}");
    assert!(ended.error.contains("the programs need"), "{ended:?}");
    world.expect_nothing_left(&["ann", "bob", "cid"]);
}
