//! Every file of a model, changed by chance: it is used, or refused with a sentence. Nothing panics past the room.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::files::ModelFiles;
use super::model::Model;
use super::tiny_model::TinyModel;
use super::tiny_onnx::Quantised;
use crate::error::{Error, ErrorKind};
use crate::interrupt::Interrupt;

/// Of each file.
const MUTATIONS: u64 = if cfg!(debug_assertions) { 100 } else { 10_000 };

/// What a loaded model of the files may take: it grows with them, not with the sizes that they claim.
const MAX_LOADED_BYTES: u64 = 1 << 20;

fn files(weights_name: &'static str) -> Vec<(&'static str, Vec<u8>)> {
    let mut model = TinyModel::new(21);
    model.add_head();
    let step = |name: &str, path: &str| json!({"type": format!("sentence_transformers.models.{name}"), "path": path});
    let steps = json!([step("Transformer", ""), step("Pooling", "1_Pooling"), step("Normalize", "2_Normalize")]);
    let weights = match weights_name {
        "model.safetensors" => model.safetensors(),
        "model.onnx" => model.onnx(),
        _ => model.onnx_with(Some(Quantised::Dynamic)),
    };
    let prompts = json!({"prompts": {"query": "river ", "passage": "stone "}, "default_prompt_name": null});
    vec![
        (weights_name, weights),
        ("config.json", model.config.to_string().into_bytes()),
        ("tokenizer.json", model.tokenizer.to_string().into_bytes()),
        ("modules.json", steps.to_string().into_bytes()),
        ("1_Pooling/config.json", json!({"pooling_mode_mean_tokens": true}).to_string().into_bytes()),
        ("sentence_bert_config.json", json!({"max_seq_length": 32, "do_lower_case": false}).to_string().into_bytes()),
        ("config_sentence_transformers.json", prompts.to_string().into_bytes()),
    ]
}

/// One to three changes: cut, flipped, doubled or left out, a length or a number replaced.
fn mutated(mut bytes: Vec<u8>, random: &mut StdRng) -> Vec<u8> {
    const LENGTHS: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, u64::MAX / 2, u64::MAX];
    const NUMBERS: [&[u8]; 8] =
        [b"0", b"-1", b"1e308", b"4294967296", b"18446744073709551615", b"null", b"[]", b"\"x\""];
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..bytes.len().max(1)).min(bytes.len());
        let end = (at + random.random_range(1..64)).min(bytes.len());
        match random.random_range(0..6) {
            0 => bytes.truncate(at),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.random_range(0..8)),
            2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.random()),
            3 => drop(bytes.splice(at..end, [])),
            4 => bytes.extend_from_within(at..end),
            _ => {
                let length = LENGTHS[random.random_range(0..LENGTHS.len())].to_le_bytes();
                let is_digit = |byte: &u8| byte.is_ascii_digit();
                match bytes.iter().skip(at).position(is_digit).filter(|_| random.random()) {
                    Some(digit) => {
                        let start = at + digit;
                        let digits = bytes.iter().skip(start).take_while(|byte| is_digit(byte)).count();
                        bytes.splice(start..start + digits, NUMBERS[random.random_range(0..NUMBERS.len())].to_vec());
                    }
                    None => bytes.iter_mut().skip(at).zip(length).for_each(|(byte, new)| *byte = new),
                }
            }
        }
    }
    bytes
}

/// Everything that a model does, as far as the files allow.
fn use_all(files: Vec<(String, Bytes)>) -> Result<(), Error> {
    let files = ModelFiles::new(files)?;
    Model::memory_need(&files)?;
    let model = Model::load(&files)?;
    assert!(model.memory_bytes() < MAX_LOADED_BYTES, "{} bytes", model.memory_bytes());
    let (interrupt, text) = (Interrupt::never(), "river stones, 水 [SEP] \u{1f980}-a".repeat(9));
    model.token_ends(&text, &interrupt)?;
    let vectors = model.embed(&[&text, ""], &model.prompts().query, &interrupt)?;
    assert!(vectors.iter().flatten().all(|value| value.is_finite()));
    model.score(&[("river", &text)], &interrupt).map(drop)
}

fn assert_sentence(error: &Error, place: &str) {
    assert_eq!(error.kind(), ErrorKind::Invalid, "{place}: {error}");
    let message = error.message();
    assert!(message.split(' ').count() > 4 && message.len() < 2000, "{place}: {message}");
}

fn mutate_all(weights_name: &'static str, of: impl Fn(&str) -> bool) {
    let whole = files(weights_name);
    use_all(whole.iter().map(|(name, bytes)| ((*name).to_owned(), Bytes::from(bytes.clone()))).collect()).unwrap();
    for (changed, (name, bytes)) in whole.iter().enumerate().filter(|(_, (name, _))| of(name)) {
        for seed in 0..MUTATIONS {
            let mut random = StdRng::seed_from_u64(seed);
            let other = mutated(bytes.clone(), &mut random);
            let given = whole.iter().enumerate().map(|(at, (name, bytes))| {
                ((*name).to_owned(), Bytes::from(if at == changed { other.clone() } else { bytes.clone() }))
            });
            let given = given.collect();
            let outcome = catch_unwind(AssertUnwindSafe(|| use_all(given)));
            let place = format!("{name}, seed {seed}");
            match outcome {
                Ok(result) => result.err().iter().for_each(|error| assert_sentence(error, &place)),
                Err(_) => panic!("a panic came through: {place}"),
            }
        }
    }
}

#[test]
fn changed_json_is_used_or_refused_with_a_sentence() {
    mutate_all("model.safetensors", |name| name.ends_with(".json"));
}

#[test]
fn changed_weights_are_used_or_refused_with_a_sentence() {
    for name in ["model.safetensors", "model.onnx", "model_quantized.onnx"] {
        mutate_all(name, |changed| changed == name);
    }
}
