//! What the bucket holds and costs. Invariant: the bucket is listed at most once a minute, and by one request at a
//! time, however often it is asked for.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::App;
use super::answer::json;
use super::body::Parameters;
use super::error::ApiError;
use super::wire::NoParameters;
use crate::compute::off_thread;
use crate::cost::{AS_OF, Bill, TABLE, Usage};
use crate::error::Result;
use crate::store::report::BucketContents;

/// How long an answer is given again.
const KEPT: Duration = Duration::from_secs(60);

/// The contents of the bucket as they were listed last, and when.
pub(super) type ListedContents = Arc<Mutex<Option<(Instant, Result<BucketContents>)>>>;

/// The answer.
#[derive(Serialize)]
struct BucketBody {
    #[serde(flatten)]
    contents: BucketContents,
    costs: Vec<CostBody>,
    prices_as_of: &'static str,
    /// Seconds of requests from which the month follows.
    counted_s: f64,
}

/// US dollars a month at one provider. Only storage is told before an hour of requests was counted.
#[derive(Serialize)]
struct CostBody {
    provider: &'static str,
    storage: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<f64>,
    /// What is charged besides, if the server is not at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<f64>,
}

impl CostBody {
    fn new(bill: Bill, is_counted: bool) -> CostBody {
        let Bill { provider, storage, writes, reads, total, sent_out } = bill;
        let counted = |dollars: f64| is_counted.then_some(dollars);
        let (requests, traffic, total) = (counted(writes + reads), counted(sent_out), counted(total));
        CostBody { provider, storage, requests, traffic, total }
    }
}

pub(super) async fn contents(
    State(app): State<App>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Response, ApiError> {
    let contents = listed(&app).await?;
    let usage = Usage::of_metrics(&app.metrics.text(&app.store)?)?;
    let month = usage.month(contents.kinds.iter().map(|kind| kind.amount.bytes).sum());
    let costs = TABLE.iter().map(|prices| CostBody::new(prices.bill(&month), !usage.is_short())).collect();
    json(StatusCode::OK, &BucketBody { contents, costs, prices_as_of: AS_OF, counted_s: usage.seconds })
}

/// The contents, listed within the last minute.
async fn listed(app: &App) -> Result<BucketContents> {
    let mut kept = app.listed_contents.clone().lock_owned().await;
    if let Some((since, contents)) = &*kept
        && since.elapsed() < KEPT
    {
        return contents.clone();
    }
    let (store, runtime) = (app.store.clone(), Handle::current());
    // Apart from the request: a large bucket may take longer, and the next request finds it listed. On one thread, since
    // checks of a bucket do not move between threads.
    let list = move || {
        runtime.block_on(async {
            // A failure too: a large bucket costs as much to list in vain.
            let contents = store.admin().bucket_contents().await;
            *kept = Some((Instant::now(), contents.clone()));
            contents
        })
    };
    off_thread(list).await?
}
