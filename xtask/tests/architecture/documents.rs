//! What stands above the public items of the libraries: an example for each, and what can go wrong for each
//! function that gives a `Result`. The compiler holds that there is a comment at all (`missing_docs`), and
//! that the examples compile and run. What a file looks like is held in `main`.

use super::source::{File, rust_files};

/// The libraries: what programs are written against, and what it is made of.
const LIBRARIES: &[&str] = &[
    "crates/hivemind/src/",
    "crates/hivemind-memory/src/",
    "crates/hivemind-protocol/src/",
    "crates/hivemind-sim/src/",
    "crates/hivemind-trace/src/",
];

/// What a public item begins with. Modules are files, which open with a comment of their own.
const ITEMS: &[&str] = &[
    "fn ", "const ", "static ", "struct ", "enum ", "union ", "trait ", "type ", "macro ",
];

/// A public item, with what stands above it.
struct Item<'a> {
    line: usize,
    /// Up to its body, on one line.
    signature: String,
    above: Vec<&'a str>,
}

/// The public items of a file's text, methods of public traits included.
fn items(text: &str) -> Vec<Item<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut in_trait = false;
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with("#[cfg(test)]") && lines[at + 1..].first() == Some(&"mod tests {") {
            break;
        }
        // What begins in the first column ends there too: on a line of its own, or on its first, as `pub trait A {}` does.
        let ends = line.ends_with('}') && !line.starts_with(' ');
        in_trait = (in_trait || line.starts_with("pub trait ")) && !ends;
        let public = line.trim_start().strip_prefix("pub ");
        let method = in_trait.then(|| line.strip_prefix("    ")).flatten();
        let Some(start) = public.or(method) else {
            continue;
        };
        // What a macro names has its comment where the macro is used.
        if !ITEMS.iter().any(|word| start.starts_with(word)) || start.contains(" $") {
            continue;
        }
        let above = lines[..at].iter().rev();
        let above = above.take_while(|line| !line.trim().is_empty() && !is_code(line));
        let body = |line: &&&str| line.ends_with('{') || line.ends_with(';');
        let end = lines[at..].iter().take_while(|line| !body(line)).count();
        found.push(Item {
            line: at + 1,
            signature: lines[at..=(at + end).min(lines.len() - 1)].join(" "),
            above: above.copied().collect(),
        });
    }
    found
}

/// Whether a line ends the item before, so that no comment above it belongs to the next one.
fn is_code(line: &str) -> bool {
    let line = line.trim();
    let of_attribute = line.starts_with('#') || line.ends_with(")]");
    !(line.starts_with("///") || of_attribute)
}

impl Item<'_> {
    fn has(&self, mark: &str) -> bool {
        self.above.iter().any(|line| {
            line.trim()
                .strip_prefix("///")
                .is_some_and(|text| text.trim().starts_with(mark))
        })
    }

    fn is_fallible(&self) -> bool {
        let output = self.signature.split("->").last().unwrap_or_default();
        self.signature.contains("fn ") && output.contains("Result<")
    }
}

fn breaches(File { path, text, .. }: &File) -> Vec<String> {
    let mut found = Vec::new();
    for item in items(text) {
        let here = || format!("{path}:{}: `{}`", item.line, item.signature.trim());
        if !item.has("```") {
            found.push(format!("{} has no example", here()));
        }
        if item.is_fallible() && !item.has("# Errors") {
            found.push(format!(
                "{} does not say what can go wrong (`# Errors`)",
                here()
            ));
        }
    }
    found
}

#[test]
fn every_public_item_of_a_library_has_an_example_and_names_its_errors() {
    let mut found = Vec::new();
    for library in LIBRARIES {
        let files = rust_files();
        let files = || files.iter().filter(|file| file.path.starts_with(library));
        let items_seen: usize = files().map(|file| items(&file.text).len()).sum();
        assert!(
            items_seen > 15,
            "only {items_seen} public items in {library}"
        );
        found.extend(files().flat_map(breaches));
    }
    super::expect_none(&found);
}

#[test]
fn an_item_without_an_example_or_its_errors_is_found() {
    let text = "\
/// Good.
///
/// ```
/// good();
/// ```
pub fn good() {}
/// No example.
pub struct Bad;

/// ```
/// ```
#[must_use]
pub fn silent(
    a: u8,
) -> Result<u8> {
}
pub trait Named {
    fn inside();
}
/// ```
/// ```
pub trait Mark {}
impl Mark for u8 {
    const HIDDEN: u8 = 0;
}
pub(crate) fn hidden() {}
#[cfg(test)]
mod tests {
pub fn late() {}
";
    let file = File {
        path: "x.rs".into(),
        text: text.into(),
        code: String::new(),
    };
    let lines: Vec<String> = breaches(&file)
        .iter()
        .map(|breach| breach.split('`').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(lines, ["x.rs:8: ", "x.rs:13: ", "x.rs:17: ", "x.rs:18: "]);
}
