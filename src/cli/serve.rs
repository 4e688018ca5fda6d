//! The `serve` command: opens the store, serves it until a signal, drains and closes.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing_subscriber::EnvFilter;

use super::demo;
use super::settings::ServeSettings;
use crate::admin::Opening;
use crate::http::{Keyring, prepare_server_thread};
use crate::{Error, ErrorKind, Result, Storage, Store};

/// Runs the server until SIGTERM or SIGINT.
pub fn run(mut settings: ServeSettings) -> Result<()> {
    start_log(&settings)?;
    settings.http.keys = settings.keys.open()?;
    settings.store.memory_limit = settings.memory.limit();
    on_runtime(serve(settings))
}

/// Sets the one TLS provider of the process; a second call finds it set and changes nothing.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Runs the work of a command on a runtime of its own.
pub fn on_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    install_tls();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().on_thread_start(prepare_server_thread).build();
    let runtime = runtime.map_err(|e| failed("the runtime did not start", e))?;
    let done = runtime.block_on(work);
    // The remaining tasks had their time: a blocking call that hangs must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_millis(200));
    done
}

async fn serve(settings: ServeSettings) -> Result<()> {
    // This comes before anything else, so that a signal during a long start also ends the process in order.
    let stop = stop_signal()?;
    tokio::pin!(stop);
    #[cfg(unix)]
    if settings.keys.file.is_some() {
        reload_at_hang_up(settings.http.keys.clone())?;
    }
    // The socket is bound before the store opens: a port that is taken should not cost a recovery first, and
    // `/health` can say what a start waits for.
    let listener = TcpListener::bind((settings.host.as_str(), settings.port)).await;
    let at = format!("{}:{}", settings.host, settings.port);
    let listener = listener.map_err(|e| not_listening(&at, e))?;
    let address = listener.local_addr().map_err(|e| failed("the listener has no address", e))?;
    let url = format!("http://{address}");
    banner(&settings, &url);
    let opening = Opening::new(&settings.store);
    // The store opens on a task of its own: its long steps must not keep connections waiting.
    let opened = tokio::spawn(Store::open_watched(settings.store.clone(), opening.clone()));
    let (opened, place) = (AbortOnDrop(opened), Arc::new(OnceLock::new()));
    let (told_of, demo) = (place.clone(), settings.demo);
    let store = async move {
        let store = opened.await?;
        // The store is opened only once, so the cell is empty.
        let _ = told_of.set(store.clone());
        tokio::spawn(log_when_loaded(store.clone(), url, demo));
        Ok(store)
    };
    let stopping = async {
        stop.await;
        tracing::info!("stopping at a signal");
        Instant::now()
    };
    let (told, when) = tokio::sync::oneshot::channel();
    let shutdown = async {
        // The receiver lives until serving has ended; nothing else can have dropped it.
        let _ = told.send(stopping.await);
    };
    crate::http::serve_opening(listener, opening, store, settings.http.clone(), shutdown).await?;
    let since = when.await.map_or(Duration::ZERO, |told| told.elapsed());
    if let Some(store) = place.get() {
        close(store, settings.shutdown_timeout.saturating_sub(since)).await;
    }
    Ok(())
}

/// Closes the store in the time that is left. Whatever the outcome, nothing acknowledged is lost, and every waiting
/// client has its answer: so the process ends with success.
async fn close(store: &Store, left: Duration) {
    // If the bucket is away, there is little point in waiting: the next start does what the flush would do.
    let limit = if store.admin().is_connected() { left } else { left.min(Duration::from_secs(1)) };
    match store.close(limit).await {
        Ok(()) => tracing::info!("stopped; everything acknowledged is in the bucket"),
        Err(error) => tracing::warn!(
            "stopped before everything was flushed ({error}); everything acknowledged is in the bucket, and writes in \
             progress were answered with an unknown outcome"
        ),
    }
}

/// A task that ends together with the future that waits for it.
struct AbortOnDrop<T>(JoinHandle<Result<T>>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let ended_early = |e| Error::new(ErrorKind::Internal, "opening the store ended early").with_source(e);
        Pin::new(&mut self.0).poll(context).map(|ended| ended.map_err(ended_early)?)
    }
}

/// Starts the log, on standard error.
pub fn start_log(settings: &ServeSettings) -> Result<()> {
    // The SDK of the Model Context Protocol logs each message at the level of a start.
    let filter = EnvFilter::try_new(format!("rmcp=error,{}", settings.log)).map_err(|e| {
        Error::new(
            ErrorKind::Invalid,
            format!("DRUMLIN_LOG: expected a log filter such as info, got {:?}: {e}", settings.log),
        )
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if settings.log_json { log.json().try_init() } else { log.with_ansi(false).try_init() };
    started.map_err(|e| Error::new(ErrorKind::Internal, format!("the log did not start: {e}")))
}

/// Logs what is stored where, and the limits; never a secret.
fn banner(settings: &ServeSettings, url: &str) {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), url, "drumlin is starting");
    match &settings.store.storage {
        Storage::S3(s3) => {
            let endpoint = s3.endpoint.as_deref().unwrap_or("aws");
            tracing::info!(
                bucket = s3.bucket,
                prefix = s3.prefix,
                endpoint,
                "everything is stored in S3, nothing on disk"
            );
        }
        Storage::Gcs(gcs) => {
            let endpoint = gcs.endpoint.as_deref().unwrap_or("google");
            let (bucket, prefix) = (&gcs.bucket, &gcs.prefix);
            tracing::info!(bucket, prefix, endpoint, "everything is stored in Google Cloud Storage, nothing on disk");
        }
        Storage::Azure(azure) => {
            let (account, container, prefix) = (&azure.account, &azure.container, &azure.prefix);
            tracing::info!(account, container, prefix, "everything is stored in Azure Blob Storage, nothing on disk");
        }
        Storage::Dropbox(dropbox) => {
            tracing::info!(folder = dropbox.root, "everything is stored in Dropbox, nothing on disk");
        }
        Storage::Folder(path) => {
            tracing::info!(folder = %path.display(), "the folder is the bucket; everything is stored in it")
        }
        Storage::Memory => tracing::warn!("everything is stored in memory only and is lost when the server stops"),
    }
    let (store, http) = (&settings.store, &settings.http);
    tracing::info!(
        sync_interval_s = store.sync_interval.as_secs_f64(),
        max_body_bytes = http.max_body_bytes,
        max_batch_records = store.limits.batch_records,
        max_dimension = store.limits.dimension,
        max_k = store.limits.k,
        max_concurrent_requests = http.max_concurrent_requests,
        request_timeout_s = http.request_timeout.as_secs_f64(),
        "limits"
    );
    // The absence of a limit is logged later, once the memory in use is known.
    if let Some(limit) = store.memory_limit {
        let of = settings.memory.origin();
        tracing::info!(bytes = limit.bytes, of, "memory is limited; idle collections are evicted when it runs short");
    }
    match (http.keys.asks_for_keys(), http.keys.len()) {
        (true, keys) => tracing::info!(keys, "requests need a key"),
        (false, _) => tracing::info!("requests need no key; set STORAGE_API_KEY or DRUMLIN_KEY_FILE to require one"),
    }
    if let Some(file) = &settings.env_file {
        tracing::info!(file = %file.display(), "settings that are not in the environment come from a file");
    }
    for note in &settings.notes {
        tracing::warn!("{note}");
    }
}

async fn log_when_loaded(store: Store, url: String, demo: bool) {
    let recovery = store.wait_until_loaded().await;
    if recovery.collections + recovery.evicted == 0 {
        tracing::info!("nothing to recover: the store is empty");
    } else {
        tracing::info!(
            collections = recovery.collections,
            resting = recovery.evicted,
            records = recovery.records,
            bytes = recovery.bytes,
            graphs_loaded = recovery.graphs_loaded,
            seconds = recovery.seconds,
            "recovered"
        );
    }
    for damage in store.admin().health().damaged {
        tracing::error!(
            collection = damage.collection,
            key = damage.key,
            cause = damage.cause,
            "a collection is damaged; the others are served"
        );
    }
    let memory = store.admin().health().memory;
    if memory.limit_bytes == 0 {
        let in_use = memory.resident_bytes;
        tracing::info!(bytes = in_use, "memory in use, without a limit; set one by DRUMLIN_MEMORY_LIMIT");
    }
    tracing::info!("ready at {url}, for browsers too; the API is described at {url}/docs");
    if demo && let Err(error) = demo::load(&store, &url).await {
        tracing::error!("the demo collection could not be loaded: {error}");
    }
}

/// Resolves at the first SIGTERM or SIGINT; the handlers are in place when this returns.
#[cfg(unix)]
pub fn stop_signal() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let handler = |kind| signal(kind).map_err(|e| failed("signals cannot be handled", e));
    let (mut terminate, mut interrupt) = (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Reads the key file again at every SIGHUP.
#[cfg(unix)]
fn reload_at_hang_up(keys: Keyring) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hang_up = signal(SignalKind::hangup()).map_err(|e| failed("signals cannot be handled", e))?;
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            let keys = keys.clone();
            if tokio::task::spawn_blocking(move || keys.reload()).await.is_err() {
                tracing::error!("reading the key file ended early; the keys stay as they are");
            }
        }
    });
    Ok(())
}

/// Resolves at Ctrl-C.
#[cfg(not(unix))]
pub fn stop_signal() -> Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// The error for an address that cannot be listened on, with a way out.
fn not_listening(at: &str, cause: io::Error) -> Error {
    let way_out = match cause.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program listens there: choose another port with PORT or --port, 0 for any free one"
        }
        io::ErrorKind::PermissionDenied => "; choose a port above 1023 by PORT or --port",
        io::ErrorKind::AddrNotAvailable => "; HOST or --host must be an address of this machine",
        _ => "",
    };
    failed(&format!("listening on {at} failed: {cause}{way_out}"), cause)
}

fn failed(what: &str, cause: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, what).with_source(cause)
}
