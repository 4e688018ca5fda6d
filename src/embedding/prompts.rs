//! What a model wants to stand before a text (`config_sentence_transformers.json`), so that queries and passages that
//! belong together come to lie together. Invariant: a prompt is as short as a sentence, since every text pays for it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::config::parse;
use super::files::ModelFiles;
use crate::error::{Error, Result};

const FILE: &str = "config_sentence_transformers.json";

/// The longest prompt. Instructions of the longest kind have some 200 bytes.
const MAX_PROMPT_BYTES: usize = 2048;

/// What is to stand before each text: empty for most models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompts {
    /// Before what is searched for: `"query: "` with E5.
    pub query: String,
    /// Before what is found: `"passage: "` with E5.
    pub passage: String,
}

#[derive(Deserialize)]
struct RawPrompts {
    #[serde(default)]
    prompts: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    default_prompt_name: Option<String>,
}

impl Prompts {
    pub(crate) fn read(files: &ModelFiles) -> Result<Prompts> {
        let Some(bytes) = files.json(FILE)? else { return Ok(Prompts::default()) };
        let raw: RawPrompts = parse(FILE, bytes)?;
        let prompts = raw.prompts.unwrap_or_default();
        // As sentence-transformers chooses: the first of these names, else the default one.
        let of = |names: &[&str]| {
            let names = names.iter().copied().chain(raw.default_prompt_name.as_deref());
            let mut found = names.filter_map(|name| Some((name, prompts.get(name)?.as_deref()?)));
            found.next().map_or(Ok(String::new()), |(name, prompt)| short(name, prompt))
        };
        Ok(Prompts { query: of(&["query"])?, passage: of(&["document", "passage", "corpus"])? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.query.is_empty() && self.passage.is_empty()
    }
}

fn short(name: &str, prompt: &str) -> Result<String> {
    if prompt.len() <= MAX_PROMPT_BYTES {
        return Ok(prompt.to_owned());
    }
    Err(Error::invalid(format!(
        "{FILE} has a prompt {name:?} of {} bytes; expected at most {MAX_PROMPT_BYTES}",
        prompt.len()
    )))
}
