//! The program itself: where its functions and its own variables lie, which of them a copy may overwrite, and what they are
//! called.
//!
//! All drones run the same executable (start-up compares them), so an offset in it means the same on each.

use crate::status::{Trouble, hive_status_t};
use hive_status_t::HIVE_ENVIRONMENT;
use object::{Object, ObjectKind, ObjectSymbol, ObjectSymbolTable, RelocationFlags};
use std::ops::Range;
use std::sync::OnceLock;

/// The executable of this process.
#[derive(Debug)]
pub(crate) struct Image {
    /// What was added to the addresses that stand in its file.
    base: usize,
    /// Its functions.
    code: Vec<Range<usize>>,
    /// What it may write from its beginning to its end.
    data: Vec<Range<usize>>,
    /// Of these, the program's own variables: neither what the loader wrote, nor what the C library keeps here.
    variables: Vec<Range<usize>>,
    /// Whether it lies where its file says, the same on every drone.
    is_fixed: bool,
    /// Its variables' names, by address.
    names: Vec<(Range<usize>, String)>,
}

/// What the loader says of the executable.
#[derive(Default)]
struct Loaded {
    found: bool,
    base: usize,
    code: Vec<Range<usize>>,
    data: Vec<Range<usize>>,
    read_only: Vec<Range<usize>>,
}

impl Image {
    /// This process's, read at the first call.
    pub(crate) fn own() -> Result<&'static Self, Trouble> {
        static OWN: OnceLock<Result<Image, String>> = OnceLock::new();
        let own = OWN.get_or_init(|| Self::read().map_err(|error| error.to_string()));
        own.as_ref().map_err(|error| {
            let text = format!("the program's own file cannot be read: {error}");
            Trouble::new(HIVE_ENVIRONMENT, text)
        })
    }

    fn read() -> Result<Self, Box<dyn std::error::Error>> {
        let bytes = std::fs::read("/proc/self/exe")?;
        let file = object::File::parse(&*bytes)?;
        let loaded = loaded();
        let base = loaded.base;
        let mut holes = loaded.read_only;
        holes.extend(copied_by_the_loader(&file, base));
        let mut names = Vec::new();
        if let Some(table) = file.symbol_table() {
            let named = table
                .symbols()
                .filter(|symbol| symbol.kind() == object::SymbolKind::Data);
            names.extend(named.filter_map(|symbol| {
                let start = base + symbol.address() as usize;
                let name = symbol.name().ok()?.to_owned();
                (symbol.size() > 0).then(|| (start..start + symbol.size() as usize, name))
            }));
        }
        names.sort_by_key(|(place, _)| place.start);
        Ok(Self {
            base,
            variables: without(&loaded.data, &mut holes),
            code: loaded.code,
            data: loaded.data,
            is_fixed: file.kind() == ObjectKind::Executable,
            names,
        })
    }

    /// Whether all of these bytes are variables of the program.
    pub(crate) fn is_variable(&self, address: usize, bytes: usize) -> bool {
        self.data
            .iter()
            .any(|part| part.start <= address && address.saturating_add(bytes) <= part.end)
    }

    /// Whether a function of the program begins or goes on there.
    pub(crate) fn is_code(&self, address: usize) -> bool {
        self.code.iter().any(|part| part.contains(&address))
    }

    /// What an address of the program is on every drone.
    pub(crate) fn offset(&self, address: usize) -> u64 {
        address.wrapping_sub(self.base) as u64
    }

    /// The address of an offset here.
    pub(crate) fn address(&self, offset: u64) -> usize {
        self.base.wrapping_add(offset as usize)
    }

    /// The variables that one drone can take over from another.
    ///
    /// # Errors
    /// The program may lie elsewhere on another drone, or this library is part of it, so that its state would be copied too.
    pub(crate) fn variables(&self) -> Result<&[Range<usize>], Trouble> {
        let own = Image::own as *const () as usize;
        if !self.is_fixed || self.is_code(own) {
            return Err(Trouble::new(
                HIVE_ENVIRONMENT,
                "the program's own variables can only be handed on where it lies at the same addresses on every drone and HiveMind is a shared library: link it with `hivemind cc`, or with -no-pie and without -static",
            ));
        }
        Ok(&self.variables)
    }

    /// What the program calls the variable at an address: the innermost, where one lies in another. Looks at all that begin before
    /// it where none holds it, which a message about it can wait for.
    pub(crate) fn name(&self, address: usize) -> Option<&str> {
        let after = self
            .names
            .partition_point(|(place, _)| place.start <= address);
        // Some hold others; most come no further than the first.
        let mut before = self.names[..after].iter().rev();
        before
            .find(|(place, _)| place.contains(&address))
            .map(|(_, name)| name.as_str())
    }
}

/// What the C library's own variables (`stdout`, `environ` …) are in a program that doesn't move: copies, made by the loader.
fn copied_by_the_loader(file: &object::File<'_>, base: usize) -> Vec<Range<usize>> {
    let (Some(relocations), Some(table)) =
        (file.dynamic_relocations(), file.dynamic_symbol_table())
    else {
        return Vec::new();
    };
    // R_X86_64_COPY, R_AARCH64_COPY.
    let is_copy = |flags| matches!(flags, RelocationFlags::Elf { r_type: 5 | 1024 });
    relocations
        .filter(|(_, relocation)| is_copy(relocation.flags()))
        .filter_map(|(at, relocation)| {
            let object::RelocationTarget::Symbol(symbol) = relocation.target() else {
                return None;
            };
            let bytes = table.symbol_by_index(symbol).ok()?.size() as usize;
            let start = base + at as usize;
            Some(start..start + bytes)
        })
        .collect()
}

/// The parts of `all` that no hole covers.
fn without(all: &[Range<usize>], holes: &mut [Range<usize>]) -> Vec<Range<usize>> {
    holes.sort_by_key(|hole| hole.start);
    let mut parts = Vec::new();
    for part in all {
        let mut next = part.start;
        for hole in holes.iter() {
            let (start, end) = (hole.start.max(next), hole.end.min(part.end));
            if start < end {
                parts.push(next..start);
                next = end;
            }
        }
        parts.push(next..part.end);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Asks the loader.
fn loaded() -> Loaded {
    unsafe extern "C" fn look(
        info: *mut libc::dl_phdr_info,
        _: libc::size_t,
        into: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the loader gives a valid description, and `into` is what stands below.
        let (info, into) = unsafe { (&*info, &mut *into.cast::<Loaded>()) };
        // SAFETY: so many headers are there.
        let headers =
            unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        into.found = true;
        into.base = info.dlpi_addr as usize;
        for header in headers {
            let start = into.base + header.p_vaddr as usize;
            let place = start..start + header.p_memsz as usize;
            match header.p_type {
                libc::PT_LOAD if header.p_flags & libc::PF_W != 0 => into.data.push(place),
                libc::PT_LOAD if header.p_flags & libc::PF_X != 0 => into.code.push(place),
                libc::PT_GNU_RELRO => into.read_only.push(place),
                _ => {}
            }
        }
        // The executable comes first; nothing else is wanted.
        1
    }
    let mut loaded = Loaded::default();
    // SAFETY: `look` keeps to what the loader promises, and `loaded` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut loaded).cast()) };
    loaded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_cut_out_of_every_part() {
        let mut holes = [25..28, 5..12, 0..2];
        let parts = without(&[0..10, 10..20, 24..30], &mut holes);
        assert_eq!(parts, [2..5, 12..20, 24..25, 28..30]);
    }

    #[test]
    fn a_variable_of_the_program_is_found_and_a_local_one_is_not() {
        static VARIABLE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(7);
        let image = Image::own().unwrap_or_else(|trouble| panic!("{}", trouble.text));
        let local = 3_u64;
        assert!(image.is_variable((&raw const VARIABLE).addr(), 8));
        assert!(!image.is_variable((&raw const local).addr(), 8));
        let code = a_variable_of_the_program_is_found_and_a_local_one_is_not as *const () as usize;
        assert!(image.is_code(code));
        assert_eq!(image.address(image.offset(code)), code);
    }
}
