//! How keys become paths in Dropbox, which ignores case and may change the case of a folder's name. Invariant:
//! different keys have paths that differ even without case, and a path gives back its exact key. Lower-case letters,
//! digits and `.-_/` stand for themselves. `^` switches between lower and upper case, so that `HEAD` is `^head`. Any
//! other byte is `%xx`, in lower-case hexadecimal.

/// The path of a key below a folder's root, without a slash in front.
pub(super) fn encode(key: &str) -> String {
    key.split('/').map(encode_part).collect::<Vec<_>>().join("/")
}

fn encode_part(part: &str) -> String {
    let mut path = String::with_capacity(part.len() + 4);
    let mut upper = false;
    for (at, byte) in part.bytes().enumerate() {
        // Dropbox refuses names that end in a dot.
        let last_dot = byte == b'.' && at + 1 == part.len();
        if byte.is_ascii_alphabetic() {
            if upper != byte.is_ascii_uppercase() {
                upper = !upper;
                path.push('^');
            }
            path.push(char::from(byte.to_ascii_lowercase()));
        } else if (byte.is_ascii_digit() || b".-_".contains(&byte)) && !last_dot {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02x}"));
        }
    }
    path
}

/// The key of a path in lower case; `None` for a file that is not Drumlin's.
pub(super) fn decode(path: &str) -> Option<String> {
    let parts: Option<Vec<String>> = path.split('/').map(decode_part).collect();
    let key = parts?.join("/");
    // Only the spelling that `encode` writes counts.
    (encode(&key) == path).then_some(key)
}

fn decode_part(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    let mut upper = false;
    while let Some(byte) = rest.next() {
        match byte {
            b'^' => upper = !upper,
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            letter if upper => bytes.push(letter.to_ascii_uppercase()),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_protocols_keys_stay_readable() {
        for (key, path) in [
            ("drumlin.json", "drumlin.json"),
            ("catalog/HEAD", "catalog/^head"),
            ("c/0b1-2f/log/00000000000000000017.parquet", "c/0b1-2f/log/00000000000000000017.parquet"),
            ("catalog/seg/01ARZ3ND.parquet", "catalog/seg/01^arz3nd.^parquet"),
            ("a b/ü./A%b", "a%20b/%c3%bc%2e/^a%25^b"),
        ] {
            assert_eq!(encode(key), path);
            assert_eq!(decode(path).as_deref(), Some(key));
        }
    }

    #[test]
    fn a_file_that_someone_else_put_there_is_no_key() {
        for path in ["Upper", "a b", "%4", "%zz", "%61", "^", "a^", "^^a", "^a^", "%ff", "a%2E."] {
            assert_eq!(decode(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_key_comes_back_and_its_path_survives_a_change_of_case(key in "[ -~éüßİ日]{1,40}") {
            let path = encode(&key);
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
            prop_assert_eq!(decode(&path.to_ascii_uppercase().to_ascii_lowercase()), Some(key));
        }
    }
}
