//! The `.env` file of the working directory. What is set in the environment wins. Invariants: no other file is read;
//! no message repeats a value, which may be a secret; a line that cannot be read and may be ours stops the start.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use drumlin::Result;

use super::names;
use super::settings::invalid;

/// What was read, for the log.
#[derive(Debug, Default)]
pub struct DotEnv {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// What a person should be told of it.
    pub notes: Vec<String>,
}

/// The pairs of a file in their order, and what is to be told of the lines that are none.
type Parsed = (Vec<(String, String)>, Vec<String>);
/// Lines of one value in quotes, such as a certificate, at most.
const ENTRY_LINES: usize = 100;

/// Adds what the working directory's `.env` says to the environment.
///
/// # Errors
/// `Invalid`, with the file's path, where it cannot be read or a setting's line cannot.
pub fn load() -> Result<DotEnv> {
    let path = std::env::current_dir().unwrap_or_default().join(".env");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(DotEnv::default()),
        Err(e) if e.kind() == ErrorKind::IsADirectory => {
            let notes = vec![format!("{} is a directory and no file of settings; it is not read", path.display())];
            return Ok(DotEnv { path: None, notes });
        }
        Err(e) => return Err(invalid(format!("{}: cannot be read: {e}", path.display()))),
    };
    let (pairs, notes) = parse(&path, &bytes)?;
    for (name, value) in pairs {
        if std::env::var_os(&name).is_none() {
            // SAFETY: no thread has been started yet; `cli::run` is the first thing that `main` does.
            unsafe { std::env::set_var(name, value) };
        }
    }
    Ok(DotEnv { path: Some(path), notes })
}

/// Reads the lines of the file at `path`.
fn parse(path: &Path, bytes: &[u8]) -> Result<Parsed> {
    let at = path.display();
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes.iter().take(e.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
        invalid(format!("{at}: expected UTF-8, line {line} is not"))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut pairs, mut seen, mut notes) = (Vec::new(), BTreeSet::new(), Vec::new());
    let (lines, mut next, mut good) = (text.lines().collect::<Vec<_>>(), 0, String::new());
    while next < lines.len() {
        let (read, taken) = entry(&good, lines.get(next..).unwrap_or_default());
        let taken_lines = lines.get(next..next + taken).unwrap_or_default();
        match read {
            Ok(items) => {
                good.push_str(&taken_lines.join("\n"));
                good.push('\n');
                // The first counts, as the environment counts before the file. A NUL cannot be in it.
                pairs.extend(
                    items.into_iter().filter(|(name, value)| !value.contains('\0') && seen.insert(name.clone())),
                );
            }
            Err(()) => notes.push(unreadable(path, next + 1, lines.get(next..).unwrap_or_default())?),
        }
        next += taken;
    }
    Ok((pairs, notes))
}

/// Pairs that one entry sets, or that it cannot be read.
type Entry = std::result::Result<Vec<(String, String)>, ()>;

/// Reads the entry at the head of `lines`, which may name what those before it (`good`) have set, and how many lines it
/// takes: several where a quote is open at the end of the first.
fn entry(good: &str, lines: &[&str]) -> (Entry, usize) {
    let before = dotenvy::from_read_iter(good.as_bytes()).count();
    let first = lines.first().copied().unwrap_or_default();
    let most = if first.contains(['"', '\'']) { lines.len().min(ENTRY_LINES) } else { 1 };
    for taken in 1..=most {
        let text = format!("{good}{}\n", lines.get(..taken).unwrap_or_default().join("\n"));
        let items: std::result::Result<Vec<_>, _> = dotenvy::from_read_iter(text.as_bytes()).skip(before).collect();
        if let Ok(items) = items {
            return (Ok(items), taken);
        }
    }
    (Err(()), 1)
}

/// The note on a line that is no `NAME=value`. Where it opens a quote, those behind it may have been lost with it.
fn unreadable(path: &Path, number: usize, lines: &[&str]) -> Result<String> {
    let at = format!("{}: line {number}", path.display());
    let form = "expected NAME=value, with quotes around a value that holds spaces or #";
    match lines.first().copied().and_then(name_of).filter(|name| names::may_be_ours(name)) {
        Some(name) => Err(invalid(format!("{at}: {form}; the line of {name} cannot be read"))),
        None => Ok(format!("{at}: {form}; it is skipped as another program's")),
    }
}

/// The name that a line sets.
fn name_of(line: &str) -> Option<&str> {
    let name = line.split_once('=').map_or(line, |(name, _)| name).trim();
    let name = name.strip_prefix("export ").map_or(name, str::trim);
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Parsed> {
        parse(Path::new("/somewhere/.env"), text.as_bytes())
    }

    fn refusal(text: &str) -> String {
        read(text).map(|(pairs, _)| pairs).unwrap_err().message().to_owned()
    }

    #[test]
    fn lines_of_other_programs_that_cannot_be_read_are_skipped_and_named_by_path_and_number() {
        let text =
            "\u{feff}# mine\nPORT=81\nGREETING=hello world, hush\nnonsense hush\nexport S3_PREFIX='a b'\nPORT=82\n";
        let (pairs, notes) = read(text).unwrap();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("PORT", "81"), ("S3_PREFIX", "a b")]);
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("/somewhere/.env: line 3: expected NAME=value"), "{notes:?}");
        assert!(notes[1].starts_with("/somewhere/.env: line 4:"), "{notes:?}");
        assert!(notes.iter().all(|note| !note.contains("hush")), "a value is told: {notes:?}");
    }

    #[test]
    fn a_setting_whose_line_cannot_be_read_stops_the_start_without_its_value() {
        for text in [
            "STORAGE_API_KEY=two hush words\n",
            "export S3_BUCKET_NAME=my bucket hush\n",
            "DRUMLIN_KEYFILE=a hush b\n",
            "STORAGE_API_KEY=\"never closed hush\n",
        ] {
            let message = refusal(text);
            assert!(message.starts_with("/somewhere/.env: line 1: expected NAME=value"), "{message}");
            assert!(!message.contains("hush"), "a value is told: {message}");
        }
        // A quote that another program's line leaves open takes no setting with it.
        let (pairs, notes) = read("FOO=\"never closed\nA='one\ntwo'\nB=$A\nSTORAGE_API_KEY=k\n").unwrap();
        let expected = [("A", "one\ntwo"), ("B", "one\ntwo"), ("STORAGE_API_KEY", "k")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(notes.len(), 1, "{notes:?}");
    }

    #[test]
    fn what_is_no_text_is_told_with_its_line() {
        let refused = parse(Path::new("/x/.env"), b"A=1\nB=\xff\n").unwrap_err();
        assert_eq!(refused.message(), "/x/.env: expected UTF-8, line 2 is not");
    }
}
