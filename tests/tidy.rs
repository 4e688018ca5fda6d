//! The house rules that a machine can check: which room may lean on which, and that files and functions
//! stay small enough to read.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file and of a function at most.
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 60;

/// Each room of `src` and the rooms it may use. Dependencies point down only.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("record", &["error"]),
    ("self_checksum", &[]),
    ("interrupt", &["error"]),
    ("bucket", &["error", "record", "self_checksum"]),
    ("memory", &["error"]),
    ("config", &["bucket", "memory"]),
    ("environment", &["bucket", "config", "error", "memory"]),
    ("format", &["bucket", "error", "record", "self_checksum"]),
    ("log", &["bucket", "format", "record"]),
    ("head", &["bucket", "config", "format", "record"]),
    ("filter", &["error", "format", "interrupt", "record"]),
    ("index", &["error", "format", "interrupt", "record"]),
    ("compute", &["error", "interrupt"]),
    ("stream", &["bucket", "config", "error", "format", "head", "log", "memory", "record"]),
    (
        "collection",
        &[
            "bucket",
            "compute",
            "config",
            "error",
            "filter",
            "format",
            "head",
            "index",
            "interrupt",
            "memory",
            "record",
            "stream",
        ],
    ),
    ("file", &["bucket", "collection", "config", "error", "format", "record", "stream"]),
    ("check", &["bucket", "config", "error", "format", "head", "record", "stream"]),
    (
        "store",
        &[
            "bucket",
            "check",
            "collection",
            "compute",
            "config",
            "error",
            "file",
            "format",
            "head",
            "memory",
            "record",
            "stream",
        ],
    ),
    ("interop", &["collection", "config", "error", "format", "memory", "record"]),
    (
        "http",
        &[
            "bucket",
            "collection",
            "config",
            "environment",
            "error",
            "file",
            "filter",
            "interop",
            "memory",
            "record",
            "store",
        ],
    ),
    ("blocking", &["collection", "config", "error", "record"]),
    ("testing", &["bucket", "check", "config", "filter", "format", "head", "index", "interrupt", "record"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn root(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// Whether a file holds only tests, which may use any room and be as long as a table needs.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_string_lossy();
    name.ends_with("tests") || name == "replay" || name == "invariants"
}

/// The part of a file before its own tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

/// Whether some line of code, not of comment, holds `word`.
fn says(text: &str, word: &str) -> bool {
    product(text).lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word))
}

#[test]
fn dependencies_point_down_only() {
    for path in sources(&root("src")) {
        let inside = path.strip_prefix(root("src")).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        if is_test(&path) || ["lib", "main", "cli"].contains(&room.as_str()) {
            continue;
        }
        let (_, allowed) = ROOMS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("{room} has no row"));
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in product(&text).lines().enumerate().filter(|(_, line)| !line.trim().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let fine = used.is_empty() || used == room || allowed.contains(&used.as_str());
                assert!(fine, "{}:{}: {room} must not use {used}", inside.display(), number + 1);
            }
        }
    }
}

#[test]
fn cpu_rooms_know_no_async_runtime_and_only_the_bucket_knows_a_cloud() {
    for path in sources(&root("src")) {
        let inside = path.strip_prefix(root("src")).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let cpu = inside.starts_with("index/") || inside.starts_with("filter/") || inside.starts_with("format/");
        assert!(!(cpu && says(&text, "tokio")), "{inside} uses tokio");
        let cloud = ["aws_sdk_s3", "aws_config", "object_store::"].into_iter().any(|name| says(&text, name));
        assert!(!cloud || inside.starts_with("bucket/"), "{inside} knows a cloud");
    }
}

/// Rooms that know the environment. The core says the names of settings.
const OF_VARIABLES: [&str; 3] = ["cli", "environment", "http"];

/// The names of our own variables in a text.
fn variables(text: &str) -> Vec<String> {
    let letter = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_';
    let rests = text.split("DRUMLIN_").skip(1).map(|rest| rest.chars().take_while(letter).collect::<String>());
    rests.map(|rest| format!("DRUMLIN_{rest}")).collect()
}

#[test]
fn the_core_names_settings_and_no_variables_of_the_environment() {
    for path in sources(&root("src")).into_iter().filter(|path| !is_test(path)) {
        let inside = path.strip_prefix(root("src")).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let named = variables(product(&text));
        assert!(OF_VARIABLES.contains(&room.as_str()) || named.is_empty(), "{}: {named:?}", inside.display());
    }
}

#[test]
fn every_variable_that_a_message_of_the_server_names_is_one_that_help_lists() {
    let listed = variables(&fs::read_to_string(root("src/cli/variables.rs")).unwrap());
    let mut checked = 0;
    for path in sources(&root("src/http")).into_iter().chain(sources(&root("src/environment"))) {
        let text = fs::read_to_string(&path).unwrap();
        for name in variables(product(&text)).iter().filter(|name| name.len() > "DRUMLIN_".len()) {
            checked += 1;
            assert!(listed.contains(name), "{} names {name}, which is not read", path.display());
        }
    }
    assert!(checked > 60, "only {checked} names were found");
}

#[test]
fn settings_that_may_grow_are_made_field_by_field_wherever_a_reader_copies_from() {
    let grow = |text: &str| -> Vec<String> {
        let marks = text.split("#[cfg_attr(not(feature = \"testing\"), non_exhaustive)]\npub struct ").skip(1);
        marks.map(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).collect()).collect()
    };
    let all = sources(&root("src"));
    let names: Vec<String> = all.iter().flat_map(|path| grow(&fs::read_to_string(path).unwrap())).collect();
    assert!(names.len() >= 10, "{names:?}");
    let pages = fs::read_dir(root("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let programs = ["examples", "benches", "src/cli"].into_iter().flat_map(|folder| sources(&root(folder)));
    for path in programs.filter(|path| !is_test(path)).chain(pages).chain([root("README.md")]) {
        for line in fs::read_to_string(&path).unwrap().lines().filter(|line| !line.contains("struct ")) {
            let literal = |name: &String| {
                line.split(&format!("{name} {{")).skip(1).count() > 0
                    && !line.contains(&format!("-> {name} {{"))
                    && line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name)
            };
            assert!(!names.iter().any(literal), "{}: {line}: new, then fields", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_owns_and_stays_readable() {
    for path in ["src", "tests", "benches", "examples"].into_iter().flat_map(|folder| sources(&root(folder))) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES, "{} has {lines} lines, at most {FILE_LINES}", path.display());
        let opens = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        assert!(opens.starts_with("//!"), "{} opens with {opens:?}, not with what it owns", path.display());
    }
}

#[test]
fn no_function_is_longer_than_a_screen() {
    for path in sources(&root("src")).into_iter().filter(|path| !is_test(path)) {
        let text = fs::read_to_string(&path).unwrap();
        let mut open: Option<(usize, String, String)> = None;
        for (number, line) in product(&text).lines().enumerate() {
            let indent: String = line.chars().take_while(|c| *c == ' ').collect();
            let head = line.trim_start();
            let seen = head.strip_prefix("pub(").and_then(|rest| rest.split_once(") ")).map_or(head, |(_, rest)| rest);
            let begins = seen.split('(').next().is_some_and(|h| h.split(' ').any(|word| word == "fn"));
            if open.is_none() && begins && !head.starts_with("//") && !head.ends_with([';', '}']) {
                open = Some((number, format!("{indent}}}"), head.to_owned()));
            } else if let Some((start, end, name)) = &open
                && line == end
            {
                let lines = number - start + 1;
                assert!(lines <= FUNCTION_LINES, "{}:{}: {lines} lines: {name}", path.display(), start + 1);
                open = None;
            }
        }
    }
}

/// The table of requirements names tests as `file::test`, or a file of tests.
#[test]
fn every_test_that_the_table_of_requirements_names_is_there() {
    let table = fs::read_to_string(root("docs/requirements.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).count();
    assert!(rows > 35 && !table.contains("**open**"), "{rows} rows");
    let named = table.split('`').filter(|word| ["tests/", "src/"].iter().any(|folder| word.starts_with(folder)));
    let mut checked = 0;
    for name in named {
        let (file, test) = name.split_once("::").unwrap_or((name, ""));
        let text = fs::read_to_string(root(file)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let there = test.is_empty() || ["fn", "def"].iter().any(|word| text.contains(&format!("{word} {test}(")));
        assert!(there, "{file} has no test {test}");
        checked += 1;
    }
    assert!(checked > 30, "only {checked} tests are named");
}
