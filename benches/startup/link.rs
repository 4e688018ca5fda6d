//! What the link to the bucket gives: the objects that an opening reads, by plain parallel range requests
//! of the AWS SDK whose bytes are dropped as they come; and a proxy that makes the link longer.

use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use drumlin::CollectionId;
use drumlin::testing::bucket::keys::StreamId;
use drumlin::testing::bucket::s3::{S3Bucket, S3Settings, connections};
use drumlin::testing::bucket::{Bucket, fetch};
use drumlin::testing::head;
use futures::stream::{self, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Bytes of a chunk that passes the proxy.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait in the proxy, per connection: requests are small.
const WAITING_CHUNKS: usize = 1_024;

/// One range of an object: its full key, first byte and end.
type Range = (String, u64, u64);

/// The objects of a collection that an opening reads, as the ranges it asks for.
pub struct Objects {
    client: Client,
    bucket: String,
    ranges: Vec<Range>,
    /// Bytes of all of them.
    pub bytes: u64,
}

impl Objects {
    /// Those that HEAD names, and the log from its floor on.
    pub async fn of(settings: &S3Settings, id: CollectionId) -> Objects {
        let bucket = S3Bucket::connect(settings.clone()).await.expect("the settings are right");
        let stream = StreamId::Collection(id);
        let head = head::read(&bucket, &stream, Default::default()).await.expect("the collection has a HEAD").head;
        let mut objects: Vec<(String, u64)> = head.segs.iter().map(|seg| (seg.key.clone(), seg.bytes)).collect();
        objects.extend(head.graphs.iter().map(|graph| (graph.key.clone(), graph.bytes)));
        let log = bucket.list(&stream.log_prefix(), None).await.expect("the log is listed");
        let tail = log.objects.into_iter().filter(|o| stream.log_version(&o.key).is_some_and(|v| v >= head.floor));
        objects.extend(tail.map(|object| (object.key, object.size_bytes)));
        let bytes = objects.iter().map(|(_, size)| size).sum();
        let root = settings.prefix.trim_matches('/').to_owned();
        let ranges = objects.into_iter().flat_map(|(key, size)| {
            let key = format!("{root}/{key}");
            fetch::pieces(size).map(move |range| (key.clone(), range.start, range.end))
        });
        Objects { client: client(settings).await, bucket: settings.bucket.clone(), ranges: ranges.collect(), bytes }
    }

    /// These objects, reached as `settings` say.
    pub async fn through(self, settings: &S3Settings) -> Objects {
        Objects { client: client(settings).await, ..self }
    }

    /// Gets everything, as many ranges at once as an opening does; the seconds that took.
    pub async fn get(&self) -> f64 {
        let started = Instant::now();
        let gets = self.ranges.iter().cloned().map(|range| {
            let task = tokio::spawn(get(self.client.clone(), self.bucket.clone(), range));
            async move { task.await.expect("the task ends") }
        });
        let got: Vec<u64> = stream::iter(gets).buffer_unordered(fetch::PIECES_IN_FLIGHT).collect().await;
        assert_eq!(got.iter().sum::<u64>(), self.bytes, "every byte came");
        started.elapsed().as_secs_f64()
    }
}

async fn get(client: Client, bucket: String, (key, start, end): Range) -> u64 {
    let request = client.get_object().bucket(bucket).key(key).range(format!("bytes={start}-{}", end - 1));
    let mut body = request.send().await.expect("the range is there").body;
    let mut bytes = 0;
    while let Some(chunk) = body.next().await {
        bytes += chunk.expect("the body comes").len() as u64;
    }
    bytes
}

async fn client(settings: &S3Settings) -> Client {
    let http = connections(settings.ca_bundle.as_deref()).expect("the certificates can be read");
    let shared = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let region = shared.region().cloned().unwrap_or(Region::from_static("us-east-1"));
    let mut builder = aws_sdk_s3::config::Builder::from(&shared)
        .region(region)
        .force_path_style(true)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let (Some(id), Some(secret)) = (&settings.access_key_id, &settings.secret_access_key) {
        builder = builder.credentials_provider(Credentials::new(id, secret, None, None, "settings"));
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    Client::from_conf(builder.build())
}

/// A proxy before `endpoint` (`http://host:port`) that holds back everything sent to the server by
/// `latency`, so that each round trip takes so much longer. Answers its own endpoint.
pub async fn delayed(endpoint: &str, latency: Duration) -> String {
    let server = endpoint.strip_prefix("http://").expect("an endpoint of plain HTTP").trim_end_matches('/').to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let server = server.clone();
            // A connection that breaks is the client's to notice.
            tokio::spawn(async move { pass(near, &server, latency).await });
        }
    });
    format!("http://{address}")
}

async fn pass(near: TcpStream, server: &str, latency: Duration) -> std::io::Result<()> {
    let far = TcpStream::connect(server).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
    let (queue, mut waiting) = mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(WAITING_CHUNKS);
    tokio::spawn(async move {
        while let Some((due, chunk)) = waiting.recv().await {
            tokio::time::sleep_until(due).await;
            if to_far.write_all(&chunk).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = from_far.read(&mut buffer).await {
            if to_near.write_all(buffer.get(..read).unwrap_or_default()).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = from_near.read(&mut buffer).await?;
        let chunk = buffer.get(..read).unwrap_or_default().to_vec();
        if read == 0 || queue.send((tokio::time::Instant::now() + latency, chunk)).await.is_err() {
            return Ok(());
        }
    }
}
