//! The models of the bucket in memory: loaded when they are first needed, counted in the memory budget, and let go when
//! idle.
//! Invariant: a model is in memory once, whoever uses it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use uuid::Uuid;

use super::models::Models;
use super::{Inner, Store};
use crate::collection::estimate::LoadSize;
use crate::collection::request::TextRole;
use crate::compute::off_thread;
use crate::embedding::Model;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::memory::{Account, Purpose, Reservation};
use crate::record::CollectionId;

/// A model without use for this long leaves memory.
const IDLE: Duration = Duration::from_secs(600);
/// Where memory is short, a model that nobody uses leaves after this time.
const IDLE_WHERE_SHORT: Duration = Duration::from_secs(5);
/// Texts that one thread embeds before it turns to other requests, and their bytes.
const GROUP_TEXTS: usize = 32;
const GROUP_BYTES: usize = 32 << 10;
/// Pairs of texts that one thread compares before it turns to other requests.
const GROUP_PAIRS: usize = 8;
/// Queries up to this number are computed like searches, and not at the low priority of documents.
const FEW_QUERIES: usize = 8;

/// The models that are in memory, or being loaded.
#[derive(Debug, Default)]
pub struct LoadedModels {
    slots: Mutex<HashMap<String, Arc<ModelSlot>>>,
}

#[derive(Debug, Default)]
struct ModelSlot {
    loaded: Mutex<Option<Arc<LoadedModel>>>,
    /// Held while the model is loaded, so that it is loaded once.
    loading: tokio::sync::Mutex<()>,
}

/// A model in memory.
#[derive(Debug)]
pub struct LoadedModel {
    /// The model.
    pub model: Model,
    /// Of its description in the bucket.
    sha256: String,
    used: Mutex<Instant>,
    _account: Account,
}

impl LoadedModels {
    fn slot(&self, name: &str) -> Arc<ModelSlot> {
        self.slots.lock().entry(name.to_owned()).or_default().clone()
    }

    /// Lets go of the models that nobody has used for this long. Returns whether there were any.
    fn let_go(&self, idle: Duration) -> bool {
        let mut left = Vec::new();
        self.slots.lock().retain(|_, slot| {
            let mut loaded = slot.loaded.lock();
            if loaded.as_ref().is_some_and(|model| model.is_idle(idle)) {
                left.extend(loaded.take());
            }
            // Whoever is about to load it holds the slot as well.
            loaded.is_some() || Arc::strong_count(slot) > 1
        });
        // What was let go is freed here, without the lock.
        !left.is_empty()
    }
}

impl LoadedModel {
    fn is_idle(self: &Arc<Self>, idle: Duration) -> bool {
        Arc::strong_count(self) == 1 && self.used.lock().elapsed() >= idle
    }
}

impl Inner {
    /// Lets go of models that nobody has used for some time.
    pub(super) fn let_idle_models_go(&self) {
        self.loaded_models.let_go(IDLE);
    }

    /// Lets go of models that nobody uses now; false if there is none.
    pub(super) fn let_models_go(&self) -> bool {
        self.loaded_models.let_go(IDLE_WHERE_SHORT)
    }

    pub(super) async fn room_for_model(self: &Arc<Self>, name: &str, need: u64) -> Result<Option<Reservation>> {
        let budget = &self.instance.budget;
        if budget.limit_bytes().is_none() {
            return Ok(None);
        }
        let (size, nobody) = (LoadSize { need, least: need }, CollectionId(Uuid::nil()));
        let room = self.make_room(size, Purpose::Work, nobody, self.settings.timing.room_patience).await;
        room.map(Some).ok_or_else(|| budget.refusal(&format!("model {name:?}"), need, Purpose::Work))
    }
}

impl Store {
    /// The model of that name, in memory from now on.
    ///
    /// # Errors
    /// `NotFound` if the bucket has none of that name; `NoRoom` if there is no memory for it; `Invalid` if it is
    /// damaged.
    pub(crate) async fn loaded_model(&self, name: &str) -> Result<Arc<LoadedModel>> {
        let models = self.models();
        let sha256 = models.revision(name).await?;
        let slot = self.inner.loaded_models.slot(name);
        let ready = || slot.loaded.lock().clone().filter(|loaded| loaded.sha256 == sha256);
        let loaded = match ready() {
            Some(loaded) => loaded,
            None => {
                let _turn = slot.loading.lock().await;
                match ready() {
                    Some(loaded) => loaded,
                    None => {
                        let loaded = Arc::new(self.load_model(&models, name, sha256.clone()).await?);
                        *slot.loaded.lock() = Some(loaded.clone());
                        loaded
                    }
                }
            }
        };
        *loaded.used.lock() = Instant::now();
        Ok(loaded)
    }

    async fn load_model(&self, models: &Models, name: &str, sha256: String) -> Result<LoadedModel> {
        let begun = Instant::now();
        let stored = models.stored(name).await?;
        let room = self.inner.room_for_model(name, stored.loading_bytes()).await?;
        let files = models.files(name, &stored).await?;
        // By the files themselves: what the description says of them was only a promise.
        let need = Model::memory_need(&files)?.loading_bytes.saturating_sub(stored.loading_bytes());
        let more = if need > 0 { self.inner.room_for_model(name, need).await? } else { None };
        let model = off_thread(move || Model::load(&files)).await?.map_err(|error| {
            Error::invalid(format!("model {name:?} in the bucket: {}", error.message())).with_source(error)
        })?;
        let mut account = self.inner.instance.budget.account();
        account.set(model.memory_bytes(), 0);
        drop((room, more));
        tracing::info!(model = name, ms = begun.elapsed().as_millis() as u64, "a model is loaded");
        Ok(LoadedModel { model, sha256, used: Mutex::new(Instant::now()), _account: account })
    }

    /// How well passages answer a query, by a cross-encoder of the bucket.
    pub(super) async fn score_by_model(&self, name: &str, query: String, passages: Vec<String>) -> Result<Vec<f32>> {
        let loaded = self.loaded_model(name).await?;
        let count = passages.len().div_ceil(GROUP_PAIRS);
        let score = move |group: usize, interrupt: &Interrupt| {
            let passages = passages.iter().skip(group * GROUP_PAIRS).take(GROUP_PAIRS);
            let pairs: Vec<(&str, &str)> = passages.map(|passage| (query.as_str(), passage.as_str())).collect();
            *loaded.used.lock() = Instant::now();
            loaded.model.score(&pairs, interrupt)
        };
        let scores = self.inner.compute.later_batch(count, score).await?;
        Ok(scores.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Of each text, the byte behind each of its tokens.
    pub(super) async fn token_ends_by_model(&self, name: &str, texts: Arc<Vec<String>>) -> Result<Vec<Vec<usize>>> {
        let (loaded, count) = (self.loaded_model(name).await?, texts.len());
        let ends = move |i: usize, interrupt: &Interrupt| {
            *loaded.used.lock() = Instant::now();
            loaded.model.token_ends(texts.get(i).map_or("", String::as_str), interrupt)
        };
        self.inner.compute.later_batch(count, ends).await?.into_iter().collect()
    }

    /// Embeddings of texts by a model of the bucket.
    pub(crate) async fn embed_by_model(
        &self,
        name: &str,
        prefix: Option<&str>,
        (texts, role): (Arc<Vec<String>>, TextRole),
    ) -> Result<Vec<Vec<f32>>> {
        let loaded = self.loaded_model(name).await?;
        if loaded.model.scores_pairs() {
            return Err(Error::invalid(format!(
                "model {name:?} scores pairs of texts and makes no embeddings; expected a sentence model"
            )));
        }
        let prefix = prefix.map_or_else(|| loaded.prefix(role), str::to_owned);
        let compute = &self.inner.compute;
        let bytes: usize = texts.iter().map(String::len).sum();
        if role == TextRole::Query && texts.len() <= FEW_QUERIES && bytes <= GROUP_BYTES {
            return compute.search(move |interrupt| loaded.embed(&texts, &prefix, interrupt)).await?;
        }
        let groups = groups(&texts);
        let (order, count): (Vec<usize>, usize) = (groups.iter().flatten().copied().collect(), groups.len());
        let embed = move |group: usize, interrupt: &Interrupt| {
            let group: Vec<&str> =
                groups.get(group).into_iter().flatten().filter_map(|i| Some(texts.get(*i)?.as_str())).collect();
            loaded.embed(&group, &prefix, interrupt)
        };
        let made = compute.later_batch(count, embed).await?.into_iter().collect::<Result<Vec<_>>>()?;
        let mut made: Vec<(usize, Vec<f32>)> = order.into_iter().zip(made.into_iter().flatten()).collect();
        made.sort_unstable_by_key(|(i, _)| *i);
        Ok(made.into_iter().map(|(_, embedding)| embedding).collect())
    }
}

impl LoadedModel {
    fn prefix(&self, role: TextRole) -> String {
        let prompts = self.model.prompts();
        match role {
            TextRole::Query => prompts.query.clone(),
            TextRole::Passage => prompts.passage.clone(),
        }
    }

    fn embed<T: AsRef<str>>(&self, texts: &[T], prefix: &str, interrupt: &Interrupt) -> Result<Vec<Vec<f32>>> {
        *self.used.lock() = Instant::now();
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        self.model.embed(&texts, prefix, interrupt)
    }
}

impl Store {
    /// How many tokens texts have for a model, whether or not it looks at all of them.
    #[cfg(feature = "server")]
    pub(crate) async fn count_tokens(&self, name: &str, texts: Arc<Vec<String>>) -> Result<usize> {
        let loaded = self.loaded_model(name).await?;
        let count = move |interrupt: &Interrupt| {
            let tokens = texts.iter().map(|text| loaded.model.token_ends(text, interrupt).map(|ends| ends.len()));
            tokens.sum::<Result<usize>>()
        };
        self.inner.compute.search(count).await?
    }
}

/// The texts in groups of about equal length, so that little is padded. Each group is embedded at once.
fn groups(texts: &[String]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    let length = |i: &usize| texts.get(*i).map_or(0, String::len);
    order.sort_by_key(length);
    let (mut groups, mut bytes): (Vec<Vec<usize>>, usize) = (Vec::new(), 0);
    for i in order {
        bytes += length(&i);
        match groups.last_mut() {
            Some(group) if group.len() < GROUP_TEXTS && bytes <= GROUP_BYTES => group.push(i),
            _ => {
                groups.push(vec![i]);
                bytes = length(&i);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_every_text_once_beside_texts_of_its_length() {
        let texts: Vec<String> = (0..200).map(|i| "x".repeat((i * 37) % 3000)).collect();
        let groups = groups(&texts);
        let mut all: Vec<usize> = groups.iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..200).collect::<Vec<_>>());
        let longest = |group: &Vec<usize>| group.iter().map(|i| texts[*i].len()).max();
        assert!(groups.windows(2).all(|pair| longest(&pair[0]) <= longest(&pair[1])));
        assert!(groups.iter().all(|group| group.len() <= GROUP_TEXTS));
        assert_eq!(super::groups(&[]), Vec::<Vec<usize>>::new());
    }
}
