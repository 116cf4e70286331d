//! `cargo xtask install`: the command, the C library and their manual, under a prefix as every package has it.
//!
//! Here is what goes where. How manual pages are made of the header lives in `install/pages.rs`.

mod pages;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Args;

/// Build everything in release and install it: bin/, lib/, include/, share/man/.
#[derive(Args, Debug)]
pub(crate) struct Install {
    /// Where it will be used from.
    #[arg(long, default_value = "/usr/local", value_name = "DIR")]
    prefix: PathBuf,
    /// Put it below this directory instead, for whoever packs it.
    #[arg(long, value_name = "DIR")]
    destdir: Option<PathBuf>,
    /// Take what is built already.
    #[arg(long)]
    no_build: bool,
}

/// The shared library carries the version; programs look for the first number (`build.rs` of hivemind-c).
const VERSION: &str = env!("CARGO_PKG_VERSION");
const SONAME: &str = "libhivemind.so.0";

/// What the archive needs of the system: `rustc --print native-static-libs`.
const ARCHIVE_NEEDS: &str = "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc";

impl Install {
    /// Builds and installs.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::ensure!(
            self.prefix.is_absolute(),
            "--prefix {} is no absolute path: the library is looked for there when programs run",
            self.prefix.display()
        );
        if !self.no_build {
            crate::build()?;
        }
        let below = self.prefix.strip_prefix("/").unwrap_or(&self.prefix);
        let root = match &self.destdir {
            Some(destdir) => destdir.join(below),
            None => self.prefix.clone(),
        };
        let built = crate::release_folder()?;
        programs(&built, &root)?;
        library(&built, &root)?;
        self.pkg_config(&root)?;
        headers(&root)?;
        manual(&root)?;
        println!("installed into {}", root.display());
        Ok(ExitCode::SUCCESS)
    }

    /// For build systems that ask pkg-config.
    fn pkg_config(&self, root: &Path) -> anyhow::Result<()> {
        let prefix = self.prefix.display();
        let text = format!(
            "prefix={prefix}\nlibdir=${{prefix}}/lib\nincludedir=${{prefix}}/include\n\n\
             Name: HiveMind\nDescription: One shared memory for a program that runs on many machines\n\
             Version: {VERSION}\nCflags: -I${{includedir}}\nLibs: -L${{libdir}} -lhivemind\nLibs.private: {ARCHIVE_NEEDS}\n"
        );
        let place = folder(root, "lib/pkgconfig")?.join("hivemind.pc");
        fs::write(&place, text).with_context(|| format!("cannot write {}", place.display()))
    }
}

fn programs(built: &Path, root: &Path) -> anyhow::Result<()> {
    let bin = folder(root, "bin")?;
    for name in ["hivemind", "hivemind-bench"] {
        copy(&built.join(name), &bin.join(name))?;
    }
    Ok(())
}

fn library(built: &Path, root: &Path) -> anyhow::Result<()> {
    let lib = folder(root, "lib")?;
    let name = format!("libhivemind.so.{VERSION}");
    copy(&built.join("libhivemind_c.so"), &lib.join(&name))?;
    copy(&built.join("libhivemind_c.a"), &lib.join("libhivemind.a"))?;
    for (link, to) in [(SONAME, name.as_str()), ("libhivemind.so", SONAME)] {
        let link = lib.join(link);
        // An older installation's.
        let _ = fs::remove_file(&link);
        symlink(to, &link).with_context(|| format!("cannot make {}", link.display()))?;
    }
    Ok(())
}

fn headers(root: &Path) -> anyhow::Result<()> {
    let from = header_folder();
    let into = folder(root, "include")?;
    copy_all(&from, &into)
}

/// A page for the command and each of its subcommands, and one for each call of the header.
fn manual(root: &Path) -> anyhow::Result<()> {
    let commands = folder(root, "share/man/man1")?;
    let status = Command::new(root.join("bin/hivemind"))
        .arg("man")
        .arg(&commands)
        .status()
        .context("cannot run the installed command")?;
    anyhow::ensure!(status.success(), "the manual's pages could not be made");
    let header = header_folder().join("hivemind.h");
    let text =
        fs::read_to_string(&header).with_context(|| format!("cannot read {}", header.display()))?;
    let calls = folder(root, "share/man/man3")?;
    for page in pages::of_header(&text) {
        let place = calls.join(format!("{}.3", page.name));
        fs::write(&place, page.text)
            .with_context(|| format!("cannot write {}", place.display()))?;
    }
    Ok(())
}

fn header_folder() -> PathBuf {
    crate::root().join("crates/hivemind-capi/include")
}

fn folder(root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = root.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn copy_all(from: &Path, into: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let (from, into) = (entry.path(), into.join(entry.file_name()));
        match entry.file_type()?.is_dir() {
            true => copy_all(&from, &into)?,
            false => copy(&from, &into)?,
        }
    }
    Ok(())
}

fn copy(from: &Path, into: &Path) -> anyhow::Result<()> {
    // A program that runs keeps its file.
    let _ = fs::remove_file(into);
    fs::copy(from, into)
        .with_context(|| format!("cannot copy {} to {}", from.display(), into.display()))?;
    Ok(())
}
