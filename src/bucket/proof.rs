//! The marks that distinguish an object store's answer from somebody else's: a captive portal's, a maintenance page's,
//! a wrong load balancer's (docs/protocol.md#proof-of-an-answer). These checks look at the type and the outline of a
//! body, never at its meaning.

/// How much of a body a message quotes.
const QUOTED: usize = 80;

/// Whether a content type is that of a page for people. No store answers with one, and Drumlin never stores one.
pub(super) fn is_page(content_type: Option<&str>) -> bool {
    let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(kind.as_str(), "text/html" | "application/xhtml+xml")
}

/// Whether a body is empty or white space.
pub(super) fn is_blank(body: &[u8]) -> bool {
    body.trim_ascii().is_empty()
}

/// The name of the root element of an XML document, without its prefix; `None` if the body is no such document.
pub(super) fn root_element(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let inner = rest.strip_prefix('<')?;
        let end = match inner.strip_prefix('?') {
            Some(declaration) => declaration.split_once("?>")?.1,
            None => match inner.strip_prefix("!--") {
                Some(comment) => comment.split_once("-->")?.1,
                None => break,
            },
        };
        rest = end.trim_start();
    }
    let name = rest.strip_prefix('<')?.split(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).next()?;
    let local = name.rsplit(':').next()?;
    let sound = local.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    (sound && !local.is_empty()).then_some(local)
}

/// Whether a body is a complete XML document with this root: half a listing would pass for a whole one.
pub(super) fn is_whole_document(body: &[u8], root: &str) -> bool {
    let last = std::str::from_utf8(body).ok().and_then(|text| text.trim_end().strip_suffix('>')?.rsplit_once('<'));
    let Some((before, tag)) = last else { return false };
    let closes = tag.strip_prefix('/').is_some_and(|name| name.trim().rsplit(':').next() == Some(root));
    let alone = tag.ends_with('/') && root_element(before.as_bytes()).is_none();
    (closes || alone) && root_element(body) == Some(root)
}

/// The first bytes of a body, fit for a line of a message.
pub(super) fn start_of(body: &[u8]) -> String {
    if is_blank(body) {
        return "no body".to_owned();
    }
    let start: String = String::from_utf8_lossy(body.trim_ascii()).chars().take(QUOTED).collect();
    format!("a body that begins {start:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_document_is_found_behind_what_may_precede_it() {
        for (body, root) in [
            ("<Error><Code>x</Code></Error>", Some("Error")),
            ("\u{feff}<?xml version=\"1.0\"?>\n<!-- a -->\n<ListBucketResult xmlns=\"x\">", Some("ListBucketResult")),
            ("<s3:DeleteResult/>", Some("DeleteResult")),
            ("<!DOCTYPE html><html>", None),
            ("<html><body>", Some("html")),
            ("{\"a\": 1}", None),
            ("<", None),
            ("<?xml", None),
            ("", None),
        ] {
            assert_eq!(root_element(body.as_bytes()), root, "{body}");
        }
        assert_eq!(root_element(b"\xff<Error/>"), None);
    }

    #[test]
    fn half_a_document_is_not_a_whole_one() {
        let whole = "<?xml version=\"1.0\"?><ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>\n";
        assert!(is_whole_document(whole.as_bytes(), "ListBucketResult"));
        for cut in 0..whole.len() - 2 {
            assert!(!is_whole_document(&whole.as_bytes()[..cut], "ListBucketResult"), "{}", &whole[..cut]);
        }
        for body in
            ["<DeleteResult/>", "<?xml version='1.0'?><DeleteResult xmlns='x' />", "<DeleteResult></DeleteResult >"]
        {
            assert!(is_whole_document(body.as_bytes(), "DeleteResult"), "{body}");
        }
        for body in ["", "<Error/>", "<html/>", "<DeleteResult><Deleted/>", "<DeleteResult><Error><Code/></Error>"] {
            assert!(!is_whole_document(body.as_bytes(), "DeleteResult"), "{body}");
        }
    }

    #[test]
    fn pages_are_told_by_their_content_type() {
        assert!(is_page(Some("text/html")) && is_page(Some("Text/HTML; charset=utf-8")));
        assert!(!is_page(None) && !is_page(Some("application/xml")) && !is_page(Some("binary/octet-stream")));
    }
}
