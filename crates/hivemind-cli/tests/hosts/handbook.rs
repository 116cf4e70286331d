//! `docs/OPERATING.md` takes a newcomer from two bare hosts to a running Jacobi: its commands are run as they
//! stand there.

use crate::world::{BINARIES, world};

/// The handbook's first block of commands.
fn commands() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/OPERATING.md");
    let text = std::fs::read_to_string(path).expect("the handbook is there");
    let block = text
        .split("```console")
        .nth(1)
        .expect("a block of commands");
    let block = block.split("```").next().unwrap_or_default();
    let command = |line: &str| {
        let command = line.strip_prefix("$ ")?;
        // What stands behind it is for readers.
        Some(
            command
                .split(" # ")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned(),
        )
    };
    block.lines().filter_map(command).collect()
}

#[test]
fn five_commands_lead_to_a_running_jacobi() {
    let commands = commands();
    assert!((2..=5).contains(&commands.len()), "{commands:?}");
    let Some(world) = world("the handbook's commands") else {
        return;
    };
    // A checkout, as far as the commands see it; the first of them builds it, which has been done.
    assert_eq!(commands[0], "cargo build --release");
    world.desk.sh(&format!(
        "mkdir -p /root/hivemind/target/release && mount --bind {BINARIES} /root/hivemind/target/release"
    ));
    // Two bare hosts, and a newcomer who has never been there.
    world.desk.sh(
        "sed -e 's/^10.42.0.1 ann/10.42.0.1 a/; s/^10.42.0.2 bob/10.42.0.2 b/' /etc/hosts > /mnt/names && cat /mnt/names > /etc/hosts; \
         rm /root/.ssh/known_hosts; printf 'Host *\\n  StrictHostKeyChecking accept-new\\n' > /root/.ssh/config",
    );
    let mut last = None;
    for command in &commands[1..] {
        let ended = world
            .desk
            .try_sh(&format!("cd /root/hivemind && {command}"));
        assert_eq!(ended.status, Some(0), "{command}: {ended:?}");
        last = Some(ended);
    }
    let last = last.expect("a command");
    assert!(
        last.output.contains("check: equal to the serial answer"),
        "{last:?}"
    );
    world.expect_nothing_left(&["ann", "bob"]);
}
