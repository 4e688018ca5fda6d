//! Views for DuckDB: the whole statement, quotes, addresses of every kind of bucket, and what is refused.

use super::*;

fn place(kind: &'static str, location: &str, endpoint: &str, bucket: &str) -> Place {
    Place { kind, location: location.into(), endpoint: endpoint.into(), bucket: bucket.into() }
}

fn folder(path: &str) -> Place {
    place("folder", path, "", path)
}

fn view(place: &Place) -> DuckdbView<'_> {
    DuckdbView {
        place,
        name: "notes",
        collection: "notes",
        version: Version(9),
        dimension: Some(3),
        segments: vec!["c/x/seg/A.parquet".into()],
        commits: vec!["c/x/log/00000000000000000008.parquet".into(), "c/x/log/00000000000000000009.parquet".into()],
        kept_s: 3600,
    }
}

/// The lines that are no comments.
fn statement(sql: &str) -> String {
    sql.lines().filter(|line| !line.starts_with("--")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_view_takes_the_latest_row_of_each_id_out_of_segments_and_commits() {
    let sql = view(&folder("/data/store")).sql().unwrap();
    let expected = "\
CREATE OR REPLACE VIEW \"notes\" AS
WITH stored AS NOT MATERIALIZED (
  SELECT op, id, document, uri, metadata, embedding, address
  FROM read_parquet([
    '/data/store/c/x/seg/A.parquet'], hive_partitioning = false)
  UNION ALL
  SELECT op, id, document, uri, metadata, embedding,
    CAST(parse_filename(filename, true) AS UBIGINT) * 16777216 + CAST(file_row_number AS UBIGINT) AS address
  FROM read_parquet([
    '/data/store/c/x/log/00000000000000000008.parquet',
    '/data/store/c/x/log/00000000000000000009.parquet'],
    filename = true, file_row_number = true, hive_partitioning = false)
),
latest AS (SELECT max(address) AS address FROM stored GROUP BY id)
SELECT id, document, uri, CAST(metadata AS JSON) AS metadata, CAST(embedding AS FLOAT[3]) AS embedding
FROM stored SEMI JOIN latest USING (address)
WHERE op = 'put';
";
    assert_eq!(statement(&sql), expected);
    assert!(sql.starts_with("-- Collection \"notes\" at version 9, for DuckDB. Segments: 1, commits: 2.\n"));
    assert!(sql.contains("(3600 s by the"), "{sql}");
}

#[test]
fn a_version_without_objects_is_a_view_without_rows() {
    let place = folder("/data");
    let sql = DuckdbView { segments: Vec::new(), commits: Vec::new(), dimension: None, ..view(&place) }.sql().unwrap();
    assert!(!sql.contains("read_parquet") && sql.contains("  WHERE false\n"), "{sql}");
    assert!(sql.contains("CAST(embedding AS FLOAT[]) AS embedding"), "{sql}");
}

#[test]
fn an_embedding_is_an_array_where_duckdb_has_one_that_long() {
    let place = folder("/data");
    let of = |dimension| DuckdbView { dimension, ..view(&place) }.sql().unwrap();
    assert!(of(Some(100_000)).contains("CAST(embedding AS FLOAT[100000]) AS embedding"));
    assert!(of(Some(100_001)).contains("CAST(embedding AS FLOAT[]) AS embedding"));
    assert!(of(Some(0)).contains("CAST(NULL AS FLOAT[]) AS embedding"));
}

#[test]
fn names_and_paths_stay_within_their_quotes_and_comments() {
    let place = folder("/data/it's; DROP TABLE x");
    let hostile = "a\"; DROP VIEW \"b' --";
    let sql = DuckdbView { name: hostile, collection: "x\n; DROP TABLE y", ..view(&place) }.sql().unwrap();
    assert!(sql.contains("CREATE OR REPLACE VIEW \"a\"\"; DROP VIEW \"\"b' --\" AS\n"), "{sql}");
    assert!(sql.contains("'/data/it''s; DROP TABLE x/c/x/seg/A.parquet'"), "{sql}");
    assert!(sql.starts_with("-- Collection \"x\\n; DROP TABLE y\" at version 9"), "{sql}");
    let endpoint = place_of_s3("http://user:secret@localhost:8333/\n; DROP TABLE z");
    let sql = view(&endpoint).sql().unwrap();
    assert!(!sql.contains("secret@") && !statement(&sql).contains("DROP"), "{sql}");
}

fn place_of_s3(endpoint: &str) -> Place {
    place("s3", "s3://books/team/one/", endpoint, "books")
}

#[test]
fn addresses_are_those_that_duckdb_opens_and_say_how_it_gets_in() {
    let of = |place: Place| view(&place).sql().unwrap();
    let s3 = of(place_of_s3(""));
    assert!(s3.contains("\n    's3://books/team/one/c/x/seg/A.parquet'"), "{s3}");
    assert!(s3.contains("-- CREATE SECRET (TYPE s3, PROVIDER credential_chain);\n"), "{s3}");
    let own = of(place_of_s3("http://localhost:8333/"));
    let secret = "PROVIDER credential_chain, ENDPOINT 'localhost:8333', URL_STYLE 'path', USE_SSL false);";
    assert!(own.contains(secret), "{own}");
    let r2 = of(place_of_s3("https://abc.r2.cloudflarestorage.com"));
    assert!(r2.contains("ENDPOINT 'abc.r2.cloudflarestorage.com', URL_STYLE 'path', USE_SSL true"), "{r2}");
    let google = of(place("gcs", "gs://books/", "", "books"));
    assert!(google.contains("'gs://books/c/x/seg/A.parquet'") && google.contains("TYPE gcs"), "{google}");
    let azure = of(place("azure", "azure://acme/books/team/", "", "acme/books"));
    assert!(azure.contains("'az://books/team/c/x/seg/A.parquet'"), "{azure}");
    assert!(azure.contains("ACCOUNT_NAME 'acme'"), "{azure}");
}

#[test]
fn what_duckdb_takes_for_a_pattern_is_escaped_or_refused() {
    let sql = view(&folder("/data/[a]*?")).sql().unwrap();
    assert!(sql.contains("'/data/[[]a][*][?]/c/x/seg/A.parquet'"), "{sql}");
    assert!(view(&folder("/data/a\\b")).sql().unwrap().contains("'/data/a\\b/c/x/seg/A.parquet'"));
    for (place, why) in [
        (folder("/data/a\\*"), "beside a backslash"),
        (place("s3", "s3://books/a*/", "", "books"), "takes the address"),
        (folder("/data/\u{fffd}"), "UTF-8 only"),
        (place("memory", "memory", "", "memory"), "of the kind memory"),
        (place("dropbox", "dropbox:/books/", "", ""), "of the kind dropbox"),
    ] {
        let error = view(&place).sql().unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.message().contains(why), "{error}");
    }
}

#[test]
fn a_version_of_too_many_objects_is_refused_with_the_limit() {
    let place = folder("/data");
    let commits = (1..=MAX_OBJECTS).map(|number| format!("c/x/log/{number:020}.parquet")).collect();
    let error = DuckdbView { commits, ..view(&place) }.sql().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.message().contains("lies in 10001 objects, a view names at most 10000"), "{error}");
}
