//! The rule of Chroma for the name of a collection or a database, in its own words: 3 to 512 of `[a-zA-Z0-9._-]`,
//! alphanumeric at both ends, no two full stops in a row, no IP address. One `+` may join two such names.

use std::net::IpAddr;

/// Refuses an invalid name, with a sentence.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    match name.split('+').count() {
        0..=2 => name.split('+').try_for_each(check_part),
        _ => Err("Expected a name to contain at most one topology:  Got two `+` characters.".to_owned()),
    }
}

fn check_part(name: &str) -> Result<(), String> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let end = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    if !(3..=512).contains(&bytes.len())
        || !bytes.iter().copied().all(allowed)
        || !end(bytes.first())
        || !end(bytes.last())
    {
        return Err(format!(
            "Expected a name containing 3-512 characters from [a-zA-Z0-9._-], starting and ending with a character \
             in [a-zA-Z0-9]. Got: {name}"
        ));
    }
    if name.contains("..") {
        return Err(format!("Expected a name that does not contains two consecutive periods (..). Got {name}"));
    }
    if name.parse::<IpAddr>().is_ok() {
        return Err(format!("Expected a name that is not a valid ip address. Got {name}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_what_only_looks_like_one() {
        for good in ["abc", "a-b", "A_b.9", "abc+def", "1.2.3", "1.2.3.4.5", &"x".repeat(512)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let charset = "Expected a name containing 3-512 characters";
        let cases = [
            ("", charset),
            ("ab", charset),
            ("-ab", charset),
            ("ab-", charset),
            ("a b", charset),
            ("äbc", charset),
            ("a+b", charset),
            ("abc+de", charset),
            (&"x".repeat(513), charset),
            ("a..b", "Expected a name that does not contains two consecutive periods (..). Got a..b"),
            ("1.2.3.4", "Expected a name that is not a valid ip address. Got 1.2.3.4"),
            ("abc+1.2.3.4", "Expected a name that is not a valid ip address. Got 1.2.3.4"),
            ("abc+def+ghi", "Expected a name to contain at most one topology:  Got two `+` characters."),
        ];
        for (bad, words) in cases {
            let refused = check_name(bad).unwrap_err();
            assert!(refused.starts_with(words), "{bad}: {refused}");
        }
    }
}
