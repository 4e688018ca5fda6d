//! Every variable that `serve` reads, once: for `--help`, for the warning about unknown names, and for
//! the test that the table and the reading agree.

/// A variable, its default and its meaning.
pub struct Variable {
    pub name: &'static str,
    pub default: &'static str,
    pub meaning: &'static str,
}

const fn v(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, default, meaning }
}

/// All of them, in the order they are shown.
pub const VARIABLES: &[Variable] = &[
    v("HOST", "127.0.0.1", "address to listen on"),
    v("PORT", "8000", "port to listen on, 0 for any free one"),
    v("DRUMLIN_ALLOW_PUBLIC", "false", "listen on a public address without a key"),
    v("STORAGE_API_KEY", "", "a key that allows everything; with it requests need a key"),
    v("DRUMLIN_KEY_FILE", "", "JSON list of keys with scopes, read anew when it changes"),
    v("DRUMLIN_RATE_PER_SECOND", "no limit", "requests a second of one key, or address without one"),
    v("DRUMLIN_RATE_BURST", "the rate", "requests at once after a pause"),
    v("DRUMLIN_CORS_ORIGINS", "", "origins, by commas, whose pages may use this server; * is all"),
    v("DRUMLIN_TRUST_PROXY", "false", "believe X-Forwarded-For, -Proto and -Host of the proxy in front"),
    v("DRUMLIN_STORAGE", "by what is set", "s3, r2, gcs, azure, dropbox, folder or memory"),
    v("STORAGE_MODE", "", "the same"),
    v("DRUMLIN_DATA", "drumlin-data", "folder used as the bucket when no other bucket is named"),
    v("STORAGE_PATH", "", "the same, and asks for the folder"),
    v("DATABASE_PATH", "", "not used, and the log says so: there is no database file"),
    v("S3_ENABLED", "true if a bucket is named", "false uses the folder though a bucket is named"),
    v("S3_BUCKET_NAME", "", "bucket; naming one stores everything in S3"),
    v("S3_PREFIX", "vector_db/", "prefix of every key"),
    v("S3_SYNC_INTERVAL", "60", "seconds between looks for other instances' commits, whatever the bucket"),
    v("AWS_ACCESS_KEY_ID", "the SDK's own chain", "access key"),
    v("AWS_SECRET_ACCESS_KEY", "the SDK's own chain", "secret key"),
    v("AWS_SESSION_TOKEN", "", "session token of temporary keys"),
    v("AWS_CA_BUNDLE", "the profile's ca_bundle, else the system's", "PEM file of authorities to trust for S3"),
    v("AWS_REGION", "the SDK's own chain", "region"),
    v("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "endpoint of a server that speaks S3"),
    v("AWS_ENDPOINT_URL", "", "the same, for all services"),
    v("DRUMLIN_S3_SSE", "the bucket's own rule", "AES256 or aws:kms: encryption of every object"),
    v("DRUMLIN_S3_SSE_KMS_KEY_ID", "AWS's own key", "the key for aws:kms"),
    v("DRUMLIN_S3_SSE_CUSTOMER_KEY", "", "base64 of 32 bytes: your own key instead (SSE-C)"),
    v("DRUMLIN_S3_PATH_STYLE", "true with an endpoint", "bucket in the path instead of the host name"),
    v("DRUMLIN_S3_ATTEMPT_TIMEOUT_S", "30", "seconds for one attempt at any bucket, more for large objects"),
    v("DRUMLIN_S3_CONNECT_TIMEOUT_S", "5", "seconds to connect to any bucket"),
    v("R2_BUCKET_NAME", "", "bucket of Cloudflare R2"),
    v("R2_ACCOUNT_ID", "", "the account, of which the endpoint is made"),
    v("R2_ACCESS_KEY_ID", "", "access key of an R2 token"),
    v("R2_SECRET_ACCESS_KEY", "", "its secret key"),
    v("R2_ENDPOINT_URL", "of the account", "endpoint, where it is another (a jurisdiction's)"),
    v("R2_PREFIX", "vector_db/", "prefix of every key"),
    v("GCS_BUCKET_NAME", "", "bucket of Google Cloud Storage"),
    v("GOOGLE_APPLICATION_CREDENTIALS", "gcloud's, else the machine's", "key file of a service account"),
    v("GOOGLE_CLOUD_PROJECT", "", "accepted; a bucket's name says it all"),
    v("STORAGE_EMULATOR_HOST", "", "an emulator of Google Cloud Storage"),
    v("GCS_PREFIX", "vector_db/", "prefix of every key"),
    v("AZURE_STORAGE_CONTAINER", "", "container of Azure Blob Storage"),
    v("AZURE_STORAGE_ACCOUNT", "", "storage account"),
    v("AZURE_STORAGE_KEY", "the managed identity", "the account's key"),
    v("AZURE_STORAGE_SAS_TOKEN", "", "shared access signature instead of the key"),
    v("AZURE_STORAGE_CONNECTION_STRING", "", "account, key and endpoint in one, as the portal shows them"),
    v("AZURE_STORAGE_ENDPOINT", "of the account", "the blob service's URL, where it is another"),
    v("AZURE_STORAGE_PREFIX", "vector_db/", "prefix of every key"),
    v("DROPBOX_ENABLED", "true if a token is set", "store everything in Dropbox"),
    v("DROPBOX_REFRESH_TOKEN", "", "refresh token of an app (token_access_type=offline)"),
    v("DROPBOX_APP_KEY", "", "the app's key"),
    v("DROPBOX_APP_SECRET", "", "the app's secret"),
    v("DROPBOX_ACCESS_TOKEN", "", "access token instead; it ends after some hours"),
    v("DROPBOX_ROOT", "vector_db", "folder in Dropbox, or in the app's own folder"),
    v("DRUMLIN_FILE_MAX_BYTES", "5368709120", "bytes of a file"),
    v("DRUMLIN_FILE_TYPES", "all", "kinds of files that may be uploaded, such as image/*,application/pdf,.txt"),
    v("DRUMLIN_FILE_MEMORY_BYTES", "33554432", "bytes of files in memory at once, on their way in or out; more wait"),
    v("DRUMLIN_FILE_IDLE_S", "60", "seconds that an upload or a download may stand still"),
    v("DRUMLIN_FILE_KEEP_DELETED_S", "2592000", "seconds that a deleted file is answered 410; then 404"),
    v("AUTO_DELETE", "true", "GET /download deletes what it has sent whole, unless ?keep=true"),
    v("ALLOW_RESET", "false", "POST /api/v2/reset drops everything, as Chroma's tests want it"),
    v("DRUMLIN_MAX_BODY_BYTES", "67108864", "bytes of a request body"),
    v("DRUMLIN_MAX_QUERY_BYTES", "33554432", "bytes of the body of a search, a get or a delete"),
    v("DRUMLIN_MAX_ANSWER_RECORDS", "100000", "neighbours of one search in all"),
    v("DRUMLIN_MAX_CONCURRENT_REQUESTS", "1024", "requests under way; more are answered 503"),
    v("DRUMLIN_MAX_CONNECTIONS", "8192", "open connections; for one more, one without a request is closed"),
    v("DRUMLIN_CONNECTION_IDLE_S", "75", "seconds that a connection may be open without a whole request"),
    v("DRUMLIN_BODY_IDLE_S", "20", "seconds that a request's body, or the taking of an answer, may stand still"),
    v("DRUMLIN_REQUEST_TIMEOUT_S", "60", "seconds for one request"),
    v("DRUMLIN_SHUTDOWN_TIMEOUT_S", "25", "seconds to finish requests and flush when told to stop"),
    v("DRUMLIN_MAX_DIMENSION", "16384", "floats of an embedding"),
    v("DRUMLIN_MAX_ID_BYTES", "4096", "bytes of an id"),
    v("DRUMLIN_MAX_METADATA_BYTES", "262144", "bytes of a record's metadata as JSON"),
    v("DRUMLIN_MAX_DOCUMENT_BYTES", "8388608", "bytes of a document or uri"),
    v("DRUMLIN_MAX_BATCH_RECORDS", "100000", "records of one write"),
    v("DRUMLIN_MAX_BATCH_BYTES", "67108864", "bytes of one write once encoded"),
    v("DRUMLIN_MAX_K", "10000", "neighbours of one search"),
    v("DRUMLIN_MAX_QUERIES", "1000", "query embeddings of one search"),
    v("DRUMLIN_MAX_WAITING_WRITES", "10000", "writes waiting for one collection"),
    v("DRUMLIN_MAX_WAITING_SEARCHES", "10000", "searches waiting for a thread"),
    v("DRUMLIN_START_TIMEOUT_S", "60", "seconds that a start waits for a bucket that is away or busy; commands: 10"),
    v("DRUMLIN_RECOVERY_PARALLEL", "8", "collections loaded at once at start"),
    v("DRUMLIN_SEARCH_THREADS", "all cores", "searches computed at once"),
    v("DRUMLIN_INDEX_THREADS", "half the cores", "threads that build graphs"),
    v("DRUMLIN_MEMORY_LIMIT", "the container's, less a reserve", "memory in use, such as 400MiB or 2GB, or none"),
    v("DRUMLIN_IDLE_REST", "", "seconds without use after which a collection leaves memory until it is used"),
    v("DRUMLIN_MAINTENANCE", "true", "flush, compact, build graphs, collect garbage"),
    v("DRUMLIN_SERVE_DAMAGED", "no", "read-only: a collection whose log is damaged is served up to the damage"),
    v("DRUMLIN_RETENTION_S", "", "seconds of a collection's past that restore reaches; raises T_KEEP and T_GARBAGE"),
    v("DRUMLIN_WRITE_DEADLINE_S", "60", "seconds until a write's outcome is called unknown"),
    v("DRUMLIN_REREAD_S", "5", "seconds for which what does not check out is read again before it counts as damaged"),
    v("DRUMLIN_GRAPH_ROWS", "256", "records in no graph that are put into one"),
    v("DRUMLIN_FLUSH_COMMITS", "128", "commits in the tail that make its writer flush"),
    v("DRUMLIN_FLUSH_COMMITS_OTHER", "160", "commits in the tail that make any instance flush"),
    v("DRUMLIN_FLUSH_BYTES", "16777216", "bytes in the tail that cause a flush"),
    v("DRUMLIN_FLUSH_AGE_S", "600", "age of the tail that causes a flush"),
    v("DRUMLIN_FAN_OUT", "8", "segments merged into one of the next level"),
    v("DRUMLIN_T_LEASE_S", "600", "protocol T_LEASE; for tests"),
    v("DRUMLIN_T_KEEP_S", "86400", "protocol T_KEEP; for tests"),
    v("DRUMLIN_T_GARBAGE_S", "3600", "protocol T_GARBAGE: how long replaced segments are kept"),
    v("DRUMLIN_COLLECT_INTERVAL_S", "3600", "seconds between looks for garbage"),
    v("DRUMLIN_MAINTENANCE_INTERVAL_S", "5", "seconds between looks for background work"),
    v("DRUMLIN_SWAP_INTERVAL_S", "1", "least seconds between two swaps of one HEAD"),
    v("DRUMLIN_PREFETCH", "16", "log objects fetched ahead"),
    v("DEBUG", "false", "log at level debug unless DRUMLIN_LOG says otherwise"),
    v("DRUMLIN_LOG", "info", "log filter, for example debug or info,drumlin::access=off"),
    v("DRUMLIN_LOG_FORMAT", "text", "text or json"),
];

/// The table as shown by `--help`.
pub fn help() -> String {
    let mut text = String::from("Variables, from the environment or a .env file (default in brackets):\n");
    for v in VARIABLES {
        let default = if v.default.is_empty() { String::new() } else { format!(" [{}]", v.default) };
        text.push_str(&format!("  {:<33} {}{default}\n", v.name, v.meaning));
    }
    text
}

/// Names that look like ours and mean nothing: most likely typos.
pub fn unknown(names: impl IntoIterator<Item = String>) -> Vec<String> {
    // DRUMLIN_TEST_* steer the test suite.
    let ours = |name: &str| name.starts_with("DRUMLIN_") && !name.starts_with("DRUMLIN_TEST_");
    names.into_iter().filter(|name| ours(name) && VARIABLES.iter().all(|v| v.name != name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_noticed_and_a_known_one_is_not() {
        let names = ["DRUMLIN_MAX_KK", "DRUMLIN_MAX_K", "PATH", "DRUMLIN_TEST_S3_ENDPOINT"].map(str::to_owned);
        assert_eq!(unknown(names), vec!["DRUMLIN_MAX_KK".to_owned()]);
    }
}
