//! The SQL of a view for DuckDB: the records of one version of a collection, out of its Parquet objects.
//! Invariants: the view has exactly the live records (docs/format.md#the-state): of each id the row with the highest
//! address, if it is a put. Names and addresses cannot end the quotes or the comments that they stand in.

use std::fmt::Write;

use crate::bucket::Place;
use crate::error::{Error, ErrorKind, Result};
use crate::record::Version;

/// Objects that a view may name.
pub const MAX_OBJECTS: usize = 10_000;
/// Floats of DuckDB's longest array.
const MAX_ARRAY: usize = 100_000;
/// Letters that DuckDB takes for a pattern in a path.
const PATTERN: [char; 3] = ['*', '?', '['];

/// What a view is made of.
#[derive(Debug, Clone)]
pub struct DuckdbView<'a> {
    /// Where the bucket is.
    pub place: &'a Place,
    /// The view's name.
    pub name: &'a str,
    /// The collection's name.
    pub collection: &'a str,
    /// The version that it shows.
    pub version: Version,
    /// Floats of an embedding: 0 if the records have none, `None` if no record had one yet.
    pub dimension: Option<usize>,
    /// Keys of the segments.
    pub segments: Vec<String>,
    /// Keys of the commits after them.
    pub commits: Vec<String>,
    /// Seconds that replaced segments are kept.
    pub kept_s: u64,
}

impl DuckdbView<'_> {
    /// The statement, with comments in front.
    ///
    /// # Errors
    /// `Invalid` if DuckDB cannot open objects of this bucket, `Limit` if there are more than [`MAX_OBJECTS`].
    pub fn sql(&self) -> Result<String> {
        // A version without objects is refused where one with objects would be.
        path(self.place, "")?;
        let objects = self.segments.len() + self.commits.len();
        if objects > MAX_OBJECTS {
            return Err(Error::new(
                ErrorKind::Limit,
                format!(
                    "version {} of collection {:?} lies in {objects} objects, a view names at most {MAX_OBJECTS}: \
                     sync a store with maintenance, which makes segments of commits, and try again",
                    self.version, self.collection
                ),
            ));
        }
        let embedding = match self.dimension {
            Some(0) => "CAST(NULL AS FLOAT[])".to_owned(),
            Some(floats) if floats <= MAX_ARRAY => format!("CAST(embedding AS FLOAT[{floats}])"),
            _ => "CAST(embedding AS FLOAT[])".to_owned(),
        };
        let mut sql = self.comments();
        // What is written is a `String`, which never fails.
        let _ = write!(
            sql,
            "CREATE OR REPLACE VIEW {} AS\n\
             WITH stored AS NOT MATERIALIZED (\n{}\n),\n\
             latest AS (SELECT max(address) AS address FROM stored GROUP BY id)\n\
             SELECT id, document, uri, CAST(metadata AS JSON) AS metadata, {embedding} AS embedding\n\
             FROM stored SEMI JOIN latest USING (address)\n\
             WHERE op = 'put';\n",
            identifier(self.name),
            self.rows()?
        );
        Ok(sql)
    }

    fn comments(&self) -> String {
        let (segments, commits) = (self.segments.len(), self.commits.len());
        let mut text = format!(
            "-- Collection {:?} at version {}, for DuckDB. Segments: {segments}, commits: {commits}.\n\
             -- The view stays at this version. Objects that merges replace are deleted some time later ({} s by the\n\
             -- settings here): then make a new view.\n",
            self.collection, self.version, self.kept_s
        );
        access(self.place).iter().for_each(|line| text.extend(["-- ", &plain(line), "\n"]));
        text
    }

    /// All rows of the version with their addresses, replaced and deleted ones included.
    fn rows(&self) -> Result<String> {
        const COLUMNS: &str = "op, id, document, uri, metadata, embedding";
        let mut parts = Vec::new();
        if !self.segments.is_empty() {
            let files = self.files(&self.segments)?;
            parts.push(format!(
                "  SELECT {COLUMNS}, address\n  FROM read_parquet([{files}], hive_partitioning = false)"
            ));
        }
        if !self.commits.is_empty() {
            // A commit's rows have no address: it is the commit's number, which is its name, and the row's.
            let files = self.files(&self.commits)?;
            parts.push(format!(
                "  SELECT {COLUMNS},\n    CAST(parse_filename(filename, true) AS UBIGINT) * 16777216 + \
                 CAST(file_row_number AS UBIGINT) AS address\n  FROM read_parquet([{files}],\n    filename = true, \
                 file_row_number = true, hive_partitioning = false)"
            ));
        }
        if parts.is_empty() {
            let texts =
                ["op", "id", "document", "uri", "metadata"].map(|name| format!("CAST(NULL AS VARCHAR) AS {name}"));
            parts.push(format!(
                "  SELECT {},\n    CAST(NULL AS FLOAT[]) AS embedding, CAST(NULL AS UBIGINT) AS address\n  WHERE false",
                texts.join(", ")
            ));
        }
        Ok(parts.join("\n  UNION ALL\n"))
    }

    fn files(&self, keys: &[String]) -> Result<String> {
        let paths: Vec<String> = keys.iter().map(|key| path(self.place, key)).collect::<Result<_>>()?;
        Ok(paths.iter().map(|path| format!("\n    {}", literal(path))).collect::<Vec<_>>().join(","))
    }
}

/// The address of an object, as DuckDB opens it.
fn path(place: &Place, key: &str) -> Result<String> {
    let (path, remote) = match place.kind {
        "folder" => (format!("{}/{key}", place.bucket.trim_end_matches('/')), false),
        "s3" | "gcs" => (format!("{}{key}", place.location), true),
        "azure" => {
            // DuckDB is told the account by its secret, and names the container only.
            let account = place.bucket.split('/').next().unwrap_or_default();
            let inside = place.location.strip_prefix(&format!("azure://{account}/")).unwrap_or(&place.location);
            (format!("az://{inside}{key}"), true)
        }
        kind => {
            let how = "export the collection to Parquet, or copy it into a folder or a bucket";
            return Err(Error::invalid(format!("DuckDB cannot open objects in a bucket of the kind {kind}: {how}")));
        }
    };
    if path.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Error::invalid(format!(
            "DuckDB opens paths in UTF-8 only, and that of the store is not: {path:?}"
        )));
    }
    if !path.contains(PATTERN) {
        return Ok(path);
    }
    if remote || path.contains('\\') {
        return Err(Error::invalid(format!(
            "DuckDB takes the address {path:?} for a pattern: expected one without any of * ? [ in the prefix of a \
             bucket, or beside a backslash in the path of a folder"
        )));
    }
    // A set of one letter stands for that letter.
    Ok(path.chars().map(|c| if PATTERN.contains(&c) { format!("[{c}]") } else { c.to_string() }).collect())
}

/// What DuckDB needs before it can open the objects. No line holds a secret.
fn access(place: &Place) -> Vec<String> {
    let endpoint = || {
        let (scheme, rest) = place.endpoint.split_once("://").unwrap_or(("https", &place.endpoint));
        // What stands before an @ would be a password.
        let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host).trim_end_matches('/');
        (!rest.is_empty()).then(|| (literal(rest), scheme != "http"))
    };
    match place.kind {
        "s3" => {
            let at = endpoint()
                .map_or_else(String::new, |(host, ssl)| format!(", ENDPOINT {host}, URL_STYLE 'path', USE_SSL {ssl}"));
            vec![
                "First, with the credentials that the AWS tools find:".to_owned(),
                "INSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws;".to_owned(),
                format!("CREATE SECRET (TYPE s3, PROVIDER credential_chain{at});"),
            ]
        }
        "gcs" => vec![
            "First, with an HMAC key of Google Cloud Storage:".to_owned(),
            "INSTALL httpfs; LOAD httpfs;".to_owned(),
            "CREATE SECRET (TYPE gcs, KEY_ID '…', SECRET '…');".to_owned(),
        ],
        "azure" => {
            let account = literal(place.bucket.split('/').next().unwrap_or_default());
            vec![
                "First, with the credentials that the Azure tools find:".to_owned(),
                "INSTALL azure; LOAD azure;".to_owned(),
                format!("CREATE SECRET (TYPE azure, PROVIDER credential_chain, ACCOUNT_NAME {account});"),
            ]
        }
        _ => Vec::new(),
    }
}

/// A text that stays on its line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
#[path = "duckdb_tests.rs"]
mod tests;
