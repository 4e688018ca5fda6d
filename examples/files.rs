//! Files beside the collections, in the same bucket: streamed in and out, never whole in memory.
//!
//!     cargo run --example files

use drumlin::files::{ListFiles, PutFile};
use drumlin::{Consistency, Store};
use futures::stream;

#[tokio::main]
async fn main() -> drumlin::Result<()> {
    let store = Store::open("memory://").await?;
    let files = store.files();
    let body = stream::iter((0..3).map(|n| Ok(format!("line {n}\n").into())));
    files.put("reports/lines.txt", PutFile::default(), body).await?; // durable when this returns

    let mut download = files.get("reports/lines.txt", Consistency::Local).await?;
    let mut bytes = 0;
    while let Some(piece) = download.next().await? {
        bytes += piece.len();
    }
    for file in files.list(&ListFiles::default(), Consistency::Local).await?.files {
        println!("{} has {} bytes, {bytes} of them read", file.name, file.size);
    }
    store.close(std::time::Duration::from_secs(10)).await
}
