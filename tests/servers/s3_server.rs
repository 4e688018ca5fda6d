//! A small S3 server in this process, over a map: signatures are checked, and every condition and
//! every write, completes of uploads included, goes through one lock. It stops when it is dropped.
//! Requests can be slowed down, refused, or have their connection cut before or after they took effect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::s3_front::{Asked, Control, Front, Mischief};
use crate::s3_objects::{Store, Stored, Upload, same_key};

/// The one bucket of the server.
pub const BUCKET: &str = "drumlin-test";
/// The one identity of the server.
pub const ACCESS_KEY: &str = "test-access-key";
/// Its secret.
pub const SECRET_KEY: &str = "test-secret-key";

/// A running server.
pub struct S3Server {
    endpoint: String,
    control: Arc<Control>,
    objects: Objects,
    task: JoinHandle<()>,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl S3Server {
    /// Starts an empty server on a free port of this machine, on the present tokio runtime.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let control = Arc::<Control>::default();
        let objects = Objects::default();
        let mut service = S3ServiceBuilder::new(objects.clone());
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let front = Front { control: control.clone(), service: service.build(), connection: 0 };
        let task = tokio::spawn(async move {
            // Dropping the set ends the connections together with the server.
            let mut connections = tokio::task::JoinSet::new();
            for connection in 0.. {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let _ = socket.set_nodelay(true);
                let front = TowerToHyperService::new(Front { connection, ..front.clone() });
                connections.spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), front).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        S3Server { endpoint, control, objects, task }
    }

    /// The server's URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Delays every request by so many milliseconds, as a distant store would.
    pub fn set_latency_ms(&self, latency_ms: u64) {
        self.control.latency_ms.store(latency_ms, Ordering::SeqCst);
    }

    /// Answers 429 to a second write of a key within `pause`, conditions notwithstanding, as R2 does.
    pub fn limit_rewrites(&self, pause: Duration) {
        self.control.rewrites.lock().pause = Some(pause);
    }

    /// How many writes that limit has refused.
    pub fn refused_rewrites(&self) -> u64 {
        self.control.rewrites.lock().refused
    }

    /// Sets what decides about each later request.
    pub fn set_plan(&self, plan: impl FnMut(&Asked<'_>) -> Mischief + Send + 'static) {
        *self.control.plan.lock() = Box::new(plan);
    }

    /// How many requests have come.
    pub fn requests(&self) -> u64 {
        self.control.requests.load(Ordering::SeqCst)
    }

    /// How many uploads in parts are neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.objects.0.lock().uploads.len()
    }

    /// Makes the uploads in parts that are under way so much older.
    pub fn age_uploads(&self, by: Duration) {
        self.objects.0.lock().uploads.values_mut().for_each(|upload| upload.began -= by);
    }

    /// All keys, with the store's prefix.
    pub fn keys(&self) -> Vec<String> {
        self.objects.0.lock().objects.keys().cloned().collect()
    }
}

#[derive(Clone, Default)]
struct Objects(Arc<Mutex<Store>>);

fn here(bucket: &str) -> S3Result<()> {
    if bucket == BUCKET { Ok(()) } else { Err(s3_error!(NoSuchBucket, "no such bucket")) }
}

async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let chunks: Vec<Bytes> = body.try_collect().await.map_err(|_| s3_error!(IncompleteBody, "the body broke off"))?;
    Ok(chunks.concat().into())
}

#[async_trait]
impl S3 for Objects {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        here(&request.input.bucket)?;
        let found = self.0.lock().read(&request.input.key, request.input.sse_customer_key_md5.as_ref())?;
        let size = found.bytes.len() as u64;
        let tag = found.tag();
        let (bytes, content_range) = match request.input.range {
            None => (found.bytes, None),
            Some(range) => {
                let range = range.check(size)?;
                let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                (found.bytes.slice(range.start as usize..range.end as usize), Some(told))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(bytes.len() as i64),
            body: Some(StreamingBlob::wrap(stream::once(async { Ok::<_, std::io::Error>(bytes) }))),
            content_range,
            e_tag: Some(tag),
            last_modified: Some(found.modified.into()),
            ..Default::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        here(&request.input.bucket)?;
        let found = self.0.lock().read(&request.input.key, request.input.sse_customer_key_md5.as_ref())?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(found.bytes.len() as i64),
            e_tag: Some(found.tag()),
            last_modified: Some(found.modified.into()),
            ..Default::default()
        }))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let PutObjectInput { bucket, key, body, if_match, if_none_match, sse_customer_key_md5, .. } = request.input;
        here(&bucket)?;
        let bytes = whole(body).await?;
        let tag = self.0.lock().write(key, (bytes, sse_customer_key_md5), if_match, if_none_match)?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(tag), ..Default::default() }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        here(&request.input.bucket)?;
        let CopySource::Bucket { bucket, key, .. } = &request.input.copy_source else {
            return Err(s3_error!(NotImplemented, "only buckets are sources here"));
        };
        here(bucket)?;
        let mut store = self.0.lock();
        let bytes = store.read(key, request.input.copy_source_sse_customer_key_md5.as_ref())?.bytes;
        let tag = store.write(request.input.key, (bytes, request.input.sse_customer_key_md5), None, None)?;
        let result = CopyObjectResult { e_tag: Some(tag), ..Default::default() };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        here(&request.input.bucket)?;
        self.0.lock().objects.remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        here(&request.input.bucket)?;
        if request.input.delete.objects.len() > 1000 {
            return Err(s3_error!(MalformedXML, "more than 1000 keys"));
        }
        let mut store = self.0.lock();
        for object in &request.input.delete.objects {
            store.objects.remove(&object.key);
        }
        Ok(S3Response::new(DeleteObjectsOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let ListObjectsV2Input { bucket, prefix, start_after, max_keys, .. } = request.input;
        here(&bucket)?;
        let (prefix, after) = (prefix.unwrap_or_default(), start_after.unwrap_or_default());
        let most = max_keys.unwrap_or(1000).clamp(1, 1000) as usize;
        let store = self.0.lock();
        let mut found: Vec<Object> = store
            .objects
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .filter(|(key, _)| after.is_empty() || **key > after)
            .take(most + 1)
            .map(|(key, stored)| Object {
                key: Some(key.clone()),
                size: Some(stored.bytes.len() as i64),
                e_tag: Some(stored.tag()),
                last_modified: Some(stored.modified.into()),
                ..Default::default()
            })
            .collect();
        let is_truncated = Some(found.len() > most);
        found.truncate(most);
        Ok(S3Response::new(ListObjectsV2Output { contents: Some(found), is_truncated, ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        here(&request.input.bucket)?;
        let mut store = self.0.lock();
        store.uploads_begun += 1;
        let id = format!("upload-{}", store.uploads_begun);
        let CreateMultipartUploadInput { key, sse_customer_key_md5: customer_key, .. } = request.input;
        store
            .uploads
            .insert(id.clone(), Upload { key, began: SystemTime::now(), parts: BTreeMap::new(), customer_key });
        Ok(S3Response::new(CreateMultipartUploadOutput { upload_id: Some(id), ..Default::default() }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let UploadPartInput { upload_id, part_number, body, sse_customer_key_md5, .. } = request.input;
        let part = Stored::new(whole(body).await?);
        let tag = part.tag();
        let mut store = self.0.lock();
        let upload = store.uploads.get_mut(&upload_id).ok_or_else(|| s3_error!(NoSuchUpload, "no such upload"))?;
        same_key(upload.customer_key.as_ref(), sse_customer_key_md5.as_ref())?;
        upload.parts.insert(part_number, part);
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(tag), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let CompleteMultipartUploadInput { key, upload_id, multipart_upload, if_match, if_none_match, .. } =
            request.input;
        let named = multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let mut store = self.0.lock();
        let upload = store.uploads.get(&upload_id).ok_or_else(|| s3_error!(NoSuchUpload, "no such upload"))?;
        let mut bytes = Vec::new();
        for part in &named {
            let number = part.part_number.unwrap_or_default();
            let stored = upload.parts.get(&number).filter(|stored| part.e_tag == Some(stored.tag()));
            bytes.extend_from_slice(&stored.ok_or_else(|| s3_error!(InvalidPart, "part {number}"))?.bytes);
        }
        let customer_key = upload.customer_key.clone();
        let tag = store.write(key, (bytes.into(), customer_key), if_match, if_none_match)?;
        store.uploads.remove(&upload_id);
        Ok(S3Response::new(CompleteMultipartUploadOutput { e_tag: Some(tag), ..Default::default() }))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        here(&request.input.bucket)?;
        let prefix = request.input.prefix.unwrap_or_default();
        let store = self.0.lock();
        let uploads = store.uploads.iter().filter(|(_, upload)| upload.key.starts_with(&prefix));
        let uploads = uploads.map(|(id, upload)| MultipartUpload {
            key: Some(upload.key.clone()),
            upload_id: Some(id.clone()),
            initiated: Some(upload.began.into()),
            ..Default::default()
        });
        let uploads = Some(uploads.collect());
        Ok(S3Response::new(ListMultipartUploadsOutput { uploads, ..Default::default() }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let removed = self.0.lock().uploads.remove(&request.input.upload_id);
        removed.ok_or_else(|| s3_error!(NoSuchUpload, "no such upload"))?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
