//! The rules for a file's name: a path whose parts are separated by slashes, so that it is the same in a URL, in a
//! folder and in a listing.

use crate::error::{Error, Result};

/// The most bytes of a name.
const NAME_BYTES: usize = 1024;

/// Refuses what cannot be a file's name. A name has 1 to 1,024 bytes of UTF-8 without control characters. Its parts,
/// separated by `/`, are not empty, `.` or `..`. It does not begin with a dot.
///
/// # Errors
/// `Invalid` with the rule.
pub fn check_file_name(name: &str) -> Result<()> {
    let wrong = |why: &str| {
        let shown: String = name.chars().take(64).collect();
        Err(Error::invalid(format!("file name: {why}, got {shown:?}")))
    };
    if name.is_empty() || name.len() > NAME_BYTES {
        return wrong(&format!("expected 1 to {NAME_BYTES} bytes"));
    }
    if name.chars().any(char::is_control) {
        return wrong("expected no control characters");
    }
    if name.starts_with('.') {
        return wrong("expected no dot in front");
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return wrong("expected parts separated by single slashes, none of them empty, \".\" or \"..\"");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn names_are_paths_that_stay_where_they_are() {
        for good in ["a", "a/b", "ä/ü.txt", "a b", "...a".trim_start_matches('.'), "x/.hidden", &"x".repeat(1024)] {
            assert_eq!(check_file_name(good).map_err(|e| e.to_string()), Ok(()), "{good}");
        }
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", ".a", "a/../b", "a/.", "a\nb", "a\u{7f}", &"x".repeat(1025)]
        {
            assert_eq!(check_file_name(bad).map_err(|e| e.kind()), Err(ErrorKind::Invalid), "{bad:?}");
        }
    }
}
