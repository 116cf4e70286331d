//! Finds the program that a job runs: a path as it stands, a bare name first beside this command (where the
//! shipped programs lie), then in PATH.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::trouble::{NOT_EXECUTABLE, NOT_FOUND, Trouble};

/// The programs that come with HiveMind.
const SHIPPED: [&str; 8] = [
    "pi",
    "jacobi",
    "quicksort",
    "matmul",
    "intsort",
    "tsp",
    "tour",
    "torture",
];

/// Finds `name` beside the running command or in PATH.
///
/// # Errors
/// Not found: the places that were searched and the shipped programs that exist. Not executable: what to do.
pub(crate) fn find(name: &OsStr) -> Result<PathBuf, Trouble> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|command| command.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(name, beside.as_deref(), &path)
}

fn find_in(name: &OsStr, beside: Option<&Path>, path: &OsStr) -> Result<PathBuf, Trouble> {
    if name.is_empty() {
        return Err(Trouble::new(NOT_FOUND, "the program's name is empty"));
    }
    if name.as_bytes().contains(&b'/') {
        return by_path(Path::new(name));
    }
    let mut not_executable = None;
    let in_path = std::env::split_paths(path).filter(|place| !place.as_os_str().is_empty());
    for place in beside.map(Path::to_owned).into_iter().chain(in_path) {
        let candidate = place.join(name);
        match by_path(&candidate) {
            Ok(found) => return Ok(found),
            Err(trouble) if trouble.status == NOT_EXECUTABLE && candidate.is_file() => {
                not_executable.get_or_insert(trouble);
            }
            Err(_) => {}
        }
    }
    Err(not_executable.unwrap_or_else(|| not_found(name, beside, path)))
}

fn by_path(path: &Path) -> Result<PathBuf, Trouble> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(error) => Err(Trouble::new(
            NOT_FOUND,
            format!("cannot run {shown}: {error}"),
        )),
        Ok(found) if found.is_dir() => Err(Trouble::new(
            NOT_EXECUTABLE,
            format!("cannot run {shown}: it is a directory, not a program"),
        )),
        Ok(_) if rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_err() => {
            Err(Trouble::new(
                NOT_EXECUTABLE,
                format!("cannot run {shown}: it is not executable; `chmod +x {shown}` makes it so"),
            ))
        }
        Ok(_) => Ok(path.to_owned()),
    }
}

fn not_found(name: &OsStr, beside: Option<&Path>, path: &OsStr) -> Trouble {
    let name = name.display();
    let mut message = format!("cannot find the program `{name}`");
    if let Some(beside) = beside {
        let _ = write!(message, ", neither in {} nor", beside.display());
    } else {
        message.push_str(", not");
    }
    let _ = write!(message, " in PATH ({})", path.display());
    let _ = write!(
        message,
        "; a program here is meant by its path, as in ./{name}"
    );
    let shipped: Vec<&str> = SHIPPED
        .into_iter()
        .filter(|program| beside.is_some_and(|beside| by_path(&beside.join(program)).is_ok()))
        .collect();
    if shipped.is_empty() {
        message.push_str("; no shipped program lies beside this command");
    } else {
        let _ = write!(
            message,
            "; the shipped programs are: {}",
            shipped.join(", ")
        );
    }
    Trouble::new(NOT_FOUND, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn program(place: &Path, name: &str, mode: u32) {
        fs::create_dir_all(place).expect("a directory can be made");
        let path = place.join(name);
        fs::write(&path, "#!/bin/sh\n").expect("a file can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode can be set");
    }

    #[test]
    fn a_bare_name_is_looked_up_beside_the_command_before_path() {
        let home = tempfile::tempdir().expect("a directory");
        let (beside, path) = (home.path().join("beside"), home.path().join("path"));
        program(&beside, "one", 0o755);
        program(&path, "one", 0o755);
        program(&path, "two", 0o755);
        let find = |name: &str| find_in(name.as_ref(), Some(&beside), path.as_os_str());
        assert_eq!(find("one").expect("it is there"), beside.join("one"));
        assert_eq!(find("two").expect("it is there"), path.join("two"));
    }

    #[test]
    fn a_missing_program_is_told_with_the_shipped_ones_that_exist() {
        let home = tempfile::tempdir().expect("a directory");
        program(home.path(), "jacobi", 0o755);
        let trouble = find_in("jakobi".as_ref(), Some(home.path()), "/nowhere".as_ref())
            .expect_err("it is not there");
        assert_eq!(trouble.status, NOT_FOUND);
        let message = trouble.to_string();
        for part in [
            "`jakobi`",
            "/nowhere",
            "programs are: jacobi",
            &home.path().display().to_string(),
        ] {
            assert!(message.contains(part), "{message} lacks {part}");
        }
    }

    #[test]
    fn what_cannot_be_executed_is_told_as_that() {
        let home = tempfile::tempdir().expect("a directory");
        program(home.path(), "text", 0o644);
        for name in [home.path().join("text"), home.path().to_owned()] {
            let trouble =
                find_in(name.as_os_str(), None, OsStr::new("")).expect_err("it is no program");
            assert_eq!(trouble.status, NOT_EXECUTABLE, "{trouble}");
        }
        let trouble = find_in("text".as_ref(), Some(home.path()), OsStr::new(""))
            .expect_err("it is no program");
        assert!(trouble.to_string().contains("chmod +x"), "{trouble}");
    }
}
