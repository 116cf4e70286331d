//! Which program this process runs, so that drones of different builds notice before they share memory.

use std::fs::File;
use std::io::{self, Read, Seek};

use object::read::{Object, ReadCache};
use ring::digest::{Context, Digest, SHA256};

/// The executable. The link names what was started even when the file has been replaced since.
const EXECUTABLE: &str = "/proc/self/exe";

/// A name for the executable's content, the same wherever a copy of it runs: the linker's build identifier, which is a
/// hash of what it linked, and the file's size. Reading that takes microseconds however large the file is. Without
/// a build identifier it is the SHA-256 of the whole file (half a millisecond a megabyte). A program that an
/// interpreter runs has the interpreter's name.
///
/// # Errors
/// Where there is no `/proc`.
pub(crate) fn identity() -> io::Result<String> {
    let file = File::open(EXECUTABLE)?;
    let bytes = file.metadata()?.len();
    Ok(match build_identifier(&file) {
        Some(build) => format!("build {} of {bytes} bytes", hex(&build)),
        None => format!("content {}", hex(content(file)?.as_ref())),
    })
}

fn build_identifier(file: &File) -> Option<Vec<u8>> {
    let cache = ReadCache::new(file);
    let program = object::File::parse(&cache).ok()?;
    let build = program.build_id().ok()??;
    (!build.is_empty()).then(|| build.to_vec())
}

fn content(mut file: File) -> io::Result<Digest> {
    file.rewind()?;
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; 256 << 10];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(context.finish()),
            Ok(came) => context.update(&piece[..came]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_one_name_and_it_is_short() {
        let name = identity().unwrap();
        assert_eq!(name, identity().unwrap());
        assert!(name.len() < 100, "{name}");
    }

    #[test]
    fn the_content_is_hashed_whole() {
        use std::io::Write;
        let path = std::env::temp_dir().join(format!("hivemind-program-{}", std::process::id()));
        let mut file = std::fs::File::create_new(&path).unwrap();
        file.write_all(&vec![7; 300 << 10]).unwrap();
        let hash = || {
            let open = File::open(&path).unwrap();
            assert!(build_identifier(&open).is_none());
            hex(content(open).unwrap().as_ref())
        };
        let one = hash();
        file.write_all(b"x").unwrap();
        let other = hash();
        std::fs::remove_file(&path).unwrap();
        assert_ne!(one, other);
    }
}
