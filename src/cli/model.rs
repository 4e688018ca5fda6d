//! The commands `model add`, `model list` and `model remove`: sentence models in the bucket, which make embeddings of
//! texts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::place::StorePlace;
use super::restore;
use crate::models::{ModelInfo, folder_files, folder_name};
use crate::{Error, Result};

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Put a sentence model into the bucket: a folder with config.json, tokenizer.json and weights (ONNX or safetensors).
    Add(AddFlags),
    /// List the models in the bucket.
    List(ModelListFlags),
    /// Remove a model from the bucket.
    Remove(RemoveFlags),
}

/// Flags of `model add`.
#[derive(Debug, Args)]
pub struct AddFlags {
    #[command(flatten)]
    place: StorePlace,
    /// The model's folder, or one that has it somewhere inside, such as an unpacked wheel.
    folder: PathBuf,
    /// The model's name in the bucket; without it, the folder's.
    #[arg(long)]
    name: Option<String>,
}

/// Flags of `model list`.
#[derive(Debug, Args)]
pub struct ModelListFlags {
    #[command(flatten)]
    place: StorePlace,
    /// Print a line of JSON per model.
    #[arg(long)]
    json: bool,
}

/// Flags of `model remove`.
#[derive(Debug, Args)]
pub struct RemoveFlags {
    #[command(flatten)]
    place: StorePlace,
    /// The model's name in the bucket.
    name: String,
}

/// Runs a command of models.
pub fn run(command: &ModelCommand) -> Result<()> {
    match command {
        ModelCommand::Add(flags) => add(flags),
        ModelCommand::List(flags) => list(flags),
        ModelCommand::Remove(flags) => restore::on_store(&flags.place, async |store| {
            store.models().remove(&flags.name).await?;
            println!("removed model {}", flags.name);
            Ok(())
        }),
    }
}

fn add(flags: &AddFlags) -> Result<()> {
    let name = match &flags.name {
        Some(name) => name.clone(),
        None => folder_name(&flags.folder)?,
    };
    let files = folder_files(&flags.folder)?;
    restore::on_any_store(&flags.place, async |store| {
        let info = store.models().add(&name, files).await?;
        println!("added model {}", described(&info));
        match info.scores_pairs {
            true => println!("name it in a search: {{\"text\": \"…\", \"rerank\": {{\"model\": \"{name}\"}}}}"),
            false => {
                println!("create a collection with {{\"name\": \"notes\", \"embedder\": {{\"model\": \"{name}\"}}}}")
            }
        }
        Ok(())
    })
}

fn list(flags: &ModelListFlags) -> Result<()> {
    restore::on_store(&flags.place, async |store| {
        let models = store.models().list().await?;
        for info in &models {
            if flags.json {
                println!("{}", serde_json::to_string(info).map_err(|e| Error::internal("a model").with_source(e))?);
            } else {
                println!("{}", described(info));
            }
        }
        if models.is_empty() && !flags.json {
            println!("no models in {}; `drumlin model add FOLDER` puts one there", store.admin().place().location);
        }
        Ok(())
    })
}

fn described(info: &ModelInfo) -> String {
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    let makes = match info.scores_pairs {
        true => "scores pairs of texts".to_owned(),
        false => format!("{} dimensions", info.dimension),
    };
    let (stored, held) = (megabytes(info.stored_bytes), megabytes(info.memory_bytes));
    format!("{}: {makes}, {} tokens, {stored} MB in the bucket, {held} MB in memory", info.name, info.max_tokens)
}
