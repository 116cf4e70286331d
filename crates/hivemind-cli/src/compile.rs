//! `hivemind cc`, `hivemind c++` and `hivemind fc`: become the system's compiler, told where the library is.
//!
//! Deliberately elsewhere: the library itself (`hivemind-capi`), and how it came to lie beside this command (`cargo xtask
//! install`). Build systems that prefer it ask pkg-config for `hivemind`.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;
use crate::trouble::{NOT_EXECUTABLE, NOT_FOUND, Trouble};

/// A language, with its compiler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Language {
    /// The variable that names another compiler.
    variable: &'static str,
    compiler: &'static str,
    package: &'static str,
}

pub(crate) const C: Language = Language {
    variable: "HIVEMIND_CC",
    compiler: "cc",
    package: "gcc",
};
pub(crate) const CXX: Language = Language {
    variable: "HIVEMIND_CXX",
    compiler: "c++",
    package: "g++",
};
pub(crate) const FORTRAN: Language = Language {
    variable: "HIVEMIND_FC",
    compiler: "gfortran",
    package: "gfortran",
};

/// What the archive needs of the system, as `rustc --print native-static-libs` says.
const ARCHIVE_NEEDS: &[&str] = &["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl"];

/// Words after which nothing is linked.
const UNLINKED: &[&str] = &["-c", "-S", "-E", "-M", "-MM", "-fsyntax-only"];

/// Becomes the compiler, or prints with `--show` what it would become.
///
/// # Errors
/// The library isn't installed beside this command, or there is no compiler.
pub(crate) fn run(language: Language, arguments: &[OsString]) -> Result<u8, Trouble> {
    let prefix = prefix()?;
    let chosen = std::env::var_os(language.variable).filter(|word| !word.is_empty());
    let compiler = chosen.unwrap_or_else(|| language.compiler.into());
    let show = arguments.first().is_some_and(|word| word == "--show");
    let words = words(&prefix, &arguments[usize::from(show)..]);
    if show {
        let all = std::iter::once(&compiler).chain(&words);
        let line = all.map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        return run::print(&format!("{line}\n"), "the command");
    }
    let error = Command::new(&compiler).args(words).exec();
    let compiler = Path::new(&compiler).display();
    let (status, remedy) = match error.kind() {
        std::io::ErrorKind::NotFound => (
            NOT_FOUND,
            format!(
                "; install it (on Debian: `apt install {}`) or name another in {}",
                language.package, language.variable
            ),
        ),
        _ => (NOT_EXECUTABLE, String::new()),
    };
    Err(Trouble::new(
        status,
        format!("cannot run the compiler {compiler}: {error}{remedy}"),
    ))
}

/// Where the library is installed: this command lies in `bin` there.
fn prefix() -> Result<PathBuf, Trouble> {
    let own = std::env::current_exe()
        .map_err(|error| Trouble::new(NOT_FOUND, format!("cannot find this command: {error}")))?;
    let prefix = own
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("/"));
    if prefix.join("include/hivemind.h").exists() {
        return Ok(prefix.to_owned());
    }
    Err(Trouble::new(
        NOT_FOUND,
        format!(
            "there is no include/hivemind.h in {}: this command was not installed with its library; `cargo xtask install --prefix DIR` in the project's folder does that, then call DIR/bin/hivemind",
            prefix.display()
        ),
    ))
}

/// What the compiler is told: the user's words, and what the library needs around them.
fn words(prefix: &Path, arguments: &[OsString]) -> Vec<OsString> {
    let has = |words: &[&str]| {
        let word = |argument: &OsString| words.iter().any(|word| argument == word);
        arguments.iter().any(word)
    };
    let joined = |option: &str, folder: &str| {
        let mut word = OsString::from(option);
        word.push(prefix.join(folder));
        word
    };
    let mut words = vec![joined("-I", "include")];
    words.extend(arguments.iter().cloned());
    if arguments.is_empty() || has(UNLINKED) {
        return words;
    }
    if !has(&["-shared", "-static", "-static-pie", "-pie"]) {
        // The program lies at the same addresses on every drone, so that addresses of its functions and globals mean the
        // same on all; and what the loader has to write in it is written before main begins.
        words.extend(["-no-pie".into(), "-Wl,-z,relro,-z,now".into()]);
    }
    if has(&["-static", "-static-pie"]) {
        words.push(joined("", "lib/libhivemind.a"));
        // The unwinder comes from its own archive there.
        let needs = ARCHIVE_NEEDS.iter().filter(|word| **word != "-lgcc_s");
        words.extend(needs.map(OsString::from));
        return words;
    }
    words.push(joined("-L", "lib"));
    words.push(joined("-Wl,-rpath,", "lib"));
    words.push("-lhivemind".into());
    words
}

/// A word as a shell takes it.
fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./,=+:@%".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(arguments: &[&str]) -> String {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let words = words(Path::new("/opt/h"), &arguments);
        let words = words.iter().map(|word| quoted(word)).collect::<Vec<_>>();
        words.join(" ")
    }

    #[test]
    fn a_program_is_linked_with_the_library_and_finds_it_when_it_runs() {
        assert_eq!(
            told(&["-O2", "a.c", "-o", "a"]),
            "-I/opt/h/include -O2 a.c -o a -no-pie -Wl,-z,relro,-z,now -L/opt/h/lib -Wl,-rpath,/opt/h/lib -lhivemind"
        );
    }

    #[test]
    fn an_object_is_only_told_where_the_header_is() {
        assert_eq!(told(&["-c", "a.c"]), "-I/opt/h/include -c a.c");
    }

    #[test]
    fn a_library_keeps_its_code_movable() {
        assert!(!told(&["-shared", "-fPIC", "a.c"]).contains("-no-pie"));
    }

    #[test]
    fn a_static_program_takes_the_archive() {
        let told = told(&["-static", "a.c"]);
        assert!(
            told.contains("/opt/h/lib/libhivemind.a") && !told.contains("-lhivemind"),
            "{told}"
        );
    }

    #[test]
    fn what_is_shown_can_be_given_to_a_shell() {
        assert_eq!(quoted(OsStr::new("a b'c")), "'a b'\\''c'");
    }
}
