//! The `.env` file of the working directory. The environment wins over it. Invariants: no other file is read; no
//! message repeats a value, which may be a secret; an unreadable line that may be a setting stops the start.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::names;
use super::refusal::invalid;
use crate::Result;

/// The file that was read, for the log.
#[derive(Debug, Default)]
pub struct DotEnv {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// Notes for the user about it.
    pub notes: Vec<String>,
}

/// The pairs of a file in their order, and notes about the lines that are not pairs.
type ParsedEnv = (Vec<(String, String)>, Vec<String>);
/// Most lines of one quoted value, such as a certificate.
const ENTRY_LINES: usize = 100;
/// Most bytes of the file.
const FILE_BYTES: u64 = 1 << 20;

/// Adds the pairs of the working directory's `.env` to the environment.
///
/// # Errors
/// `Invalid`, with the file's path, if the file or the line of a setting cannot be read.
pub fn load() -> Result<DotEnv> {
    let path = std::env::current_dir().unwrap_or_default().join(".env");
    let at = path.display();
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(DotEnv::default()),
        Err(e) => return Err(invalid(format!("{at}: cannot be read: {e}"))),
    };
    if !metadata.is_file() {
        let notes = vec![format!("{at} is not a file; no settings are read from it")];
        return Ok(DotEnv { path: None, notes });
    }
    if metadata.len() > FILE_BYTES {
        let bytes = metadata.len();
        return Err(invalid(format!("{at}: expected settings, at most {FILE_BYTES} bytes, got {bytes}")));
    }
    let bytes = fs::read(&path).map_err(|e| invalid(format!("{at}: cannot be read: {e}")))?;
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
fn parse(path: &Path, bytes: &[u8]) -> Result<ParsedEnv> {
    if bytes.contains(&0) {
        return Err(invalid(format!("{}: expected text in UTF-8, got a NUL byte (is it UTF-16?)", path.display())));
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    // A line that is not UTF-8 cannot be read, and its name cannot pass for another one.
    let text: Vec<_> = bytes.split(|byte| *byte == b'\n').map(String::from_utf8_lossy).collect();
    let lines: Vec<&str> = text.iter().map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let (mut pairs, mut seen, mut notes) = (Vec::new(), BTreeSet::new(), Vec::new());
    let (mut next, mut good) = (0, String::new());
    while next < lines.len() {
        let (read, taken) = entry(&good, lines.get(next..).unwrap_or_default());
        let taken_lines = lines.get(next..next + taken).unwrap_or_default();
        match read {
            Ok(items) => {
                check_entry(path, next + 1, taken_lines, &seen)?;
                good.push_str(&taken_lines.join("\n"));
                good.push('\n');
                // The first pair of a name counts, as the environment wins over the file.
                pairs.extend(items.into_iter().filter(|(name, _)| seen.insert(name.clone())));
            }
            Err(()) => notes.push(unreadable(path, next + 1, lines.get(next..).unwrap_or_default())?),
        }
        next += taken;
    }
    Ok((pairs, notes))
}

/// Pairs that one entry sets, or an error if it cannot be read.
type EnvEntry = std::result::Result<Vec<(String, String)>, ()>;

/// Reads the entry at the head of `lines`, and returns how many lines it takes: several if a quote is open at the end
/// of the first. The entry may refer to variables that the entries before it (`good`) have set.
fn entry(good: &str, lines: &[&str]) -> (EnvEntry, usize) {
    let first = lines.first().copied().unwrap_or_default();
    if first.contains('\u{fffd}') {
        return (if first.trim_start().starts_with('#') { Ok(Vec::new()) } else { Err(()) }, 1);
    }
    let most = if first.contains(['"', '\'']) { lines.len().min(ENTRY_LINES) } else { 1 };
    for taken in 1..=most {
        let text = lines.get(..taken).unwrap_or_default().join("\n");
        // Only an entry with a $ can depend on earlier ones.
        let good = if text.contains('$') { good } else { "" };
        let before = dotenvy::from_read_iter(good.as_bytes()).count();
        let text = format!("{good}{text}\n");
        let items: std::result::Result<Vec<_>, _> = dotenvy::from_read_iter(text.as_bytes()).skip(before).collect();
        if let Ok(items) = items {
            return (Ok(items), taken);
        }
    }
    (Err(()), 1)
}

/// Refuses a readable entry that cannot be intended: an open quote that swallows settings, or a setting in which a
/// `$` stands for nothing.
fn check_entry(path: &Path, number: usize, lines: &[&str], set: &BTreeSet<String>) -> Result<()> {
    let ours = |line: &&str| line.contains('=') && name_of(line).is_some_and(|name| names::may_be_ours(&name));
    let (Some(first), rest) = (lines.first(), lines.get(1..).unwrap_or_default()) else { return Ok(()) };
    let at = format!("{}: line {number}", path.display());
    if let Some(name) = rest.iter().find(|line| ours(line)).and_then(|line| name_of(line)) {
        return Err(invalid(format!(
            "{at}: a quote is open here, and the line of {name} is within it; close the quote before that line"
        )));
    }
    let Some(name) = Some(first).filter(|line| ours(line)).and_then(|line| name_of(line)) else { return Ok(()) };
    let is_set = |variable: &str| set.contains(variable) || std::env::var_os(variable).is_some();
    match substituted(&lines.join("\n")).into_iter().find(|variable| !is_set(variable)) {
        Some(_) => Err(invalid(format!(
            "{at}: the value of {name} has a $ with the name of a variable that is not set; put the value into single \
             quotes if the $ is part of it"
        ))),
        None => Ok(()),
    }
}

/// The variables that the `$` of an entry stand for.
fn substituted(entry: &str) -> Vec<String> {
    let value = entry.split_once('=').map_or("", |(_, value)| value.trim_start());
    if value.starts_with('\'') {
        return Vec::new();
    }
    let (mut found, mut rest) = (Vec::new(), value);
    while let Some((before, behind)) = rest.split_once('$') {
        let bare = behind.strip_prefix('{').unwrap_or(behind);
        let name: String = bare.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if !before.ends_with('\\') {
            found.push(name);
        }
        rest = behind;
    }
    found
}

/// The note on a line that is not `NAME=value`. If it opens a quote, the lines after it may have been lost with it.
fn unreadable(path: &Path, number: usize, lines: &[&str]) -> Result<String> {
    let at = format!("{}: line {number}", path.display());
    let form = "expected NAME=value in UTF-8, with quotes around a value that holds spaces or #";
    match lines.first().copied().and_then(name_of).filter(|name| names::may_be_ours(name)) {
        Some(name) => Err(invalid(format!("{at}: {form}; the line of {name} cannot be read"))),
        None => Ok(format!("{at}: {form}; it is skipped as another program's")),
    }
}

/// The name that a line sets or tries to set: its first word.
fn name_of(line: &str) -> Option<String> {
    let words = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let line = line.trim_start();
    let line = line.strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace)).unwrap_or(line);
    let name = line.trim_start().split(words).next().unwrap_or_default();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ParsedEnv> {
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
        // An open quote in another program's line swallows no setting.
        let (pairs, notes) = read("FOO=\"never closed\nA='one\ntwo'\nB=$A\nSTORAGE_API_KEY=k\n").unwrap();
        let expected = [("A", "one\ntwo"), ("B", "one\ntwo"), ("STORAGE_API_KEY", "k")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(notes.len(), 1, "{notes:?}");
    }

    #[test]
    fn a_setting_that_is_no_pair_stops_the_start_however_it_is_written() {
        for text in [
            "STORAGE_API_KEY: hush\n",
            "S3_BUCKET_NAME hush-bucket\n",
            "STORAGE-API-KEY=hush\n",
            "export\tSTORAGE_API_KEY=two hush words\n",
        ] {
            let message = refusal(text);
            assert!(message.contains("line 1: expected NAME=value") && !message.contains("hush"), "{message}");
        }
    }

    #[test]
    fn a_quote_that_is_closed_too_late_takes_no_setting_with_it() {
        let message = refusal("A=\"one\nSTORAGE_API_KEY=hush\nS3_BUCKET_NAME=b\nB=\"two\n");
        assert!(message.contains("line 1: a quote is open here, and the line of STORAGE_API_KEY"), "{message}");
        let (pairs, _) = read("CERTIFICATE=\"-----BEGIN\nAb+/=\n-----END\"\nPORT=81\n").unwrap();
        assert_eq!(pairs.len(), 2);
    }

    #[test]
    fn a_dollar_in_a_setting_that_stands_for_nothing_is_refused() {
        for text in ["STORAGE_API_KEY=$hush_not_set\n", "STORAGE_API_KEY=\"pa${hush_not_set}\"\n"] {
            let message = refusal(text);
            assert!(message.contains("single quotes") && !message.contains("hush"), "{message}");
        }
        let (pairs, _) = read("BASE=a\nS3_PREFIX=$BASE/b\nSTORAGE_API_KEY='pa$word'\nOTHER=$hush_not_set\n").unwrap();
        assert_eq!((pairs[1].1.as_str(), pairs[2].1.as_str()), ("a/b", "pa$word"));
    }

    #[test]
    fn what_is_no_text_is_skipped_in_other_programs_lines_and_refused_in_settings() {
        let (pairs, notes) = parse(Path::new("/x/.env"), b"# cl\xe9 de Jean\nA=1\r\nB=\xff\nPORT=81\n").unwrap();
        assert_eq!((pairs.len(), notes.len()), (2, 1), "{notes:?}");
        assert!(notes[0].starts_with("/x/.env: line 3: expected NAME=value in UTF-8"), "{notes:?}");
        for bytes in [&b"STORAGE_API_KEY=\xff\n"[..], b"STORAGE_API_KEY=a\0b\n", b"P\0O\0R\0T\0=\08\0\n\0"] {
            assert!(parse(Path::new("/x/.env"), bytes).is_err());
        }
    }
}
