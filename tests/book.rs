//! The README and the book in `docs/` hold together: every link leads somewhere, every page is in the summary, and what
//! the pages say of settings, metrics, errors and routes is what the source says. Reads files as text, needs no crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of README at most: it introduces, the book explains.
const README_BYTES: usize = 8_000;
/// Pages outside of `docs/` whose links are checked too.
const FRONT: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
/// Text that is compiled as Rust where a fence names no language.
const COMPILED: [&str; 2] = ["README.md", "docs/rust.md"];

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All pages of the book, as paths from the root, in order.
fn pages() -> Vec<String> {
    fn below(folder: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(root(folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                below(&path, found);
            } else if path.ends_with(".md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    below("docs", &mut found);
    found.sort();
    found
}

/// Lines outside of fenced blocks, with their numbers from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((number + 1, line));
        }
    }
    assert!(!fenced, "a fenced block is not closed");
    lines
}

/// A line without its code spans: what stands in them is no link.
fn without_code(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    // With an odd number of ticks the last one opens nothing.
    let spans = parts.len() / 2 * 2;
    let outside = parts.iter().enumerate().filter(|(i, _)| i % 2 == 0 || *i >= spans);
    outside.map(|(_, part)| *part).collect::<Vec<_>>().join("`")
}

/// The targets of a line's links.
fn targets(line: &str) -> Vec<String> {
    let line = without_code(line);
    let ends = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    ends.map(str::to_owned).collect()
}

/// Where GitHub puts the headings of a page: lower case, hyphens for spaces, no other punctuation, and a number behind
/// those that come again.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let mut found = BTreeSet::new();
    for (_, line) in prose(text) {
        for id in line.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            found.insert(id.to_owned());
        }
        let hashes = line.chars().take_while(|c| *c == '#').count();
        let Some(heading) = line.get(hashes..).and_then(|rest| rest.strip_prefix(' ')) else { continue };
        if hashes == 0 || hashes > 6 {
            continue;
        }
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect();
        let before = seen.entry(anchor.clone()).or_default();
        found.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    found
}

/// A path with its `.` and `..` resolved.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => assert!(parts.pop().is_some(), "{path} leads out of the repository"),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What is wrong with a link from `page`, if anything.
fn wrong(page: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let file = if path.is_empty() { page.to_owned() } else { normal(&format!("{folder}/{path}")) };
    if !root(&file).exists() {
        return Some(format!("{page}: {target} leads to {file}, which is not there"));
    }
    let missing = !anchor.is_empty() && file.ends_with(".md") && !anchors(&read(&file)).contains(anchor);
    missing.then(|| format!("{page}: {target} names no heading of {file}"))
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_of_it() {
    let mut checked = 0;
    let mut found = Vec::new();
    for page in FRONT.iter().map(|page| (*page).to_owned()).chain(pages()) {
        for (number, line) in prose(&read(&page)) {
            for target in targets(line) {
                checked += 1;
                found.extend(wrong(&page, &target).map(|what| format!("line {number} of {what}")));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(checked > 100, "only {checked} links were found");
}

#[test]
fn anchors_are_made_as_github_makes_them() {
    let text =
        "# What's new: `v1`\n## What\n## What\n```text\n# no heading\n```\n### B3, B4 – *x_y*\n<a id=\"named\"></a>\n";
    let expected = ["b3-b4--x_y", "named", "what", "what-1", "whats-new-v1"];
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(targets("a [b](c.md#d), [`e`](f) and `[g](h)`"), ["c.md#d", "f"]);
    assert!(wrong("docs/faq.md", "no-such-page.md").is_some() && wrong("docs/faq.md", "memory.md#no-such").is_some());
    assert!(wrong("docs/faq.md", "../README.md#numbers").is_none() && wrong("README.md", "docs/faq.md").is_none());
}

#[test]
fn every_page_is_in_the_summary_once_and_nothing_else_is() {
    let summary = read("docs/SUMMARY.md");
    let listed = prose(&summary).into_iter().filter(|(_, line)| line.trim_start().starts_with("- "));
    let mut listed: Vec<String> =
        listed.flat_map(|(_, line)| targets(line)).map(|page| format!("docs/{page}")).collect();
    listed.sort();
    let mut there = pages();
    there.retain(|page| page != "docs/SUMMARY.md");
    assert_eq!(listed, there);
}

#[test]
fn readme_is_short_and_says_how_to_start_and_to_test() {
    let readme = read("README.md");
    assert!(readme.len() <= README_BYTES, "README.md has {} bytes, at most {README_BYTES}", readme.len());
    for command in ["cargo run --release -- serve", "cargo test"] {
        assert!(readme.lines().any(|line| line == command), "README.md has no line {command:?}");
    }
    assert!(readme.contains("`cargo install --path .`"));
}

#[test]
fn every_block_of_a_compiled_page_names_its_language() {
    for page in COMPILED {
        let text = read(page);
        let fences: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with("```")).collect();
        let unnamed = fences.chunks(2).any(|pair| pair[0].trim() == "```");
        assert!(!unnamed, "{page}: a block without a language would be compiled as Rust");
        assert!(fences.iter().any(|fence| fence.starts_with("```rust")), "{page} has no program");
        let included = format!("include_str!(\"../{page}\")");
        assert!(read("src/lib.rs").contains(&included), "src/lib.rs does not have {included}");
    }
}

/// The string literals of Rust source, comments left out. Escapes are those that the sources read here have.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut open: Option<String> = None;
    let mut letters = code.chars();
    while let Some(letter) = letters.next() {
        match (&mut open, letter) {
            (None, '"') => open = Some(String::new()),
            (Some(_), '"') => found.extend(open.take()),
            (Some(text), '\\') => text.extend(letters.next()),
            (Some(text), letter) => text.push(letter),
            (None, _) => {}
        }
    }
    found
}

/// Name and default of every variable, in the order of the table.
fn variables() -> Vec<(String, String)> {
    let source = read("src/cli/variables.rs");
    let (_, table) = source.split_once("VARIABLES: &[Variable] = &[").unwrap();
    let (table, _) = table.split_once("\n];").unwrap();
    let texts = literals(table);
    assert!(texts.len().is_multiple_of(3) && texts.len() > 300, "{} texts", texts.len());
    texts.chunks(3).map(|entry| (entry[0].clone(), entry[1].clone())).collect()
}

/// The cells of the rows of all tables in a text; a bar in a cell does not occur here.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines = prose(text).into_iter().map(|(_, line)| line).filter(|line| line.starts_with('|'));
    let cells = lines.map(|line| line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect());
    cells.collect()
}

/// A part of a page: from its heading to the next one of the same level.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let (_, body) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("there is no {heading}"));
    let level = heading.split(' ').next().unwrap();
    body.split(&format!("\n{level} ")).next().unwrap()
}

#[test]
fn the_page_of_settings_has_every_variable_with_its_default_in_the_order_of_the_table() {
    let page = read("docs/configuration.md");
    let rows = rows(section(&page, "## Settings")).into_iter().filter(|row| row[0].starts_with('`'));
    let listed: Vec<(String, String)> = rows
        .map(|row| {
            assert!(row.len() == 3 && !row[2].is_empty(), "{row:?}");
            (row[0].replace('`', ""), row[1].replace('`', ""))
        })
        .collect();
    for (page, table) in listed.iter().zip(&variables()) {
        assert_eq!(page, table, "docs/configuration.md beside src/cli/variables.rs");
    }
    assert_eq!(listed.len(), variables().len());
}

#[test]
fn the_example_of_settings_has_every_variable_with_its_default() {
    let example = read(".env.example");
    let entries = example.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let entries =
        entries.filter(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'));
    let listed: BTreeMap<&str, &str> = entries.collect();
    let table = variables();
    for (name, default) in &table {
        let told = listed.get(name.as_str()).unwrap_or_else(|| panic!(".env.example has no {name}"));
        // What is no value stands in words above.
        let value = if default.contains(' ') || table.iter().any(|(name, _)| name == default) { "" } else { default };
        assert_eq!(*told, value, "{name}: .env.example beside src/cli/variables.rs");
    }
    assert_eq!(listed.len(), table.len(), ".env.example names a variable that is not read");
}

/// Names of all metrics, from the places that register them.
fn metrics() -> BTreeSet<String> {
    let source = read("src/http/metrics.rs");
    let (product, _) = source.split_once("#[cfg(test)]").unwrap_or((&source, ""));
    let mut names = BTreeSet::new();
    for (call, ending) in [("scrape.counter(\"", "_total"), ("scrape.seconds(\"", "_total"), ("scrape.gauge(\"", "")] {
        let found = product.split(call).skip(1).filter_map(|rest| rest.split('"').next());
        names.extend(found.map(|name| format!("drumlin_{name}{ending}")));
    }
    let whole = |text: &String| text.starts_with("drumlin_") && !text.contains('{');
    names.extend(literals(product).into_iter().filter(whole));
    names
}

#[test]
fn every_metric_is_described_and_none_that_is_not_there() {
    let page = read("docs/operations.md");
    let rows = rows(section(&page, "## Metrics")).into_iter().map(|row| row[0].clone());
    let described: BTreeSet<String> = rows
        .flat_map(|cell| {
            cell.split('`').filter(|word| word.starts_with("drumlin_")).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert!(described.len() > 50, "{} metrics", described.len());
    assert_eq!(described, metrics());
    // And those that alerts name.
    let named = page.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(|word| word.starts_with("drumlin_"));
    let strange: Vec<&str> = named.filter(|name| !described.contains(*name)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

/// The number of an HTTP status by axum's name, of those that kinds have.
fn number(status: &str) -> &'static str {
    let numbers = [
        ("BAD_REQUEST", "400"),
        ("UNAUTHORIZED", "401"),
        ("NOT_FOUND", "404"),
        ("CONFLICT", "409"),
        ("GONE", "410"),
        ("UNPROCESSABLE_ENTITY", "422"),
        ("INTERNAL_SERVER_ERROR", "500"),
        ("SERVICE_UNAVAILABLE", "503"),
        ("GATEWAY_TIMEOUT", "504"),
        ("INSUFFICIENT_STORAGE", "507"),
    ];
    numbers.iter().find(|(name, _)| *name == status).unwrap_or_else(|| panic!("{status} is not in this table")).1
}

#[test]
fn every_kind_of_error_is_described_with_its_status() {
    // `ErrorKind::NotFound => "not_found",` in one file, `ErrorKind::A | ErrorKind::B => StatusCode::CONFLICT,` in the
    // other.
    let arms = |text: &str, of: &str| -> Vec<(String, String)> {
        let (_, body) = text.split_once(of).unwrap();
        let (body, _) = body.split_once("\n    }\n").unwrap();
        let arms = body.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(" => "));
        arms.map(|(kind, value)| (kind.to_owned(), value.to_owned())).collect()
    };
    let errors = read("src/error.rs");
    let names: BTreeMap<String, String> = arms(&errors, "fn name(self)").into_iter().collect();
    let mut expected = BTreeMap::new();
    for (kinds, status) in arms(&read("src/http/error.rs"), "fn status(kind: ErrorKind)") {
        for kind in kinds.split(" | ") {
            let status = number(status.trim_start_matches("StatusCode::"));
            expected.insert(names[kind].trim_matches('"').to_owned(), status.to_owned());
        }
    }
    assert_eq!(expected.len(), names.len());
    let page = read("docs/operations.md");
    let rows = rows(section(&page, "## Errors")).into_iter().filter(|row| row.len() == 4 && row[0].starts_with('`'));
    let described: BTreeMap<String, String> = rows.map(|row| (row[0].replace('`', ""), row[1].clone())).collect();
    assert_eq!(described, expected);
}

#[test]
fn every_route_that_is_not_chromas_is_described() {
    let mut routes = BTreeSet::new();
    for file in ["src/http/mod.rs", "src/http/files/mod.rs"] {
        let source = read(file);
        for rest in source.split("(Method::").skip(1) {
            let Some((method, rest)) = rest.split_once(", \"") else { continue };
            let path = rest.split('"').next().unwrap().replace("{*", "{");
            if method.bytes().all(|b| b.is_ascii_uppercase()) {
                routes.insert(format!("{method} {path}"));
            }
        }
    }
    assert!(routes.len() >= 28, "only {} routes were found", routes.len());
    let described = read("docs/http-api.md") + &read("docs/files.md");
    for route in routes {
        assert!(described.contains(&format!("`{route}`")), "neither docs/http-api.md nor docs/files.md has `{route}`");
    }
}
