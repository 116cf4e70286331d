//! What a program is by its content: its hash, its length, and the machine that it is for.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ring::digest::{Context, SHA256};

use super::message::Program;

/// A type of machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Machine {
    /// Its number in an ELF header.
    pub(crate) number: u16,
    /// What `uname -m` calls it; none for one that we don't know.
    pub(crate) uname: Option<&'static str>,
}

/// The machines that Linux is likely to run on, by their numbers in an ELF header.
const MACHINES: [(u16, &str); 9] = [
    (3, "i686"),
    (8, "mips"),
    (21, "ppc64le"),
    (22, "s390x"),
    (40, "armv7l"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (258, "loongarch64"),
];

impl Machine {
    /// Its name, to read.
    pub(crate) fn name(self) -> String {
        self.uname
            .map_or_else(|| format!("number {}", self.number), str::to_owned)
    }
}

/// A program by its content.
///
/// # Errors
/// It cannot be read.
pub(crate) fn program(path: &Path, name: &str) -> io::Result<Program> {
    let (sha256, bytes) = hash(path)?;
    Ok(Program {
        name: name.to_owned(),
        sha256,
        bytes,
        path: None,
    })
}

/// A file's SHA-256 in hexadecimal digits, and its length.
///
/// # Errors
/// It cannot be read.
pub(crate) fn hash(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = Context::new(&SHA256);
    let mut piece = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut piece)? {
            0 => break,
            length => {
                hasher.update(&piece[..length]);
                bytes += length as u64;
            }
        }
    }
    Ok((hex(hasher.finish().as_ref()), bytes))
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The machine that a program is for; none for what is no ELF file, such as a script.
pub(crate) fn machine_of(path: &Path) -> Option<Machine> {
    let mut head = [0; 20];
    File::open(path).ok()?.read_exact(&mut head).ok()?;
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let pair = [head[18], head[19]];
    let number = match head[5] {
        2 => u16::from_be_bytes(pair),
        _ => u16::from_le_bytes(pair),
    };
    let known = MACHINES.iter().find(|(known, _)| *known == number);
    Some(Machine {
        number,
        uname: known.map(|(_, name)| *name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_content() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "abc").expect("it can be written");
        let program = program(file.path(), "abc").expect("it can be read");
        assert_eq!(
            program.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(program.bytes, 3);
        assert_eq!(machine_of(file.path()), None);
    }

    #[test]
    fn a_header_tells_the_machine() {
        let own = machine_of(Path::new("/proc/self/exe")).expect("we are a program");
        let here = std::env::consts::ARCH;
        assert!(own.name().starts_with(&here[..3]), "{own:?} is no {here}");
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut head = [0; 64];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = 183;
        std::fs::write(file.path(), head).expect("it can be written");
        let machine = machine_of(file.path()).expect("a header");
        assert_eq!(machine.name(), "aarch64");
    }
}
