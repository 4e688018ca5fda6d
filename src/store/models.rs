//! Models of sentences in the bucket: put there once, listed, removed, and loaded into memory by every instance that
//! needs one. A model is a set of files and a description, `model.json`, which is put last and names them.
//! Invariants: what a description names was in the bucket before it; a model was loaded once, by whoever put it there,
//! before it gets a name.

use bytes::Bytes;
use futures::stream;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::Store;
use super::files::Files;
use crate::collection::request::{Consistency, check_model_name};
use crate::compute::off_thread;
use crate::embedding::{Model, ModelFiles, Pooling};
use crate::error::{Error, ErrorKind, Result};
use crate::file::{ListFiles, PutFile};

/// The description of a model among its files.
const DESCRIPTION: &str = "model.json";
/// The format of descriptions that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;
/// The most bytes of a description.
const DESCRIPTION_BYTES: u64 = 1 << 20;
/// Bytes of a model's file that are sent at once.
const PIECE_BYTES: usize = 1 << 20;

/// The models of a bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Models {
    store: Store,
    files: Files,
}

/// The facts about a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ModelInfo {
    /// Its name in the bucket.
    #[serde(default)]
    pub name: String,
    /// Floats of an embedding.
    pub dimension: usize,
    /// Tokens of a text that are looked at.
    pub max_tokens: usize,
    /// Whether embeddings have length 1.
    pub normalised: bool,
    /// `mean` or `cls`: which tokens' vectors become the text's.
    pub pooling: String,
    /// Whether it scores pairs of texts (a cross-encoder) instead of making embeddings.
    pub scores_pairs: bool,
    /// SHA-256 of its weights in hex: it tells one model from another.
    #[serde(default)]
    pub sha256: String,
    /// Bytes of its files in the bucket.
    pub stored_bytes: u64,
    /// Bytes of memory while it is loaded.
    pub memory_bytes: u64,
}

/// Whether a file of that name may belong to a model. A folder as it is published has others, some of them large: the
/// same weights for other libraries.
pub fn is_model_file(path: &str) -> bool {
    [".json", ".onnx", ".safetensors"].iter().any(|ending| path.ends_with(ending))
}

/// A model's description as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredModel {
    format: u32,
    /// The folder of this version's files.
    revision: Ulid,
    files: Vec<StoredFile>,
    loading_bytes: u64,
    #[serde(flatten)]
    pub(super) info: ModelInfo,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StoredFile {
    path: String,
    bytes: u64,
}

impl StoredModel {
    /// Bytes that loading needs at once: the files beside what is made of them.
    pub(super) fn loading_bytes(&self) -> u64 {
        self.info.stored_bytes.saturating_add(self.loading_bytes)
    }
}

impl Store {
    /// The models of the bucket.
    pub fn models(&self) -> Models {
        Models { store: self.clone(), files: Files::of_models(self) }
    }
}

impl Models {
    /// Puts a model into the bucket: durable when this returns. Its files replace those of a model of that name with the
    /// same weights. `files` are pairs of a
    /// path and the bytes there, as Hugging Face lays a model's folder out; others around them are left out.
    ///
    /// # Errors
    /// `AlreadyExists` if another model has the name: collections that use it keep embeddings that fit no other.
    /// `Invalid` for a bad name, and for files that are no model of the BERT family; `NoRoom` if there is no memory to
    /// try it.
    pub async fn add(&self, name: &str, files: impl IntoIterator<Item = (String, Bytes)>) -> Result<ModelInfo> {
        check_model_name("name", name)?;
        let files = ModelFiles::new(files)?.needed()?;
        let need = Model::memory_need(&files)?;
        let room = self.store.inner.room_for_model(name, need.loading_bytes).await?;
        let (model, files) = off_thread(move || Model::load(&files).map(|model| (model, files))).await??;
        let stored = described(name, &model, &files, need.loading_bytes);
        drop((model, room));
        let before = match self.stored(name).await {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            found => Some(found?),
        };
        if before.as_ref().is_some_and(|before| before.info.sha256 != stored.info.sha256) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!(
                    "another model is called {name:?}: give this one another name, or remove that one first; collections \
                     that use it keep embeddings that fit no other model"
                ),
            ));
        }
        for (path, bytes) in files.iter() {
            self.put(&file_name(name, &stored.revision, path), bytes.clone()).await?;
        }
        let text = serde_json::to_vec(&stored).map_err(|e| Error::internal("a model's description").with_source(e))?;
        self.put(&description_name(name), text.into()).await?;
        if let Some(before) = before {
            self.delete_files(name, &before).await;
        }
        Ok(stored.info)
    }

    /// The models, by name.
    ///
    /// # Errors
    /// `Unavailable` if the bucket does not answer.
    pub async fn list(&self) -> Result<Vec<ModelInfo>> {
        let (mut names, mut list) = (Vec::new(), ListFiles::default());
        loop {
            let page = self.files.list(&list, Consistency::Local).await?;
            let described = page.files.iter().filter_map(|file| file.name.strip_suffix(DESCRIPTION)?.strip_suffix('/'));
            names.extend(described.filter(|name| !name.contains('/')).map(str::to_owned));
            match page.next {
                Some(after) => list.after = Some(after),
                None => break,
            }
        }
        // Files come in the order of their paths, where `a-b/` is before `a/`.
        names.sort_unstable();
        let mut models = Vec::with_capacity(names.len());
        for name in names {
            match self.get(&name).await {
                // Removed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // One that a newer version put there is no reason to show none.
                Err(error) if error.kind() == ErrorKind::Corrupted => {
                    tracing::warn!(model = %name, %error, "a model is left out of the list");
                }
                found => models.push(found?),
            }
        }
        Ok(models)
    }

    /// The facts about a model.
    ///
    /// # Errors
    /// `NotFound` if the bucket has none of that name.
    pub async fn get(&self, name: &str) -> Result<ModelInfo> {
        Ok(self.stored(name).await?.info)
    }

    /// Removes a model. Collections that use it keep their embeddings, and take texts again once it is back.
    ///
    /// # Errors
    /// `NotFound` if the bucket has none of that name.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let stored = self.stored(name).await?;
        self.files.delete(&description_name(name)).await.map_err(|error| missing(name, error))?;
        self.delete_files(name, &stored).await;
        Ok(())
    }

    /// A model's files as they were added, with their paths.
    ///
    /// # Errors
    /// As [`get`](Models::get).
    pub async fn read(&self, name: &str) -> Result<Vec<(String, Bytes)>> {
        let stored = self.stored(name).await?;
        let files = self.files(name, &stored).await?;
        Ok(files.iter().map(|(path, bytes)| (path.to_owned(), bytes.clone())).collect())
    }

    /// What tells this version of a model from another; known without asking the bucket.
    pub(super) async fn revision(&self, name: &str) -> Result<String> {
        let found = self.files.stat(&description_name(name), Consistency::Local).await;
        Ok(found.map_err(|error| missing(name, error))?.sha256)
    }

    pub(super) async fn stored(&self, name: &str) -> Result<StoredModel> {
        check_model_name("model", name)?;
        let bytes =
            self.body(&description_name(name), DESCRIPTION_BYTES).await.map_err(|error| missing(name, error))?;
        let damaged =
            |cause: String| Error::new(ErrorKind::Corrupted, format!("the description of model {name:?}: {cause}"));
        let mut stored: StoredModel = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if stored.format > FORMAT {
            let (found, known) = (stored.format, FORMAT);
            return Err(damaged(format!(
                "it has format {found}, and this version knows formats up to {known}: update Drumlin"
            )));
        }
        stored.info.name = name.to_owned();
        Ok(stored)
    }

    /// The files of a stored model. The caller has reserved memory for them.
    pub(super) async fn files(&self, name: &str, stored: &StoredModel) -> Result<ModelFiles> {
        let mut files = Vec::with_capacity(stored.files.len());
        for StoredFile { path, bytes } in &stored.files {
            let body = self.body(&file_name(name, &stored.revision, path), *bytes).await;
            files.push((path.clone(), body.map_err(|error| missing(name, error))?));
        }
        ModelFiles::new(files)
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let file = PutFile { length: Some(bytes.len() as u64), ..PutFile::default() };
        let pieces: Vec<Result<Bytes>> = (0..bytes.len())
            .step_by(PIECE_BYTES)
            .map(|at| Ok(bytes.slice(at..bytes.len().min(at + PIECE_BYTES))))
            .collect();
        self.files.put(name, file, stream::iter(pieces)).await.map(drop)
    }

    /// The body of a file that has at most `most` bytes.
    async fn body(&self, name: &str, most: u64) -> Result<Bytes> {
        let mut download = self.files.get(name, Consistency::Local).await?;
        let size = download.info().size;
        if size > most {
            return Err(Error::new(
                ErrorKind::Corrupted,
                format!("file {name:?} of a model: expected at most {most} bytes, got {size}"),
            ));
        }
        let mut body = Vec::new();
        while let Some(piece) = download.next().await? {
            body.extend_from_slice(&piece);
        }
        Ok(body.into())
    }

    /// Deletes the files of a model that no description names any more. What cannot be deleted costs room only.
    async fn delete_files(&self, name: &str, stored: &StoredModel) {
        for file in &stored.files {
            let file = file_name(name, &stored.revision, &file.path);
            if let Err(error) = self.files.delete(&file).await {
                tracing::warn!(%file, %error, "a file of a former model is left over");
            }
        }
    }
}

fn described(name: &str, model: &Model, files: &ModelFiles, loading_bytes: u64) -> StoredModel {
    let stored: Vec<StoredFile> =
        files.iter().map(|(path, bytes)| StoredFile { path: path.to_owned(), bytes: bytes.len() as u64 }).collect();
    let pooling = match model.pooling() {
        Pooling::Mean => "mean",
        Pooling::Cls => "cls",
    };
    let info = ModelInfo {
        name: name.to_owned(),
        dimension: model.dimension(),
        max_tokens: model.max_tokens(),
        normalised: model.is_normalised(),
        pooling: pooling.to_owned(),
        scores_pairs: model.scores_pairs(),
        sha256: files.weights_sha256(),
        stored_bytes: stored.iter().map(|file| file.bytes).sum(),
        memory_bytes: model.memory_bytes(),
    };
    StoredModel { format: FORMAT, revision: Ulid::generate(), files: stored, loading_bytes, info }
}

fn description_name(name: &str) -> String {
    format!("{name}/{DESCRIPTION}")
}

fn file_name(name: &str, revision: &Ulid, path: &str) -> String {
    format!("{name}/{revision}/{path}")
}

/// The error for a model that is not there, in the terms of models.
fn missing(name: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Gone => Error::not_found(format!(
            "there is no model {name:?} in the bucket; `drumlin model add FOLDER` puts one there, and `drumlin model \
             list` shows all"
        )),
        _ => error,
    }
}
