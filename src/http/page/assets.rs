//! The files of `web/`, compiled in, with their sums and their gzip, which are made when a file is first asked for.
//! Invariant: every file of the folder is in the table, and no other; a test compares them.

use std::sync::{LazyLock, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzEncoder;
use sha2::{Digest, Sha256};

/// One file.
pub(super) struct Asset {
    path: &'static str,
    bytes: &'static [u8],
    /// SHA-256 in hex.
    sum: OnceLock<String>,
    zipped: OnceLock<Bytes>,
}

macro_rules! asset {
    ($path:literal) => {
        Asset {
            path: $path,
            bytes: include_bytes!(concat!("../../../web/", $path)),
            sum: OnceLock::new(),
            zipped: OnceLock::new(),
        }
    };
}

macro_rules! assets {
    ($($path:literal),* $(,)?) => { vec![$(asset!($path)),*] };
}

/// The file that a browser gets first.
pub(super) static INDEX: &Asset = &FIRST;
static FIRST: Asset = asset!("index.html");

/// All other files, by their paths below `web/`, in order.
static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    assets![
        "css/controls.css",
        "css/data.css",
        "css/layout.css",
        "css/tokens.css",
        "css/views.css",
        "icon.svg",
        "js/core/address.js",
        "js/core/api.js",
        "js/core/format.js",
        "js/core/parameters.js",
        "js/core/save.js",
        "js/core/session.js",
        "js/core/shell.js",
        "js/data/advice.js",
        "js/data/arrow.js",
        "js/data/danger.js",
        "js/data/example.js",
        "js/data/export.js",
        "js/data/filter.js",
        "js/data/metadata.js",
        "js/data/metrics.js",
        "js/data/query.js",
        "js/data/readings.js",
        "js/data/snippets.js",
        "js/main.js",
        "js/map/bins.js",
        "js/map/canvas.js",
        "js/map/colours.js",
        "js/map/groups.js",
        "js/map/id_index.js",
        "js/map/layout.js",
        "js/map/selection.js",
        "js/map/stage.js",
        "js/map/webgl.js",
        "js/theme.js",
        "js/ui/chart.js",
        "js/ui/checking.js",
        "js/ui/chips.js",
        "js/ui/collection_state.js",
        "js/ui/controls.js",
        "js/ui/copy.js",
        "js/ui/dialog.js",
        "js/ui/dom.js",
        "js/ui/filter_builder.js",
        "js/ui/fork.js",
        "js/ui/heading.js",
        "js/ui/hits.js",
        "js/ui/icons.js",
        "js/ui/key_dialog.js",
        "js/ui/map_making.js",
        "js/ui/name_dialog.js",
        "js/ui/notice.js",
        "js/ui/progress.js",
        "js/ui/record_panel.js",
        "js/ui/table.js",
        "js/ui/tile.js",
        "js/ui/virtual_table.js",
        "js/views/bucket.js",
        "js/views/collections.js",
        "js/views/console.js",
        "js/views/files.js",
        "js/views/health.js",
        "js/views/history.js",
        "js/views/map.js",
        "js/views/overview.js",
        "js/views/records.js",
        "js/views/search.js",
    ]
});

pub(super) fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

impl Asset {
    pub(super) fn plain(&self) -> &'static [u8] {
        self.bytes
    }

    pub(super) fn zipped(&self) -> Bytes {
        let zip = || {
            let mut coded = Vec::new();
            // Reading from memory into memory cannot fail; an empty file would show if it did.
            let _ = std::io::Read::read_to_end(&mut GzEncoder::new(self.bytes, Compression::best()), &mut coded);
            Bytes::from(coded)
        };
        self.zipped.get_or_init(zip).clone()
    }

    pub(super) fn sum(&self) -> &str {
        self.sum.get_or_init(|| Sha256::digest(self.bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self.path.rsplit_once('.').map(|(_, ending)| ending) {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Bytes of the whole application once it is compressed.
    const COMPRESSED_BYTES: usize = 250_000;
    /// Lines of a file, as in Rust.
    const FILE_LINES: usize = 500;
    /// What makes elements or programs of text, keeps things in the browser, or names another host.
    const FORBIDDEN: [&str; 15] = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "document.cookie",
        "DOMParser",
        "eval(",
        "new Function",
        "setAttributeNS",
        "createContextualFragment",
        "srcdoc",
        "javascript:",
        "http://",
        "https://",
        "@import",
    ];

    fn files(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files(&path, root, found),
                false => _ = found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/")),
            }
        }
    }

    fn all() -> impl Iterator<Item = &'static Asset> {
        ASSETS.iter().chain([INDEX])
    }

    fn text(asset: &Asset) -> &'static str {
        std::str::from_utf8(asset.plain()).unwrap()
    }

    #[test]
    fn the_table_holds_every_file_of_the_folder_and_the_whole_is_small() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut there = BTreeSet::new();
        files(&root, &root, &mut there);
        assert_eq!(all().map(|asset| asset.path.to_owned()).collect::<BTreeSet<_>>(), there);
        let compressed: usize = all().map(|asset| asset.zipped().len()).sum();
        assert!(compressed > 10_000 && compressed < COMPRESSED_BYTES, "{compressed} bytes");
        for asset in all() {
            let lines = text(asset).lines().count();
            assert!(lines <= FILE_LINES, "{}: {lines} lines", asset.path);
            assert_ne!(asset.content_type(), "application/octet-stream", "{}", asset.path);
        }
    }

    #[test]
    fn no_file_makes_elements_of_text_runs_text_or_names_another_host() {
        for asset in all() {
            // The name of SVG's namespace is no link.
            let text = text(asset).replace("http://www.w3.org/2000/svg", "");
            for word in FORBIDDEN {
                assert!(!text.contains(word), "{}: {word}", asset.path);
            }
            // Only the theme is kept by the browser; a key never is.
            let kept = ["localStorage", "sessionStorage", "indexedDB"].iter().any(|store| text.contains(store));
            assert!(!kept || asset.path == "js/theme.js", "{}", asset.path);
        }
    }

    #[test]
    fn every_module_that_is_imported_is_there() {
        for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
            for line in text(asset).lines().filter(|line| line.contains("import")) {
                let Some(rest) = line.split_once("from \"").or_else(|| line.split_once("import(\"")) else { continue };
                let target = rest.1.split('"').next().unwrap();
                let mut parts: Vec<&str> = asset.path.split('/').collect();
                parts.pop();
                for part in target.split('/') {
                    match part {
                        "." => {}
                        ".." => _ = parts.pop(),
                        name => parts.push(name),
                    }
                }
                assert!(find(&parts.join("/")).is_some(), "{} imports {target}", asset.path);
            }
        }
    }
}
