//! The manual's pages of the calls, made of the header: what stands above a prototype is its description.

/// A page of section 3.
#[derive(Debug)]
pub(crate) struct Page {
    /// The call.
    pub(crate) name: String,
    /// For man: roff.
    pub(crate) text: String,
}

/// A page for each call of a header, in its order.
pub(crate) fn of_header(header: &str) -> Vec<Page> {
    let calls = calls(header);
    let names: Vec<&str> = calls.iter().map(|call| call.name).collect();
    calls.iter().map(|call| page(call, &names)).collect()
}

/// A prototype with what stands above it.
struct Call<'a> {
    name: &'a str,
    prototype: String,
    comment: Vec<&'a str>,
}

/// Finds the prototypes: a line outside of a type that begins a declaration with `(`, up to its `;`.
fn calls(header: &str) -> Vec<Call<'_>> {
    let mut found = Vec::new();
    let mut comment = Vec::new();
    let mut lines = header.lines();
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("//") {
            comment.push(text.strip_prefix(' ').unwrap_or(text));
            continue;
        }
        let name = name_of(line);
        if let Some(name) = name {
            let mut prototype = line.to_owned();
            while !prototype.ends_with(';') {
                let Some(next) = lines.next() else { break };
                prototype.push(' ');
                prototype.push_str(next.trim());
            }
            let comment = std::mem::take(&mut comment);
            found.push(Call {
                name,
                prototype,
                comment,
            });
        }
        comment.clear();
    }
    found
}

/// The name that a line declares as a function.
fn name_of(line: &str) -> Option<&str> {
    let declares = line.starts_with(|letter: char| letter.is_ascii_alphabetic());
    let (before, _) = line.split_once('(').filter(|_| declares)?;
    let name = before.rsplit([' ', '*']).next()?;
    name.starts_with("hive_").then_some(name)
}

fn page(call: &Call<'_>, names: &[&str]) -> Page {
    let paragraphs = call.comment.split(|line| line.is_empty());
    let paragraphs: Vec<String> = paragraphs.map(|lines| lines.join(" ")).collect();
    let first = paragraphs.first().map_or("", String::as_str);
    let brief = first.split(['.', ':', ';']).next().unwrap_or_default();
    let body = paragraphs.iter().map(|text| escaped(text));
    let body = body.collect::<Vec<_>>().join("\n.PP\n");
    let family = |name: &str| name.split('_').nth(1).unwrap_or_default().to_owned();
    let others = names.iter().filter(|name| **name != call.name);
    let others = others.filter(|name| family(name) == family(call.name));
    let mut see: Vec<String> = vec![".BR hivemind (1)".into()];
    see.extend(others.map(|name| format!(".BR {name} (3)")));
    let text = format!(
        ".TH {} 3 \"\" \"HiveMind {}\" \"HiveMind for C\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.nf\n.B #include <hivemind.h>\n.PP\n.B \"{}\"\n.fi\n\
         .SH DESCRIPTION\n{}\n.SH ERRORS\n.BR hive_last_error (3)\nand\n.BR hive_error_text (3)\ntell what a failed call met and what to do.\n.SH SEE ALSO\n{}\n",
        call.name,
        env!("CARGO_PKG_VERSION"),
        call.name,
        escaped(&brief.to_lowercase()),
        escaped(&call.prototype).replace('"', "\\(dq"),
        body,
        see.join(",\n"),
    );
    Page {
        name: call.name.to_owned(),
        text,
    }
}

/// As roff takes it: no line is taken for a request, no letter for an escape.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "// A lock.\ntypedef struct hive_mutex_t {\n  // (inside)\n  uint64_t reserved;\n} hive_mutex_t;\n\n\
        // Takes lock `id`. Blocks.\n//\n// Gives HIVE_LOST.\nhive_status_t hive_lock(uint32_t id);\n\nvoid *hive_two(size_t a,\n               size_t b);\n";

    #[test]
    fn each_prototype_has_a_page_with_what_stands_above_it() {
        let pages = of_header(HEADER);
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        assert_eq!(names, ["hive_lock", "hive_two"]);
        assert!(
            pages[0]
                .text
                .contains("Takes lock `id`. Blocks.\n.PP\nGives HIVE_LOST.")
        );
        assert!(!pages[0].text.contains("inside"));
        assert!(
            pages[1]
                .text
                .contains("void *hive_two(size_t a, size_t b);")
        );
    }
}
