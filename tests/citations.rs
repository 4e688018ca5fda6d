//! Every citation of the protocol leads to a rule that is there: `docs/protocol.md#name` to a heading, `P1` to `P4`,
//! `I1` to `I12` and `T_…` to a definition, "rule A" to its rule. Comments and documents cite by these names only.
//! And what the documents for readers of the code name, files and what is in them, is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PROTOCOL: &str = "docs/protocol.md";

fn root(inside: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(inside)
}

/// All files with one of these endings in a folder, or the file itself.
fn files(path: &Path, endings: &[&str]) -> Vec<PathBuf> {
    if path.is_file() {
        let ends = path.extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted));
        return if ends { vec![path.to_owned()] } else { Vec::new() };
    }
    let inside = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = inside.flat_map(|inside| files(&inside, endings)).collect();
    found.sort();
    found
}

/// What the protocol's document defines.
struct Names {
    /// Anchors of its headings, as GitHub makes them.
    anchors: BTreeSet<String>,
    /// What it defines in bold.
    labels: BTreeSet<String>,
}

impl Names {
    fn of(document: &str) -> Names {
        let headings = document.lines().filter(|line| line.starts_with('#'));
        let anchors = headings.map(|line| slug(line.trim_start_matches('#').trim())).collect();
        let bold = document.split("**").skip(1).step_by(2);
        Names { anchors, labels: bold.filter(|text| is_label(text)).map(str::to_owned).collect() }
    }

    fn has(&self, citation: &Citation) -> bool {
        match citation {
            Citation::Anchor(name) => self.anchors.contains(name),
            Citation::Label(name) => self.labels.contains(name),
            Citation::Number(_) => false,
        }
    }
}

/// A place of the protocol that some text refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Citation {
    /// A heading.
    Anchor(String),
    /// A promise, an invariant or a constant.
    Label(String),
    /// A section's number: there are none.
    Number(String),
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `P1`, `I12`, `T_KEEP`.
fn is_label(word: &str) -> bool {
    let numbered = word.strip_prefix(['P', 'I']).is_some_and(|n| (1..=2).contains(&n.len()) && n.parse::<u8>().is_ok());
    let capitals = |name: &str| name.len() > 1 && name.bytes().all(|b| b.is_ascii_uppercase());
    let constant = word.strip_prefix("T_").is_some_and(capitals);
    // Widths of integers are no invariants.
    (numbered && !["I16", "I32", "I64"].contains(&word)) || constant
}

/// The anchors that a text links to.
fn anchors(text: &str, within: bool) -> Vec<Citation> {
    let link = if within { "](#" } else { "protocol.md#" };
    let names = text.split(link).skip(1).map(|rest| rest.chars().take_while(|c| is_word(*c) || *c == '-').collect());
    names.map(Citation::Anchor).collect()
}

/// Labels, rules and numbers of sections that a sentence refers to.
fn words(text: &str) -> Vec<Citation> {
    let mut found: Vec<Citation> = text.split(|c| !is_word(c)).filter(|word| is_label(word)).map(label).collect();
    let lower = text.to_lowercase();
    for (at, _) in lower.match_indices("rule ") {
        // Lower case may have another length than the text only behind letters that no rule's name has.
        let name: String = text.get(at + 5..).unwrap_or_default().chars().take_while(|c| is_word(*c)).collect();
        let before = lower[..at].chars().next_back().is_some_and(is_word);
        if !before && name.len() == 1 && name.chars().all(|c| c.is_ascii_uppercase()) {
            found.push(Citation::Anchor(slug(&format!("rule {name}"))));
        }
    }
    for (at, word) in ["section ", "sections "].iter().flat_map(|word| lower.match_indices(word)) {
        let number = lower[at + word.len()..].split(|c| !is_word(c)).next().unwrap_or_default();
        if number.starts_with(|c: char| c.is_ascii_digit()) && !text.contains("RFC") {
            found.push(Citation::Number(number.to_owned()));
        }
    }
    // The number may stand on the next line.
    if lower.trim_end().ends_with("protocol section") {
        found.push(Citation::Number(String::new()));
    }
    found
}

fn label(name: &str) -> Citation {
    Citation::Label(name.to_owned())
}

/// Constants, which mean the same wherever they stand.
fn constants(text: &str) -> Vec<Citation> {
    text.split(|c| !is_word(c)).filter(|word| word.starts_with("T_") && is_label(word)).map(label).collect()
}

/// What a line of Rust cites: in its comment, or at the beginning of a message such as "I3/I7: …".
fn of_rust(line: &str) -> Vec<Citation> {
    let comment = line.find("//").filter(|at| line[..*at].trim_end().is_empty() || line[..*at].ends_with(' '));
    let (code, comment) = line.split_at(comment.unwrap_or(line.len()));
    let mut found = [anchors(line, false), words(comment), constants(code)].concat();
    for text in code.split('"').skip(1).step_by(2) {
        let names = text.split_once(':').map_or("", |(names, _)| names).split('/');
        found.extend(names.filter(|name| is_label(name)).map(label));
    }
    found
}

#[test]
fn every_citation_of_the_protocol_is_there() {
    let document = fs::read_to_string(root(PROTOCOL)).unwrap();
    let names = Names::of(&document);
    let (mut cited, mut wrong) = (0, Vec::new());
    let mut check = |path: &Path, number: usize, citations: Vec<Citation>| {
        for citation in citations {
            cited += 1;
            if !names.has(&citation) {
                let inside = path.strip_prefix(root("")).unwrap_or(path).display();
                wrong.push(format!("{inside}:{}: {citation:?} is not in {PROTOCOL}", number + 1));
            }
        }
    };
    for path in ["src", "tests", "benches", "examples"].into_iter().flat_map(|folder| files(&root(folder), &["rs"])) {
        if path.ends_with("tests/citations.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        text.lines().enumerate().for_each(|(number, line)| check(&path, number, of_rust(line)));
    }
    let documents = ["docs", "README.md", "ARCHITECTURE.md", "CHANGELOG.md"];
    for path in documents.into_iter().flat_map(|place| files(&root(place), &["md"])) {
        let text = fs::read_to_string(&path).unwrap();
        let own = path == root(PROTOCOL);
        for (number, line) in text.lines().enumerate() {
            check(&path, number, [anchors(line, own), constants(line)].concat());
            if own {
                let labels = words(line).into_iter().filter(|cited| matches!(cited, Citation::Label(_)));
                check(&path, number, labels.collect());
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cited > 150, "only {cited} citations were found");
}

#[test]
fn what_the_document_does_not_have_is_found() {
    let names = Names::of("# The protocol\n## Rule A\n### HEAD swap\n| **I4** | **P1** | **T_KEEP** | **bold** |\n");
    let wrong = |line: &str| of_rust(line).iter().filter(|citation| !names.has(citation)).count();
    for right in [
        "//! Swaps (docs/protocol.md#head-swap): I4 holds by rule A and P1, for T_KEEP.",
        "    let x = 1; // Rule A (RFC 9110, section 14).",
        "    broken.push(format!(\"I4: {x} is of I64\"));",
        "    const I9: u8 = 6;",
        "    let url = \"https://drumlin.example/P9\";",
        "    /// An ext4 overrule B, and I64 or I16 as Parquet has them.",
    ] {
        assert_eq!(wrong(right), 0, "{right}: {:?}", of_rust(right));
    }
    for line in [
        "/// See docs/protocol.md#head-swop.",
        "    // By rule B.",
        "/// I5 as far as HEAD shows it.",
        "/// Create if absent (P2).",
        "    call(); // for T_KEEPS",
        "//! Flush (protocol section 7).",
        "//! HEAD (sections 3 and 7).",
        "//! Flush (protocol section",
        "    panic!(\"I4/I7: {key} was deleted\");",
        "    let constant = T_LEASE;",
    ] {
        assert_eq!(wrong(line), 1, "{line}: {:?}", of_rust(line));
    }
    assert_eq!(of_rust("// Nothing of the kind: `I`, P, T_, section."), []);
}

/// Whether `text` defines something of that name.
fn defines(text: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(is_word);
    ["fn", "struct", "enum", "trait", "const"].iter().any(|kind| {
        let begin = format!("{kind} {name}");
        text.match_indices(&begin).any(|(at, _)| ends(&text[at + begin.len()..]))
    })
}

/// What is wrong with a word in back quotes that looks like a file, a folder or something in a file.
fn misplaced(word: &str) -> Option<String> {
    let (path, name) = word.split_once("::").unwrap_or((word, ""));
    let looks = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '/');
    if !path.chars().all(looks) || !(path.ends_with(".rs") || path.ends_with('/')) {
        return None;
    }
    let Some(found) = ["", "src"].iter().map(|folder| root(folder).join(path)).find(|file| file.exists()) else {
        return Some(format!("{path} is not there"));
    };
    let there = name.is_empty() || defines(&fs::read_to_string(found).unwrap(), name);
    (!there).then(|| format!("{path} has no {name}"))
}

#[test]
fn what_the_documents_name_is_there() {
    let mut wrong = Vec::new();
    let mut named = 0;
    for (document, folders) in [("ARCHITECTURE.md", true), (PROTOCOL, false)] {
        let text = fs::read_to_string(root(document)).unwrap();
        let (_, prose) = text.split_at(text.rfind("\n```\n").map_or(0, |at| at + "\n```\n".len()));
        // Keys of the bucket look like folders.
        let words = prose.split('`').skip(1).step_by(2).filter(|word| folders || !word.ends_with('/'));
        for word in words {
            named += 1;
            wrong.extend(misplaced(word).map(|why| format!("{document}: {why}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named > 200, "only {named} words stand in back quotes");
    for gone in ["tests/no_such.rs", "stream/append.rs::prepend", "streams/"] {
        assert!(misplaced(gone).is_some(), "{gone}");
    }
}
