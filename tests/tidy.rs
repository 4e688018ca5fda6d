//! The house rules that a machine can check: which room may lean on which, and that files and functions
//! stay small enough to read.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file and of a function at most.
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 60;

/// Each room of `src` and the rooms it may use, which stand above it: dependencies point down only. A folder with a
/// row of its own is a room for itself.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("record", &["error"]),
    ("cost", &["error"]),
    ("self_checksum", &[]),
    ("interrupt", &["error"]),
    ("compute", &["error", "interrupt"]),
    ("provider", &["compute", "error"]),
    ("bucket", &["compute", "error", "record", "self_checksum"]),
    ("memory", &["error"]),
    ("config", &["bucket", "memory", "provider"]),
    ("environment", &["bucket", "config", "error", "memory", "provider"]),
    ("format", &["bucket", "error", "record", "self_checksum"]),
    ("log", &["bucket", "format", "record"]),
    ("head", &["bucket", "config", "format", "record"]),
    ("text", &["error"]),
    ("filter", &["error", "format", "interrupt", "record"]),
    ("index", &["error", "format", "interrupt", "record"]),
    ("embedding", &["error", "interrupt"]),
    ("layout", &[]),
    ("ranking", &["error", "interrupt", "record"]),
    ("stream", &["bucket", "compute", "config", "error", "format", "head", "log", "memory", "record"]),
    ("collection/estimate", &["record"]),
    ("collection/request", &["config", "error", "filter", "index", "provider", "ranking", "record", "text"]),
    ("collection/state", &["collection/estimate", "error", "filter", "format", "index", "interrupt", "record", "text"]),
    (
        "collection/read",
        &[
            "collection/estimate",
            "collection/request",
            "collection/state",
            "config",
            "error",
            "filter",
            "index",
            "interrupt",
            "layout",
            "ranking",
            "record",
            "text",
        ],
    ),
    (
        "collection/write",
        &[
            "collection/estimate",
            "collection/read",
            "collection/request",
            "collection/state",
            "config",
            "error",
            "filter",
            "format",
            "interrupt",
            "record",
            "stream/state",
        ],
    ),
    ("collection/graph_policy", &["collection/state", "record"]),
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
            "layout",
            "memory",
            "ranking",
            "record",
            "stream",
            "text",
        ],
    ),
    ("file", &["bucket", "collection", "compute", "config", "error", "format", "record", "stream"]),
    ("check", &["bucket", "compute", "config", "error", "format", "head", "memory", "record", "stream"]),
    (
        "store",
        &[
            "bucket",
            "check",
            "collection",
            "compute",
            "config",
            "embedding",
            "error",
            "file",
            "format",
            "head",
            "interrupt",
            "memory",
            "provider",
            "record",
            "stream",
            "text",
        ],
    ),
    ("interop", &["collection", "config", "error", "format", "memory", "record", "text"]),
    (
        "http",
        &[
            "bucket",
            "collection",
            "compute",
            "config",
            "cost",
            "environment",
            "error",
            "file",
            "filter",
            "interop",
            "memory",
            "ranking",
            "record",
            "store",
            "text",
        ],
    ),
    ("blocking", &["collection", "compute", "config", "error", "record"]),
    (
        "testing",
        &["bucket", "check", "config", "filter", "format", "head", "index", "interrupt", "layout", "record", "text"],
    ),
];

/// Rooms that compute and never wait.
const CPU: &[&str] = &[
    "index/",
    "filter/",
    "format/",
    "ranking/",
    "text/",
    "collection/estimate",
    "collection/request",
    "collection/state/",
    "collection/read/",
    "collection/write/",
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

/// The path of a file's module, from the crate's root.
fn module(inside: &Path) -> Vec<String> {
    let names = inside.with_extension("");
    let names = names.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    names.filter(|name| name != "mod").collect()
}

/// Whether a path leads to a room or into it.
fn is_within(path: &[String], room: &str) -> bool {
    let room: Vec<&str> = room.split('/').collect();
    path.len() >= room.len() && path.iter().zip(&room).all(|(part, name)| part == name)
}

/// The row of a module: the one that says most about where it is.
fn row(module: &[String]) -> (&'static str, &'static [&'static str]) {
    let rows = ROOMS.iter().filter(|(name, _)| is_within(module, name));
    *rows.max_by_key(|(name, _)| name.len()).unwrap_or_else(|| panic!("{module:?} has no row"))
}

/// The paths behind `base` that a `use` or an expression goes on to.
fn behind(rest: &str, base: &[String], found: &mut Vec<Vec<String>>) {
    let rest = rest.trim_start();
    if let Some(list) = rest.strip_prefix('{') {
        let (mut depth, mut start) = (0, 0);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                ',' if depth == 0 => {
                    behind(&list[start..at], base, found);
                    start = at + 1;
                }
                '}' if depth == 0 => return behind(&list[start..at], base, found),
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let path = match name.as_str() {
        "" | "self" => base.to_vec(),
        "super" => base[..base.len().saturating_sub(1)].to_vec(),
        name => [base, &[name.to_owned()]].concat(),
    };
    match rest[name.len()..].strip_prefix("::") {
        Some(rest) => behind(rest, &path, found),
        None => found.push(path),
    }
}

/// Paths of this crate that a module names, from the crate's root, each with its line.
fn used(text: &str, module: &[String]) -> Vec<(usize, Vec<String>)> {
    let lines = product(text).lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut all = Vec::new();
    for word in ["crate::", "super::"] {
        for (at, _) in code.match_indices(word) {
            let before = &code[..at];
            let inside = before.ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c));
            if inside || before.ends_with("(in ") {
                continue;
            }
            let base = if word == "crate::" { &[] } else { &module[..module.len() - 1] };
            let mut found = Vec::new();
            behind(&code[at + word.len()..], base, &mut found);
            let line = before.matches('\n').count() + 1;
            all.extend(found.into_iter().map(|path| (line, path)));
        }
    }
    all
}

/// The paths in a module's text that its room may not use.
fn upward(text: &str, module: &[String]) -> Vec<String> {
    let (room, allowed) = row(module);
    let fine = |path: &[String]| {
        // What stands at the crate's root belongs to all.
        let at_root = path.first().is_none_or(|name| name.starts_with(|c: char| c.is_uppercase()));
        at_root || is_within(path, room) || allowed.iter().any(|allowed| is_within(path, allowed))
    };
    let wrong = used(text, module).into_iter().filter(|(_, path)| !fine(path));
    wrong.map(|(line, path)| format!("line {line}: {room} must not use {}", path.join("::"))).collect()
}

#[test]
fn dependencies_point_down_only() {
    for path in sources(&root("src")) {
        let inside = path.strip_prefix(root("src")).unwrap();
        let module = module(inside);
        if is_test(&path) || ["lib", "main", "cli"].contains(&module[0].as_str()) {
            continue;
        }
        let wrong = upward(&fs::read_to_string(&path).unwrap(), &module);
        assert!(wrong.is_empty(), "{}: {}", inside.display(), wrong.join("; "));
    }
}

/// What programs may use: the modules that `lib.rs` makes public, and what stands at its root.
#[test]
fn the_command_line_uses_the_public_api_as_any_program_would() {
    let lib = fs::read_to_string(root("src/lib.rs")).unwrap();
    let public: Vec<&str> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")).collect();
    let public: Vec<&str> = public.iter().map(|rest| rest.trim_end_matches([';', ' ', '{'])).collect();
    assert!(public.contains(&"admin") && public.contains(&"cli"), "{public:?}");
    for path in sources(&root("src/cli")) {
        let module = module(path.strip_prefix(root("src")).unwrap());
        let at_root = |name: &String| name.starts_with(|c: char| c.is_uppercase());
        let fine = |path: &[String]| path.first().is_none_or(|name| at_root(name) || public.contains(&name.as_str()));
        for (line, used) in used(&fs::read_to_string(&path).unwrap(), &module) {
            assert!(fine(&used), "{}: line {line} uses {}, which is not public", path.display(), used.join("::"));
        }
    }
}

#[test]
fn every_room_uses_only_rooms_above_it_in_the_table() {
    for (number, (room, allowed)) in ROOMS.iter().enumerate() {
        for used in *allowed {
            let parts: Vec<String> = used.split('/').map(str::to_owned).collect();
            let above = ROOMS[..number].iter().any(|(name, _)| is_within(&parts, name));
            assert!(above, "{room} stands above {used}, which it uses");
        }
    }
}

#[test]
fn a_use_of_a_higher_room_is_found_however_it_is_written() {
    let chunk: Vec<String> = ["collection", "state", "chunk"].map(str::to_owned).to_vec();
    for fine in [
        "use super::id_table::IdTable;",
        "use crate::record::{Address, Metric};",
        "use super::*;",
        "    pub(in crate::collection) fn row(&self) -> crate::Result<()> {",
        "// use crate::store::Store;",
        "#[cfg(test)]\nmod tests {\n    use super::super::super::handle::Collection;",
    ] {
        assert_eq!(upward(fine, &chunk), [""; 0], "{fine}");
    }
    for wrong in [
        "use crate::stream::Stream;",
        "use crate::{\n    record::Address,\n    store::Store,\n};",
        "use crate::collection::pin::PinGuard;",
        "use super::super::handle::Collection;",
        "use super::super::{state::graphs::Link, read::select::Selected};",
        "use super::super::*;",
        "    let held = super::super::pin::Pins::default();",
        "pub use super::{chunk::Chunk, super::write::resolve::resolve};",
    ] {
        assert_eq!(upward(wrong, &chunk).len(), 1, "{wrong}: {:?}", upward(wrong, &chunk));
    }
}

#[test]
fn cpu_rooms_know_no_async_runtime_and_only_the_bucket_knows_a_cloud() {
    for path in sources(&root("src")) {
        let inside = path.strip_prefix(root("src")).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let cpu = CPU.iter().any(|room| inside.starts_with(room));
        assert!(!(cpu && ["tokio", ".await"].iter().any(|word| says(&text, word))), "{inside} waits");
        let bridge = ["compute/", "cli/"].iter().any(|room| inside.starts_with(room)) || is_test(&path);
        assert!(
            bridge || !says(&text, "spawn_blocking("),
            "{inside} has a bridge of its own: compute::off_thread is it"
        );
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

/// What several programs share is a crate, compiled once. Only a file's own tests, which see its private parts, may lie
/// beside it.
#[test]
fn no_file_is_included_by_path_but_a_files_own_tests() {
    let mut own_tests = 0;
    for path in ["src", "tests", "benches", "examples"].into_iter().flat_map(|folder| sources(&root(folder))) {
        let text = fs::read_to_string(&path).unwrap();
        let own = format!("#[path = \"{}_tests.rs\"]", path.file_stem().unwrap().to_string_lossy());
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("#[path")) {
            let fine = line == own && path.starts_with(root("src"));
            assert!(fine, "{}: {line}: expected a module of the program, or a crate", path.display());
            own_tests += 1;
        }
    }
    assert!(own_tests > 0, "no file has its tests beside it");
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
