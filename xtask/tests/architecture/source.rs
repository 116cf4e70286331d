//! Finds and reads the project's manifests and sources, and tells code from comments and strings. What must
//! hold of them is in `main`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no source of ours.
const NOT_OURS: [&str; 3] = ["target", ".git", "docs"];

/// A package of the workspace.
pub(crate) struct Manifest {
    pub(crate) name: String,
    /// From the project's folder.
    pub(crate) path: String,
    /// The packages that it depends on in any way.
    pub(crate) dependencies: BTreeSet<String>,
}

/// A Rust file.
pub(crate) struct File {
    /// From the project's folder.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The same without comments and without what stands in strings.
    pub(crate) code: String,
}

impl File {
    /// The words of the code with their lines.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        words(&self.code)
    }

    /// The same without the unit tests, which stand last.
    pub(crate) fn words_before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.code.find("#[cfg(test)]\nmod tests {");
        words(&self.code[..end.unwrap_or(self.code.len())])
    }

    /// Whether a compiler starts here: a library, a program. Tests are held to the rule on `unsafe` itself.
    pub(crate) fn is_crate_root(&self) -> bool {
        let path = self.path.as_str();
        path.ends_with("src/lib.rs") || path.ends_with("src/main.rs") || path.contains("/src/bin/")
    }
}

/// All packages of the workspace.
pub(crate) fn manifests() -> Vec<Manifest> {
    let mut found = Vec::new();
    walk(&root(), &mut |path| {
        if path.ends_with("Cargo.toml") && path.parent() != Some(&root()) {
            found.push(manifest(path));
        }
    });
    assert!(!found.is_empty(), "no packages in {}", root().display());
    found
}

/// All Rust files of the project.
pub(crate) fn rust_files() -> Vec<File> {
    let mut found = Vec::new();
    walk(&root(), &mut |path| {
        if path.extension().is_some_and(|extension| extension == "rs") {
            let path = relative(path);
            let text = read(&path);
            let code = code_of(&text);
            found.push(File { path, text, code });
        }
    });
    assert!(
        found.len() > 10,
        "only {} Rust files in {}",
        found.len(),
        root().display()
    );
    found
}

/// A file of the project.
pub(crate) fn read(path: &str) -> String {
    try_read(path).unwrap_or_else(|| panic!("{path} cannot be read"))
}

/// A file of the project, where it is there.
pub(crate) fn try_read(path: &str) -> Option<String> {
    fs::read_to_string(root().join(path)).ok()
}

fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    (1..)
        .zip(code.lines())
        .flat_map(move |(number, line)| {
            let words = line.split(move |letter| !is_part(letter));
            words.map(move |word| (number, word))
        })
        .filter(|(_, word)| !word.is_empty())
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("xtask lies in the project's folder")
        .into()
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).expect("it was found there");
    path.to_str().expect("our names are plain").into()
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    for path in paths {
        if !path.is_dir() {
            visit(&path);
        } else if !NOT_OURS.iter().any(|name| path.ends_with(name)) {
            walk(&path, visit);
        }
    }
}

fn manifest(path: &Path) -> Manifest {
    let path = relative(path);
    let table: toml::Table = read(&path)
        .parse()
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    let name = table["package"]["name"]
        .as_str()
        .expect("a package has a name")
        .to_owned();
    let mut dependencies = BTreeSet::new();
    collect_dependencies(&table, &mut dependencies);
    Manifest {
        name,
        path,
        dependencies,
    }
}

/// Dependencies stand in tables of these names, also below `target`.
fn collect_dependencies(table: &toml::Table, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let Some(inner) = value.as_table() else {
            continue;
        };
        if ["dependencies", "dev-dependencies", "build-dependencies"].contains(&key.as_str()) {
            for (name, how) in inner {
                let renamed = how.get("package").and_then(toml::Value::as_str);
                found.insert(renamed.unwrap_or(name).to_owned());
            }
        } else {
            collect_dependencies(inner, found);
        }
    }
}

/// Blanks comments and the insides of strings and characters. Lines stay where they are.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest, code.chars().next_back()) {
            length
        } else if letter == '"' {
            string(rest)
        } else if letter == '\'' {
            character(rest)
        } else {
            code.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        };
        code.extend(
            rest[..length]
                .chars()
                .map(|letter| if letter == '\n' { '\n' } else { ' ' }),
        );
        rest = &rest[length..];
    }
    code
}

/// The length of a comment, others within it included.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of a raw string, where one begins here and not in the middle of a name.
fn raw_string(text: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
        return None;
    }
    let start = text
        .strip_prefix('b')
        .or(text.strip_prefix('c'))
        .unwrap_or(text)
        .strip_prefix('r')?;
    let hashes = start.len() - start.trim_start_matches('#').len();
    let inside = start[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let close = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + close)
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character, or of the mark of a lifetime.
fn character(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), _) => text[2..].find('\'').map_or(1, |at| {
            // The character may be the quote itself.
            if at == 0 {
                text[3..].find('\'').map_or(1, |at| at + 4)
            } else {
                at + 3
            }
        }),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = r##"
        // unsafe one
        let a = "unsafe \" two"; /* unsafe /* three */ unsafe */ let b = r#"unsafe " four"#;
        let c = '"'; let d = '\''; let e = b"unsafe"; let f: &'static str = "unsafe"; call(unsafe_code);
        unsafe { five() }
    "##;
    let file = File {
        path: String::new(),
        text: text.into(),
        code: code_of(text),
    };
    let found: Vec<usize> = file
        .words()
        .filter(|&(_, word)| word == "unsafe")
        .map(|(line, _)| line)
        .collect();
    assert_eq!(found, [5], "{}", file.code);
    assert_eq!(file.code.lines().count(), text.lines().count());
}

#[test]
fn unit_tests_are_left_out_of_the_words() {
    let text = "use core;\n#[cfg(test)]\nmod tests { use std; }\n";
    let file = File {
        path: "src/x.rs".into(),
        text: text.into(),
        code: code_of(text),
    };
    assert!(file.words_before_tests().all(|(_, word)| word != "std"));
    assert!(file.words().any(|(_, word)| word == "std"));
}
