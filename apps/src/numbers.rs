//! Where the integers that quicksort sorts come from and go to: made from a seed, or read from and written
//! to a file of text or of little-endian binary numbers. How they are sorted is in [`crate::quicksort`].

use hivemind::Pod;
use std::fmt::Display;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

/// An integer that can be sorted, made, read and written: `i32` or `i64`.
pub trait Key: Pod + Ord + Send + Sync + Display + FromStr {
    /// Its name for people.
    const NAME: &'static str;

    /// A key made of 64 random bits.
    fn from_random(bits: u64) -> Self;

    /// The key in these little-endian bytes, as many as a key has.
    fn from_bytes(bytes: &[u8]) -> Self;

    /// Appends the key's little-endian bytes.
    fn put_bytes(self, into: &mut Vec<u8>);
}

macro_rules! key {
    ($name:ident) => {
        impl Key for $name {
            const NAME: &'static str = stringify!($name);

            fn from_random(bits: u64) -> Self {
                bits as $name
            }

            fn from_bytes(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$name>()];
                own.copy_from_slice(bytes);
                $name::from_le_bytes(own)
            }

            fn put_bytes(self, into: &mut Vec<u8>) {
                into.extend_from_slice(&self.to_le_bytes());
            }
        }
    };
}

key!(i32);
key!(i64);

/// How a file holds its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// Decimal numbers between white space
    Text,
    /// Little-endian binary numbers, one behind the other
    Binary,
}

/// The number at `index` of the endless row that belongs to `seed`. Any part of the row can be made alone,
/// so drones that make a part each make the same row together.
pub fn seeded<T: Key>(seed: u64, index: usize) -> T {
    // SplitMix64 (Steele, Lea, Flood 2014), jumped to where it is after `index` steps.
    let mut z = mix(seed).wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = mix(z);
    T::from_random(z)
}

/// Reads all numbers of a file. The error says which file, and which line or how many bytes too many.
pub fn read<T: Key>(path: &Path, format: Format) -> Result<Vec<T>, String> {
    let bytes =
        fs::read(path).map_err(|error| format!("can't read {}: {error}", path.display()))?;
    let numbers = match format {
        Format::Text => parse_text(&bytes),
        Format::Binary => parse_binary(&bytes),
    };
    numbers.map_err(|what| format!("{}{what}", path.display()))
}

/// Writes all numbers to a file.
pub fn write<T: Key>(path: &Path, format: Format, numbers: &[T]) -> Result<(), String> {
    let written =
        fs::File::create(path).and_then(|file| write_to(BufWriter::new(file), format, numbers));
    written.map_err(|error| format!("can't write {}: {error}", path.display()))
}

fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn parse_text<T: Key>(bytes: &[u8]) -> Result<Vec<T>, String> {
    let mut numbers = Vec::new();
    for (line, text) in bytes.split(|&byte| byte == b'\n').enumerate() {
        for word in text
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
        {
            let number = std::str::from_utf8(word)
                .ok()
                .and_then(|word| word.parse().ok());
            numbers.push(number.ok_or_else(|| {
                let shown = String::from_utf8_lossy(&word[..word.len().min(40)]);
                format!(
                    ":{}: '{}' is no {}",
                    line + 1,
                    shown.escape_debug(),
                    T::NAME
                )
            })?);
        }
    }
    Ok(numbers)
}

fn parse_binary<T: Key>(bytes: &[u8]) -> Result<Vec<T>, String> {
    let size = size_of::<T>();
    match bytes.len() % size {
        0 => Ok(bytes.chunks_exact(size).map(T::from_bytes).collect()),
        over => Err(format!(
            ": {} bytes are no whole number of {}: {over} bytes too many",
            bytes.len(),
            T::NAME
        )),
    }
}

fn write_to<T: Key>(mut file: impl Write, format: Format, numbers: &[T]) -> io::Result<()> {
    /// So many numbers are put together before they are written.
    const CHUNK: usize = 4096;
    let mut bytes = Vec::new();
    for chunk in numbers.chunks(CHUNK) {
        bytes.clear();
        for &number in chunk {
            match format {
                Format::Text => writeln!(bytes, "{number}")?,
                Format::Binary => number.put_bytes(&mut bytes),
            }
        }
        file.write_all(&bytes)?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_holds_numbers_between_any_white_space() {
        assert_eq!(parse_text::<i32>(b"3 -1\n\n\t+7\r\n"), Ok(vec![3, -1, 7]));
        assert_eq!(parse_text::<i64>(b""), Ok(vec![]));
    }

    #[test]
    fn bad_text_is_refused_with_its_line() {
        assert_eq!(
            parse_text::<i32>(b"1\n2\nthree\n"),
            Err(":3: 'three' is no i32".to_owned())
        );
        assert_eq!(
            parse_text::<i32>(b"2147483648"),
            Err(":1: '2147483648' is no i32".to_owned())
        );
        assert!(parse_text::<i64>(b"2147483648").is_ok());
        assert!(
            parse_text::<i64>(b"\xff\xfe")
                .unwrap_err()
                .starts_with(":1: ")
        );
        assert!(parse_text::<i64>(&[b'9'; 10_000]).unwrap_err().len() < 100);
    }

    #[test]
    fn binary_is_little_endian_and_whole() {
        assert_eq!(
            parse_binary::<i32>(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            Ok(vec![1, -1])
        );
        let told = parse_binary::<i64>(&[0; 12]).unwrap_err();
        assert!(
            told.contains("12 bytes") && told.contains("4 bytes too many"),
            "{told}"
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        let numbers: Vec<i64> = (0..10_000).map(|index| seeded(1, index)).collect();
        for format in [Format::Text, Format::Binary] {
            write(&path, format, &numbers).unwrap();
            assert_eq!(read::<i64>(&path, format).unwrap(), numbers);
        }
        let told = read::<i32>(&folder.path().join("none"), Format::Text).unwrap_err();
        assert!(
            told.contains("none") && told.contains("No such file"),
            "{told}"
        );
    }

    #[test]
    fn seeded_numbers_differ_by_index_and_seed() {
        let mut numbers: Vec<i64> = (0..1000)
            .flat_map(|i| [seeded(1, i), seeded(2, i)])
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 2000);
    }
}
