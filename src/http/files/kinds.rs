//! The kinds of files that may be uploaded: a list of media types and of name endings.

use crate::error::{Error, Result};

/// The allowed kinds; by default every kind is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileKinds(Vec<Kind>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// `.pdf`
    Ending(String),
    /// `image/png`
    Type(String),
    /// `image/*`, as `image/`
    Family(String),
}

impl FileKinds {
    /// Reads a list such as `image/*,application/pdf,.txt`.
    ///
    /// # Errors
    /// `Invalid` for an item that is neither a media type nor an ending.
    pub fn parse(list: &str) -> Result<FileKinds> {
        let items = list.split(',').map(|item| item.trim().to_ascii_lowercase());
        let kinds = items.filter(|item| !item.is_empty()).map(|item| {
            let part =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"/*;,".contains(&b));
            match item.split_once('/') {
                Some((family, "*")) if part(family) => Ok(Kind::Family(format!("{family}/"))),
                Some((family, one)) if part(family) && part(one) => Ok(Kind::Type(item.clone())),
                None if item.len() > 1 && item.starts_with('.') => Ok(Kind::Ending(item.clone())),
                _ => Err(Error::invalid(format!(
                    "expected media types and endings such as image/*, application/pdf, .txt, got {item:?}"
                ))),
            }
        });
        kinds.collect::<Result<_>>().map(FileKinds)
    }

    /// Whether a file of this name and media type may be uploaded.
    pub(super) fn allow(&self, name: &str, content_type: Option<&str>) -> bool {
        let (name, own) = (name.to_lowercase(), content_type.unwrap_or_default());
        let own = own.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let fits = |kind: &Kind| match kind {
            Kind::Ending(ending) => name.ends_with(ending),
            Kind::Type(named) => *named == own,
            Kind::Family(family) => own.starts_with(family.as_str()),
        };
        self.0.is_empty() || self.0.iter().any(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_allows_what_it_names_and_an_empty_one_everything() {
        let list = FileKinds::parse("image/*, application/PDF,.txt").unwrap();
        for (name, kind) in [("a", Some("image/png")), ("a", Some("application/pdf; x=1")), ("A.TXT", None)] {
            assert!(list.allow(name, kind), "{name} {kind:?}");
        }
        for (name, kind) in [("a", None), ("a.png", Some("text/html")), ("txt", None), ("a", Some("images/png"))] {
            assert!(!list.allow(name, kind), "{name} {kind:?}");
        }
        assert!(FileKinds::parse("").unwrap().allow("a", None));
        for bad in ["pdf", "image/", "*/*", ".", "a b/c"] {
            assert!(FileKinds::parse(bad).is_err(), "{bad}");
        }
    }
}
