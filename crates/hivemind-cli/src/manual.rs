//! `hivemind completions` and `hivemind man`: what shells and `man` know of the command, made from its command line.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::options::Options;
use crate::run;
use crate::trouble::{OUTPUT, Trouble};

/// Prints a shell's completions.
///
/// # Errors
/// Nobody takes them.
pub(crate) fn completions(shell: Shell) -> Result<u8, Trouble> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Options::command(), "hivemind", &mut text);
    run::print(&String::from_utf8_lossy(&text), "the completions")
}

/// Writes a page for the command and each of its subcommands into a directory, or prints the first one.
///
/// # Errors
/// They can't be written.
pub(crate) fn pages(directory: Option<&Path>) -> Result<u8, Trouble> {
    let Some(directory) = directory else {
        let mut text = Vec::new();
        let rendered = clap_mangen::Man::new(Options::command()).render(&mut text);
        rendered.map_err(|error| cannot_write(Path::new("the page"), &error))?;
        return run::print(&String::from_utf8_lossy(&text), "the page");
    };
    clap_mangen::generate_to(Options::command(), directory)
        .map_err(|error| cannot_write(directory, &error))?;
    Ok(0)
}

fn cannot_write(path: &Path, error: &io::Error) -> Trouble {
    let path = path.display();
    Trouble::new(
        OUTPUT,
        format!("cannot write the manual into {path}: {error}"),
    )
}
