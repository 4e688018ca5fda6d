//! Embeddings of texts for collections: by a model of the bucket, or by a service over HTTP.
//! Invariant: an embedder that cannot be used refuses texts, and nothing else of its collection.

use std::sync::Arc;

use super::{Inner, Store};
use crate::collection::request::{CollectionSpec, EmbedRequest, Embedder, EmbedderSource, ScoreRequest};
#[cfg(feature = "embedding")]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
#[cfg(feature = "provider")]
use crate::provider::{Provider, ProviderSpec};
use crate::text::SplitUnit;

/// Embeddings of the texts of a collection.
#[cfg_attr(not(all(feature = "embedding", feature = "provider")), allow(unused_variables))]
pub async fn embed(inner: Arc<Inner>, request: EmbedRequest) -> Result<Vec<Vec<f32>>> {
    let EmbedRequest { embedder, role, texts, dimension } = request;
    match &embedder.source {
        #[cfg(feature = "embedding")]
        EmbedderSource::Model(name) => {
            let store = inner.handle().ok_or_else(closed)?;
            store.embed_by_model(name, embedder.prefix(role), (Arc::new(texts), role)).await
        }
        #[cfg(not(feature = "embedding"))]
        EmbedderSource::Model(_) => Err(without_models()),
        #[cfg(feature = "provider")]
        EmbedderSource::Provider(spec) => {
            let prefix = embedder.prefix(role).unwrap_or_default();
            let texts = match prefix {
                "" => texts,
                _ => texts.into_iter().map(|text| format!("{prefix}{text}")).collect(),
            };
            inner.provider()?.embed(spec, dimension, &texts).await
        }
        EmbedderSource::Other(_) => Err(Error::invalid(
            "a newer Drumlin, or one with more Cargo features, made this collection's embedder, and this one cannot use it: \
             give embeddings, or use that program",
        )),
    }
}

/// Of each text, the byte behind each of its tokens, as the embedder's model cuts it.
pub async fn token_ends(inner: Arc<Inner>, request: EmbedRequest) -> Result<Vec<Vec<usize>>> {
    #[cfg(feature = "embedding")]
    if let Some(name) = request.embedder.model_name() {
        return inner.handle().ok_or_else(closed)?.token_ends_by_model(name, Arc::new(request.texts)).await;
    }
    let _ = (inner, request);
    Err(uncountable_tokens())
}

fn uncountable_tokens() -> Error {
    Error::invalid("chunk.by: expected \"sentences\", as only the tokens of a model in the bucket can be counted")
}

/// How well passages answer a query, by a cross-encoder of the bucket.
pub async fn score(inner: Arc<Inner>, request: ScoreRequest) -> Result<Vec<f32>> {
    let ScoreRequest { model, query, passages } = request;
    #[cfg(feature = "embedding")]
    return inner.handle().ok_or_else(closed)?.score_by_model(&model, query, passages).await;
    #[cfg(not(feature = "embedding"))]
    {
        let _ = (inner, model, query, passages);
        Err(without_models())
    }
}

#[cfg(feature = "embedding")]
fn closed() -> Error {
    Error::unavailable("the store is closed")
}

#[cfg(not(feature = "embedding"))]
fn without_models() -> Error {
    Error::invalid(
        "this build of Drumlin has no sentence models: give embeddings, or build it with the Cargo feature `embedding`",
    )
}

#[cfg(feature = "provider")]
impl Inner {
    /// What calls services. It is made at its first use, since it reads the roots of TLS.
    fn provider(&self) -> Result<&Provider> {
        if let Some(provider) = self.provider.get() {
            return Ok(provider);
        }
        let made = Provider::new(self.settings.provider.clone())?;
        Ok(self.provider.get_or_init(|| made))
    }
}

impl Store {
    /// Checks a new collection's embedder, and completes the collection's dimension by the embedder's.
    pub(super) async fn check_embedder(&self, spec: &mut CollectionSpec) -> Result<()> {
        let Some(embedder) = &spec.embedder else { return Ok(()) };
        embedder.check()?;
        if spec.dimension == Some(0) {
            return Err(Error::invalid("embedder: expected none beside dimension 0, where no record has an embedding"));
        }
        let Some(dimension) = self.dimension_of(embedder, spec.dimension.is_some()).await? else { return Ok(()) };
        let limit = self.inner.limits.dimension;
        if dimension > limit {
            let what =
                format!("embedder: expected at most {limit} dimensions (limits.dimension), its model has {dimension}");
            return Err(Error::limit(what).of_setting("limits.dimension"));
        }
        match spec.dimension.replace(dimension).filter(|given| *given != dimension) {
            None => Ok(()),
            Some(given) => Err(Error::invalid(format!(
                "dimension: expected {dimension}, that of the embedder's model, got {given}"
            ))),
        }
    }

    /// Checks how a new collection splits documents.
    pub(super) async fn check_splitting(&self, spec: &CollectionSpec) -> Result<()> {
        let Some(splitting) = &spec.splitting else { return Ok(()) };
        splitting.check()?;
        if spec.embedder.is_none() && spec.dimension != Some(0) {
            return Err(Error::invalid(
                "chunk: expected an embedder beside it, as every part has an embedding, or dimension 0",
            ));
        }
        let model = spec.embedder.as_ref().and_then(Embedder::model_name);
        match (&splitting.by, model) {
            (SplitUnit::Tokens, None) => Err(uncountable_tokens()),
            #[cfg(feature = "embedding")]
            (SplitUnit::Tokens, Some(name)) => self.check_part_tokens(name, splitting.size).await,
            _ => Ok(()),
        }
    }

    /// Refuses parts with more tokens than the model looks at.
    #[cfg(feature = "embedding")]
    async fn check_part_tokens(&self, name: &str, size: usize) -> Result<()> {
        /// Tokens around every text.
        const AROUND: usize = 2;
        let info = match self.models().get(name).await {
            Ok(info) => info,
            // A copy, or an optional embedder: the model may come later.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        match size + AROUND > info.max_tokens {
            false => Ok(()),
            true => Err(Error::invalid(format!(
                "chunk.size: expected at most {}, as model {name:?} looks at {} tokens of a text, got {size}",
                info.max_tokens.saturating_sub(AROUND),
                info.max_tokens
            ))),
        }
    }

    /// The dimension of an embedder's embeddings; `None` if it need not be known yet. Where the collection's is `stated`,
    /// as in a copy, the model may come later, and no service is asked.
    #[cfg_attr(not(any(feature = "embedding", feature = "provider")), allow(unused_variables))]
    async fn dimension_of(&self, embedder: &Embedder, stated: bool) -> Result<Option<usize>> {
        match &embedder.source {
            #[cfg(feature = "embedding")]
            EmbedderSource::Model(name) if !embedder.optional => match self.dimension_of_model(name).await {
                Err(error) if stated && error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    Err(Error::invalid(format!("embedder.model: {}", error.message())))
                }
                found => found.map(Some),
            },
            #[cfg(feature = "provider")]
            EmbedderSource::Provider(spec) if !stated => self.dimension_of_provider(spec, embedder.optional).await,
            _ => Ok(None),
        }
    }

    #[cfg(feature = "embedding")]
    async fn dimension_of_model(&self, name: &str) -> Result<usize> {
        let info = self.models().get(name).await?;
        match info.scores_pairs {
            true => Err(Error::invalid(format!(
                "embedder.model: {name:?} scores pairs of texts and makes no embeddings; expected a sentence model"
            ))),
            false => Ok(info.dimension),
        }
    }

    /// Asks the service for an embedding, so that a wrong key or name is known before there are records.
    #[cfg(feature = "provider")]
    async fn dimension_of_provider(&self, spec: &ProviderSpec, optional: bool) -> Result<Option<usize>> {
        let provider = self.inner.provider()?;
        provider.check(spec)?;
        if optional {
            return Ok(spec.dimensions);
        }
        let made = provider.embed(spec, None, &["a text to see the dimension".to_owned()]).await?;
        Ok(made.first().map(Vec::len))
    }
}
