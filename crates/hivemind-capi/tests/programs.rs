//! The example programs, built with the installed command and run on several drones under every fault engine: each gives
//! the answer that one drone alone computes.

mod installed;

use std::collections::BTreeSet;

use installed::{Installed, installed};
use object::{Object, ObjectSymbol};

/// Builds a program and runs it on 1, 2, 4 and 8 drones, under every engine that works here.
fn gives_the_serial_answer(language: &str, source: &str) {
    let words = ["-O2", "-Wall", "-Wextra", "-Werror"];
    gives_it_when_built_with(&words, language, source);
}

/// The same with these words for the compiler. The program is told how many drones there are.
fn gives_it_when_built_with(words: &[&str], language: &str, source: &str) {
    let here = installed();
    let Some(program) = here.build_with(language, source, words) else {
        return;
    };
    for engine in Installed::engines() {
        for drones in [1, 2, 4, 8] {
            let settings = [("HIVEMIND_ENGINE", engine.as_str())];
            let told = here.run(drones, &settings, &program, &[&drones.to_string()]);
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
fn a_bounded_buffer_in_c_with_conditions() {
    gives_the_serial_answer("cc", "buffer.c");
}

#[test]
fn locks_that_are_tried_in_c() {
    gives_the_serial_answer("cc", "tries.c");
}

#[test]
fn fork_and_join_in_c() {
    gives_the_serial_answer("cc", "fork.c");
}

#[test]
fn a_program_of_treadmarks_names() {
    gives_the_serial_answer("cc", "treadmarks.c");
}

/// What a program of PARMACS macros is built with: it includes nothing itself.
const PARMACS: [&str; 5] = ["-O2", "-Wall", "-Wextra", "-include", "hivemind/parmacs.h"];

#[test]
fn a_program_of_parmacs_macros() {
    gives_it_when_built_with(&PARMACS, "cc", "parmacs.c");
}

#[test]
fn processes_of_parmacs_may_be_fewer_than_drones_but_not_more() {
    let here = installed();
    let Some(program) = here.build_with("cc", "parmacs.c", &PARMACS) else {
        return;
    };
    let told = here.run(4, &[], &program, &["3"]);
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    let told = here.run(2, &[], &program, &["3"]);
    let text = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(70), "{text}");
    assert!(
        text.contains("start with more (hivemind run -n 3)"),
        "{text}"
    );
}

#[test]
fn who_writes_to_a_variable_of_the_program_after_create_is_told_its_name() {
    let here = installed();
    let Some(program) = here.build_with("cc", "parmacs.c", &PARMACS) else {
        return;
    };
    let quiet = here.run(2, &[], &program, &["2"]);
    assert!(!String::from_utf8_lossy(&quiet.stderr).contains("wrote to variables"));
    let told = here.run(2, &[], &program, &["2", "scribble"]);
    let text = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{text}");
    assert!(
        text.contains(
            "drone 1 wrote to variables of the program after they were handed on: scribble;"
        ),
        "{text}"
    );
}

#[test]
fn a_program_that_may_lie_anywhere_is_told_how_to_link_before_it_creates() {
    let here = installed();
    let mut words = PARMACS.to_vec();
    words.push("-pie");
    let Some(program) = here.build_with("cc", "parmacs.c", &words) else {
        return;
    };
    let told = here.run(2, &[], &program, &["2"]);
    let text = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(70), "{text}");
    assert!(text.contains("-no-pie"), "{text}");
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
    let fortran = here.read("include/hivemind.f90");
    for name in here.calls() {
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

#[test]
fn the_shared_library_has_the_calls_of_the_header_and_no_name_beside_them() {
    let bytes = installed().read_bytes("lib/libhivemind.so");
    let library = object::File::parse(&*bytes).expect("it is a library");
    let defined = library
        .dynamic_symbols()
        .filter(ObjectSymbol::is_definition);
    let names = defined.map(|symbol| symbol.name().expect("a name is text").to_owned());
    assert_eq!(names.collect::<BTreeSet<_>>(), installed().calls());
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
