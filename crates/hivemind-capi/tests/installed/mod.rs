//! An installation as users have it, made once for all tests of a process, and what is done with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A prefix with everything in it; gone with the process's target folder.
pub(crate) struct Installed {
    prefix: PathBuf,
    programs: tempfile::TempDir,
}

/// The installation, made by the first that asks.
pub(crate) fn installed() -> &'static Installed {
    static INSTALLED: OnceLock<Installed> = OnceLock::new();
    INSTALLED.get_or_init(Installed::make)
}

impl Installed {
    fn make() -> Self {
        // One for each test program: they may run at the same time.
        let own = std::env::current_exe().expect("a test has a path");
        let own = own.file_stem().expect("a test has a name");
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join(own);
        let mut cargo = Command::new(env!("CARGO"));
        // What cargo tells a test would have the build scripts of others run again, and so build most of it anew.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let own = text == "CARGO_HOME"
                || text == "CARGO_TARGET_DIR"
                || text.starts_with("CARGO_PROFILE_");
            if text == "OUT_DIR" || (text.starts_with("CARGO_") && !own) {
                cargo.env_remove(name);
            }
        }
        let made = cargo
            .args(["xtask", "install", "--prefix"])
            .arg(&prefix)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo can be run");
        assert!(
            made.status.success(),
            "the installation failed: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let programs = tempfile::tempdir().expect("a folder for programs");
        Self { prefix, programs }
    }

    /// The engines that work here.
    pub(crate) fn engines() -> Vec<String> {
        let engines = hivemind::fault_engines().into_iter();
        let working = engines.filter(|engine| engine.refusal.is_none());
        working.map(|engine| engine.name).collect()
    }

    /// The installed command, with nothing of whoever runs the tests.
    pub(crate) fn hivemind(&self) -> Command {
        let mut command = Command::new(self.prefix.join("bin/hivemind"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HIVEMIND_") {
                command.env_remove(name);
            }
        }
        command.env("XDG_CONFIG_HOME", self.programs.path().join("settings"));
        command
    }

    /// Builds a program of the examples or the tests, warnings being errors. None where the compiler isn't here, which is said.
    pub(crate) fn build(&self, language: &str, source: &str) -> Option<PathBuf> {
        self.build_with(language, source, &["-O2", "-Wall", "-Wextra", "-Werror"])
    }

    /// The same with these words for the compiler.
    pub(crate) fn build_with(
        &self,
        language: &str,
        source: &str,
        words: &[&str],
    ) -> Option<PathBuf> {
        let compiler = match language {
            "c++" => "c++",
            "fc" => "gfortran",
            _ => "cc",
        };
        if Command::new(compiler).arg("--version").output().is_err() {
            println!("skipped: {source}: no {compiler} here");
            return None;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let places = [root.join("../../examples/c"), root.join("tests/c")];
        let found = places
            .iter()
            .map(|place| place.join(source))
            .find(|place| place.exists());
        let found = found.unwrap_or_else(|| panic!("there is no {source}"));
        let flat = format!("{source}{}", words.concat()).replace(['.', '/', '='], "-");
        let program = self.programs.path().join(flat);
        let built = self
            .hivemind()
            .arg(language)
            .args(words)
            .arg(found)
            .arg("-o")
            .arg(&program)
            .arg("-lm")
            .output()
            .expect("the command can be run");
        assert!(
            built.status.success(),
            "{source} was not built: {}",
            String::from_utf8_lossy(&built.stderr)
        );
        Some(program)
    }

    /// Runs a program on so many drones.
    pub(crate) fn run(
        &self,
        drones: u32,
        settings: &[(&str, &str)],
        program: &Path,
        arguments: &[&str],
    ) -> Output {
        self.hivemind()
            .args([
                "run",
                "--no-prefix",
                "--region=64M",
                "-n",
                &drones.to_string(),
            ])
            .arg(program)
            .args(arguments)
            .envs(settings.iter().copied())
            .env("HIVEMIND_WAIT_LIMIT", "100")
            .output()
            .expect("the command can be run")
    }

    /// A text file of the installation.
    pub(crate) fn read(&self, name: &str) -> String {
        let place = self.prefix.join(name);
        std::fs::read_to_string(&place)
            .unwrap_or_else(|error| panic!("{}: {error}", place.display()))
    }

    /// The calls that the header names.
    pub(crate) fn calls(&self) -> BTreeSet<String> {
        let header = self.read("include/hivemind.h");
        let calls = header
            .lines()
            .filter(|line| !line.starts_with("//") && line.contains('('));
        let names = calls.filter_map(|line| line.split('(').next()?.rsplit([' ', '*']).next());
        let names = names.filter(|name| name.starts_with("hive_"));
        let names: BTreeSet<_> = names.map(str::to_owned).collect();
        assert!(names.len() > 20, "{names:?}");
        names
    }

    /// Any file of it.
    pub(crate) fn read_bytes(&self, name: &str) -> Vec<u8> {
        let place = self.prefix.join(name);
        std::fs::read(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display()))
    }

    /// What pkg-config tells of the installation. None where there is none, which is said.
    pub(crate) fn pkg_config(&self) -> Option<String> {
        let asked = Command::new("pkg-config")
            .args(["--cflags", "--libs", "hivemind"])
            .env("PKG_CONFIG_PATH", self.prefix.join("lib/pkgconfig"))
            .output();
        let Ok(told) = asked else {
            println!("skipped: no pkg-config here");
            return None;
        };
        assert!(
            told.status.success(),
            "{}",
            String::from_utf8_lossy(&told.stderr)
        );
        Some(String::from_utf8_lossy(&told.stdout).into_owned())
    }

    /// Runs a program alone under valgrind. None where there is none, which is said.
    pub(crate) fn under_valgrind(&self, program: &Path) -> Option<Output> {
        let asked = Command::new("valgrind")
            .args([
                "--error-exitcode=9",
                "--leak-check=full",
                "--errors-for-leak-kinds=definite",
            ])
            .arg(program)
            .env("HIVEMIND_ENGINE", "mprotect")
            .env("HIVEMIND_REGION", "1M")
            .output();
        if asked.is_err() {
            println!("skipped: no valgrind here");
        }
        asked.ok()
    }
}
