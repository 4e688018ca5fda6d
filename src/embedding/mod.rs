//! Embedding: texts become vectors with a sentence model of the BERT family (MiniLM, BGE, E5, GTE). A model is bytes in
//! memory ([`ModelFiles`]); nothing is read from a disk and nothing is downloaded. `rten` computes graphs that
//! `graph.rs` writes, so a file from outside brings numbers and words, and no program.

mod batch;
mod config;
mod encoder;
mod files;
mod graph;
mod model;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod mutation_tests;
mod onnx_weights;
mod prompts;
mod protobuf;
mod reranking;
mod threads;
#[cfg(test)]
pub(crate) mod tiny_model;
#[cfg(test)]
mod tiny_onnx;
mod tokeniser;
mod tokenizer_file;
mod weights;

pub use config::Pooling;
pub use files::ModelFiles;
pub use model::Model;
