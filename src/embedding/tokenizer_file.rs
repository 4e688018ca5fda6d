//! `tokenizer.json` from outside, before it is believed: only parts whose work is linear in the text and whose output
//! is about as long as it are let through, and what the file says of truncation and padding is taken out: the model
//! says that elsewhere. Invariant: no text of n bytes makes more than a small multiple of n bytes in what passes here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::error::{Error, Result};

/// Longer words are unknown as a whole; WordPiece's time grows with the square of it.
const MAX_WORD_CHARS: u64 = 256;

/// The longest entry of a vocabulary. Those of XLM-RoBERTa have up to 48 bytes.
const MAX_ENTRY_BYTES: usize = 256;

const MAX_ADDED_TOKENS: usize = 10_000;

/// What may stand around a text: `[CLS] $A [SEP] $B [SEP]` has five.
const MAX_TEMPLATE_PIECES: usize = 16;

/// The longest text that one character may be replaced with. NFKC's longest has 33 bytes.
const MAX_REPLACEMENT_BYTES: usize = 64;

/// The file as JSON for the library, checked.
pub(crate) fn checked(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut file: Value = serde_json::from_slice(bytes).map_err(|cause| {
        Error::invalid(format!("tokenizer.json is not JSON: {cause}; was it copied whole?")).with_source(cause)
    })?;
    let object = file.as_object_mut().ok_or_else(|| Error::invalid("tokenizer.json is not a JSON object"))?;
    object.insert("truncation".to_owned(), Value::Null);
    object.insert("padding".to_owned(), Value::Null);
    check_model(&file["model"])?;
    check_added_tokens(&file["added_tokens"])?;
    check_normaliser(&file["normalizer"])?;
    check_pre_tokenizer(&file["pre_tokenizer"])?;
    check_post_processor(&file["post_processor"])?;
    serde_json::to_vec(&file).map_err(|cause| Error::internal(format!("tokenizer.json cannot be written: {cause}")))
}

fn refused(part: &str, found: &Value, expected: &str) -> Error {
    let mut found = found.to_string();
    if let Some((cut, _)) = found.char_indices().nth(120) {
        found.truncate(cut);
        found.push('…');
    }
    Error::invalid(format!("tokenizer.json has the {part} {found}; expected {expected}"))
}

/// The parts of a sequence, or the part itself, or none.
fn parts<'a>(part: &'a Value, list: &str) -> Vec<&'a Value> {
    match part {
        Value::Null => vec![],
        _ if part["type"] == "Sequence" => part[list].as_array().into_iter().flatten().collect(),
        _ => vec![part],
    }
}

fn check_model(model: &Value) -> Result<()> {
    // Files from before 2020 do not name the type: those were WordPiece or BPE.
    let wordpiece = model["type"] == "WordPiece" || (model["type"].is_null() && model["merges"].is_null());
    if wordpiece {
        let chars = &model["max_input_chars_per_word"];
        if !chars.is_null() && chars.as_u64().is_none_or(|chars| chars > MAX_WORD_CHARS) {
            return Err(refused("max_input_chars_per_word", chars, &format!("at most {MAX_WORD_CHARS}")));
        }
        return Ok(());
    }
    if model["type"] != "Unigram" {
        return Err(refused("model type", &model["type"], "\"WordPiece\" or \"Unigram\""));
    }
    let entries = model["vocab"].as_array().into_iter().flatten();
    match entries.map(|entry| &entry[0]).find(|entry| entry.as_str().is_none_or(|text| text.len() > MAX_ENTRY_BYTES)) {
        Some(entry) => Err(refused("vocabulary entry", entry, &format!("at most {MAX_ENTRY_BYTES} bytes"))),
        None => Ok(()),
    }
}

fn check_added_tokens(tokens: &Value) -> Result<()> {
    let tokens = tokens.as_array().map(Vec::as_slice).unwrap_or_default();
    if tokens.len() > MAX_ADDED_TOKENS {
        let expected = format!("at most {MAX_ADDED_TOKENS}");
        return Err(refused("number of added tokens", &Value::from(tokens.len()), &expected));
    }
    let usual = |token: &&Value| {
        token["content"].as_str().is_some_and(|content| (1..=MAX_ENTRY_BYTES).contains(&content.len()))
    };
    match tokens.iter().find(|token| !usual(token)) {
        Some(token) => Err(refused("added token", token, &format!("content of 1 to {MAX_ENTRY_BYTES} bytes"))),
        None => Ok(()),
    }
}

fn check_normaliser(normaliser: &Value) -> Result<()> {
    for part in parts(normaliser, "normalizers") {
        let usual = match part["type"].as_str().unwrap_or_default() {
            "BertNormalizer" | "NFC" | "NFD" | "NFKC" | "NFKD" | "Nmt" | "Lowercase" | "Strip" | "StripAccents" => true,
            "Replace" => replaces_with_less(part),
            "Precompiled" => replaces_with_little(part),
            _ => false,
        };
        if !usual {
            return Err(refused("normalizer", part, "those of BERT and XLM-RoBERTa"));
        }
    }
    Ok(())
}

/// Whether a `Replace` makes no text longer, and its pattern is one that needs no backtracking.
fn replaces_with_less(part: &Value) -> bool {
    let Some(content) = part["content"].as_str() else { return false };
    let pattern = &part["pattern"];
    match (pattern["String"].as_str(), pattern["Regex"].as_str()) {
        (Some(text), None) => !text.is_empty() && content.chars().count() <= text.chars().count(),
        (None, Some(" {2,}")) => content.chars().count() <= 1,
        _ => false,
    }
}

/// Whether a `Precompiled` map of SentencePiece has no long replacements. Its layout: the length of a trie in bytes
/// (u32), the trie, and behind it the replacements, each ended by a NUL.
fn replaces_with_little(part: &Value) -> bool {
    let map = part["precompiled_charsmap"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let replacements = map.as_deref().and_then(|map| {
        let (length, rest) = map.split_first_chunk()?;
        rest.get(u32::from_le_bytes(*length) as usize..)
    });
    replacements.is_some_and(|texts| texts.split(|byte| *byte == 0).all(|text| text.len() <= MAX_REPLACEMENT_BYTES))
}

fn check_pre_tokenizer(pre_tokenizer: &Value) -> Result<()> {
    const USUAL: [&str; 6] =
        ["BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits", "Metaspace"];
    let usual = |part: &&Value| part["type"].as_str().is_some_and(|name| USUAL.contains(&name));
    match parts(pre_tokenizer, "pretokenizers").into_iter().find(|part| !usual(part)) {
        Some(part) => Err(refused("pre_tokenizer", part, "those of BERT and XLM-RoBERTa")),
        None => Ok(()),
    }
}

fn check_post_processor(post_processor: &Value) -> Result<()> {
    for part in parts(post_processor, "processors") {
        let usual = match part["type"].as_str().unwrap_or_default() {
            "BertProcessing" | "RobertaProcessing" => true,
            "TemplateProcessing" => {
                ["single", "pair"].iter().all(|name| is_usual(&part[*name], &part["special_tokens"]))
                    && has_short_tokens(part)
            }
            _ => false,
        };
        if !usual {
            return Err(refused("post_processor", part, "those of BERT and XLM-RoBERTa"));
        }
    }
    Ok(())
}

/// Whether there are few pieces, and each special token among them is one that the template knows.
fn is_usual(pieces: &Value, special_tokens: &Value) -> bool {
    let known = |piece: &Value| match piece["SpecialToken"]["id"].as_str() {
        Some(id) => special_tokens.get(id).is_some(),
        None => piece["SpecialToken"].is_null(),
    };
    is_short(pieces) && pieces.as_array().into_iter().flatten().all(known)
}

fn is_short(list: &Value) -> bool {
    list.as_array().is_some_and(|list| list.len() <= MAX_TEMPLATE_PIECES)
}

fn has_short_tokens(template: &Value) -> bool {
    template["special_tokens"].as_object().is_none_or(|tokens| tokens.values().all(|token| is_short(&token["ids"])))
}
