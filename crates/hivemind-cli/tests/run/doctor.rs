//! `hivemind doctor` on this machine, and what is generated from the command line.

use std::process::{Command, Output};

fn hivemind(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hivemind"));
    for (variable, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HIVEMIND_"))
    {
        command.env_remove(variable);
    }
    command
        .args(words)
        .env("NO_COLOR", "1")
        .output()
        .expect("the command starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn this_machine_is_found_fit_for_a_small_job() {
    let found = hivemind(&["doctor", "-n", "2", "--region", "16M"]);
    let said = text(&found.stdout);
    assert!(found.status.success(), "{said}{}", text(&found.stderr));
    for engine in hivemind::fault_engines() {
        let works = format!("{} works", engine.name);
        assert_eq!(said.contains(&works), engine.refusal.is_none(), "{said}");
    }
    for part in [
        "kernel",
        "page faults",
        "mprotect works",
        "memory",
        "limits",
        "A job can run",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn what_a_run_would_refuse_is_a_failure_with_what_to_do() {
    let found = hivemind(&["doctor", "-n", "60000", "--region", "64T"]);
    let said = text(&found.stdout);
    assert_eq!(found.status.code(), Some(1), "{said}");
    assert!(said.contains("→ ask for a smaller --region"), "{said}");
    assert!(said.contains("2 failures"), "{said}");
}

#[test]
fn a_key_that_others_can_read_is_told_as_a_drone_would_tell_it() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().expect("a directory");
    let key = home.path().join(".config/hivemind/key");
    std::fs::create_dir_all(key.parent().expect("a folder")).expect("it can be made");
    std::fs::write(&key, format!("{:064}\n", 7)).expect("it can be written");
    let look = |mode| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("it is ours");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hivemind"));
        command
            .args(["doctor", "--region", "16M"])
            .env("HOME", home.path());
        let found = command
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("HIVEMIND_KEY_FILE")
            .output();
        text(&found.expect("the command starts").stdout)
    };
    let exposed = look(0o644);
    assert!(
        exposed.contains("is no secret") && exposed.contains("1 warning"),
        "{exposed}"
    );
    let private = look(0o600);
    assert!(
        private.contains("own key") && !private.contains("is no secret"),
        "{private}"
    );
}

#[test]
fn a_program_that_is_not_there_is_a_wrong_command_line() {
    let found = hivemind(&["doctor", "no-such-program"]);
    assert_eq!(found.status.code(), Some(127));
}

#[test]
fn completions_know_every_subcommand_and_bash_reads_them() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let made = hivemind(&["completions", shell]);
        assert!(made.status.success());
        let script = text(&made.stdout);
        for word in [
            "run",
            "doctor",
            "deploy",
            "clean",
            "trace",
            "bench",
            "metadata-limit",
        ] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        assert!(!script.contains("__agent"), "{shell}");
    }
    let place = tempfile::tempdir().expect("a directory");
    let script = place.path().join("hivemind");
    std::fs::write(&script, hivemind(&["completions", "bash"]).stdout).expect("it can be written");
    let read = Command::new("bash")
        .arg("-n")
        .arg(&script)
        .status()
        .expect("bash starts");
    assert!(read.success());
}

#[test]
fn there_is_a_manual_page_a_subcommand() {
    let place = tempfile::tempdir().expect("a directory");
    let made = hivemind(&["man", place.path().to_str().expect("plain")]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    for page in [
        "hivemind",
        "hivemind-run",
        "hivemind-doctor",
        "hivemind-deploy",
        "hivemind-clean",
        "hivemind-trace-merge",
        "hivemind-bench",
    ] {
        let page = place.path().join(format!("{page}.1"));
        let written = std::fs::read_to_string(&page)
            .unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(
            written.contains(".TH hivemind") && written.contains(".SH NAME"),
            "{}",
            page.display()
        );
    }
    let run = std::fs::read_to_string(place.path().join("hivemind-run.1")).expect("it is there");
    for option in ["silence\\-limit", "encrypt", "hive"] {
        assert!(run.contains(option), "{option}");
    }
    let elsewhere = hivemind(&["man", "/proc/no-such-directory"]);
    assert_eq!(
        elsewhere.status.code(),
        Some(74),
        "{}",
        text(&elsewhere.stderr)
    );
    assert!(text(&hivemind(&["man"]).stdout).contains(".TH hivemind"));
}
