//! The example programs, built with the installed command and run on several drones under every fault engine: each gives
//! the answer that one drone alone computes.

mod installed;

use installed::{Installed, installed};

/// Builds a program and runs it on 1, 2, 4 and 8 drones, under every engine that works here.
fn gives_the_serial_answer(language: &str, source: &str) {
    let here = installed();
    let Some(program) = here.build(language, source) else {
        return;
    };
    for engine in Installed::engines() {
        for drones in [1, 2, 4, 8] {
            let told = here.run(drones, &[("HIVEMIND_ENGINE", &engine)], &program, &[]);
            assert!(
                told.status.success(),
                "{source} on {drones} drones under {engine}: {}\n{}{}",
                told.status,
                String::from_utf8_lossy(&told.stdout),
                String::from_utf8_lossy(&told.stderr)
            );
        }
    }
}

#[test]
fn a_work_queue_in_c() {
    gives_the_serial_answer("cc", "queue.c");
}

#[test]
fn a_hash_table_in_c_built_by_all() {
    gives_the_serial_answer("cc", "table.c");
}

#[test]
fn a_plate_in_cxx() {
    gives_the_serial_answer("c++", "heat.cpp");
}

#[test]
fn a_matrix_product_in_fortran() {
    gives_the_serial_answer("fc", "product.f90");
}

#[test]
fn every_mistake_gets_its_documented_status() {
    let here = installed();
    let Some(program) = here.build("cc", "misuse.c") else {
        return;
    };
    for engine in Installed::engines() {
        for (drones, words) in [(1, &[][..]), (2, &[]), (2, &["mismatch"])] {
            let told = here.run(drones, &[("HIVEMIND_ENGINE", &engine)], &program, words);
            let text = String::from_utf8_lossy(&told.stdout);
            assert!(
                told.status.success() && text.is_empty(),
                "{drones} {words:?}: {text}"
            );
        }
    }
}

#[test]
fn an_error_that_is_fatal_ends_the_process_with_its_text() {
    let here = installed();
    let Some(program) = here.build("cc", "misuse.c") else {
        return;
    };
    let told = here.run(1, &[], &program, &["fatal"]);
    let text = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(70), "{text}");
    assert!(text.contains("lock 5 is not held by this drone"), "{text}");
    assert!(told.stdout.is_empty());
}

#[test]
fn a_program_that_is_linked_with_the_archive_needs_no_library() {
    let here = installed();
    let Some(program) = here.build_with("cc", "table.c", &["-static"]) else {
        return;
    };
    let told = here.run(2, &[], &program, &[]);
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
}

#[test]
fn pkg_config_says_what_the_wrapper_says() {
    let here = installed();
    let Some(words) = here.pkg_config() else {
        return;
    };
    let shown = here
        .hivemind()
        .args(["cc", "--show", "a.c"])
        .output()
        .expect("the command can be run");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for word in words.split_whitespace() {
        assert!(
            shown.split_whitespace().any(|told| told == word),
            "{word}: {shown}"
        );
    }
    assert!(words.contains("-lhivemind"), "{words}");
}

#[test]
fn each_call_has_a_page_in_the_manual_and_an_interface_for_fortran() {
    let here = installed();
    let header = here.read("include/hivemind.h");
    let fortran = here.read("include/hivemind.f90");
    let calls = header
        .lines()
        .filter(|line| !line.starts_with("//") && line.contains('('));
    let names = calls.filter_map(|line| line.split('(').next()?.rsplit([' ', '*']).next());
    let names: Vec<&str> = names.filter(|name| name.starts_with("hive_")).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(
            here.read(&format!("share/man/man3/{name}.3"))
                .contains(".SH DESCRIPTION")
        );
        assert!(
            fortran.contains(&format!("function {name}("))
                || fortran.contains(&format!("subroutine {name}(")),
            "{name} is missing in hivemind.f90"
        );
    }
}

/// The border itself under valgrind: a hive of one, with the engine that valgrind can follow.
#[test]
fn the_border_is_clean_under_valgrind() {
    let here = installed();
    let Some(program) = here.build_with("cc", "border.c", &["-g", "-Wall", "-Wextra", "-Werror"])
    else {
        return;
    };
    let Some(told) = here.under_valgrind(&program) else {
        return;
    };
    let text = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{text}");
    assert!(text.contains("ERROR SUMMARY: 0 errors"), "{text}");
}
