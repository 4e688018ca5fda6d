//! Models as a whole: their vectors against plain loops, and files that are not what they should be.

use safetensors::Dtype;
use serde_json::{Value, json};

use super::model::Model;
use super::prompts::Prompts;
use super::tiny_model::{HIDDEN, POSITIONS, TinyModel, gelu, gelu_tanh};
use super::tiny_onnx::Quantised;
use crate::error::{Error, ErrorKind};
use crate::interrupt::{Asker, Interrupt};

/// Texts, and the ids that they are in the tiny model's vocabulary.
const TEXTS: [(&str, &[usize]); 6] = [
    ("", &[2, 3]),
    ("River stones", &[2, 4, 5, 7, 3]),
    ("a greenhouse. 水水", &[2, 13, 9, 8, 11, 10, 10, 3]),
    ("light", &[2, 6, 3]),
    ("zebra \u{1f980} a-a", &[2, 1, 1, 13, 12, 13, 3]),
    ("[SEP] a", &[2, 3, 13, 3]),
];

fn embed(model: &TinyModel, texts: &[&str]) -> Vec<Vec<f32>> {
    Model::load(&model.files()).unwrap().embed(texts, "", &Interrupt::never()).unwrap()
}

fn refusal(model: &TinyModel) -> String {
    let error = Model::load(&model.files()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error.message().to_owned()
}

fn assert_close(vector: &[f32], expected: &[f64]) {
    assert_eq!(vector.len(), expected.len());
    for (value, expected) in vector.iter().zip(expected) {
        assert!((f64::from(*value) - expected).abs() < 2e-5, "{vector:?} is not {expected:?}");
    }
}

fn mean(rows: &[Vec<f64>]) -> Vec<f64> {
    (0..HIDDEN).map(|i| rows.iter().map(|row| row[i]).sum::<f64>() / rows.len() as f64).collect()
}

fn unit(vector: Vec<f64>) -> Vec<f64> {
    let length = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
    vector.into_iter().map(|v| v / length).collect()
}

fn steps(names: &[&str]) -> Value {
    let path = |name: &&str| if *name == "Transformer" { "" } else { "1_Pooling" };
    let step = |name: &&str| json!({"path": path(name), "type": format!("sentence_transformers.models.{name}")});
    Value::from(names.iter().map(step).collect::<Vec<Value>>())
}

#[test]
fn vectors_are_those_of_plain_loops() {
    let model = TinyModel::new(1);
    let vectors = embed(&model, &TEXTS.map(|(text, _)| text));
    for (vector, (_, ids)) in vectors.iter().zip(TEXTS) {
        assert_close(vector, &unit(mean(&model.rows(ids, &vec![0; ids.len()], 0, gelu))));
    }
}

#[test]
fn pooling_length_and_activation_are_as_the_files_say() {
    let mut model = TinyModel::new(2);
    model.config["hidden_act"] = json!("gelu_new");
    model.more.insert("modules.json", steps(&["Transformer", "Pooling"]));
    model
        .more
        .insert("1_Pooling/config.json", json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}));
    for (vector, (_, ids)) in embed(&model, &TEXTS.map(|(text, _)| text)).iter().zip(TEXTS) {
        assert_close(vector, &model.rows(ids, &vec![0; ids.len()], 0, gelu_tanh)[0]);
    }
    model.config["hidden_act"] = json!("relu");
    let expected = &model.rows(TEXTS[1].1, &[0; 5], 0, |x| x.max(0.0))[0];
    assert_close(&embed(&model, &[TEXTS[1].0])[0], expected);
}

#[test]
fn roberta_counts_positions_from_behind_the_padding() {
    let mut model = TinyModel::new(3);
    model.config["model_type"] = json!("xlm-roberta");
    model.config["pad_token_id"] = json!(1);
    let (text, ids) = TEXTS[2];
    assert_close(&embed(&model, &[text])[0], &unit(mean(&model.rows(ids, &[0; 8], 2, gelu))));
}

#[test]
fn weights_from_onnx_make_the_same_vectors() {
    let mut model = TinyModel::new(4);
    model.add_head();
    let texts = TEXTS.map(|(text, _)| text);
    let onnx = Model::load(&model.files_with("model.onnx", model.onnx())).unwrap();
    assert_eq!(onnx.embed(&texts, "", &Interrupt::never()).unwrap(), embed(&model, &texts));
    let pairs = [("river", "a stone")];
    let scores = Model::load(&model.files()).unwrap().score(&pairs, &Interrupt::never()).unwrap();
    assert_eq!(onnx.score(&pairs, &Interrupt::never()).unwrap(), scores);
}

#[test]
fn integers_in_onnx_make_almost_the_same_vectors() {
    let mut model = TinyModel::new(16);
    model.add_head();
    let texts = TEXTS.map(|(text, _)| text);
    let expected = embed(&model, &texts);
    for kind in [Quantised::Dynamic, Quantised::PerColumn, Quantised::PerRow, Quantised::Scaled] {
        let loaded = Model::load(&model.files_with("onnx/model_quantized.onnx", model.onnx_with(Some(kind)))).unwrap();
        let vectors = loaded.embed(&texts, "", &Interrupt::never()).unwrap();
        for (vector, expected) in vectors.iter().zip(&expected) {
            let cosine: f32 = vector.iter().zip(expected).map(|(a, b)| a * b).sum();
            assert!((0.999..0.999_999).contains(&cosine), "{kind:?} {cosine}");
        }
        let score = loaded.score(&[("river", "a stone")], &Interrupt::never()).unwrap()[0];
        assert!(score.is_finite());
        // 14 words of 16 numbers are held in a byte each, and a scale and a zero point beside.
        assert_eq!(loaded.memory_bytes(), Model::load(&model.files()).unwrap().memory_bytes() - 3 * 14 * 16 + 5);
    }
}

#[test]
fn weights_of_two_bytes_make_almost_the_same_vectors() {
    let model = TinyModel::new(17);
    let texts = TEXTS.map(|(text, _)| text);
    let expected = embed(&model, &texts);
    let f16 = model.safetensors_of(Dtype::F16, |value| half::f16::from_f32(value).to_le_bytes().to_vec());
    let bf16 = model.safetensors_of(Dtype::BF16, |value| half::bf16::from_f32(value).to_le_bytes().to_vec());
    for (weights, least) in [(f16, 0.999_99), (bf16, 0.999)] {
        let loaded = Model::load(&model.files_with("model.safetensors", weights)).unwrap();
        for (vector, expected) in loaded.embed(&texts, "", &Interrupt::never()).unwrap().iter().zip(&expected) {
            let cosine: f32 = vector.iter().zip(expected).map(|(a, b)| a * b).sum();
            assert!(cosine > least, "{cosine}");
        }
    }
}

#[test]
fn prompts_are_those_of_the_file() {
    let prompts = |file: Value| {
        let mut model = TinyModel::new(18);
        model.more.insert("config_sentence_transformers.json", file);
        Model::load(&model.files()).map(|model| model.prompts().clone()).map_err(|error| error.message().to_owned())
    };
    let found = |query: &str, passage: &str| Ok(Prompts { query: query.to_owned(), passage: passage.to_owned() });
    assert_eq!(prompts(json!({"__version__": {}})), found("", ""));
    assert_eq!(prompts(json!({"prompts": null, "default_prompt_name": null})), found("", ""));
    assert_eq!(prompts(json!({"prompts": {"query": "q: ", "passage": "p: "}})), found("q: ", "p: "));
    assert_eq!(prompts(json!({"prompts": {"query": "q: ", "document": ""}})), found("q: ", ""));
    let named = json!({"prompts": {"query": "q: ", "passage": "p: ", "document": "d: "}});
    assert_eq!(prompts(named), found("q: ", "d: "));
    let default = json!({"prompts": {"query": "q: ", "retrieval": "r: "}, "default_prompt_name": "retrieval"});
    assert_eq!(prompts(default), found("q: ", "r: "));
    let long = prompts(json!({"prompts": {"query": "q".repeat(5000)}})).unwrap_err();
    assert!(long.contains("a prompt \"query\" of 5000 bytes; expected at most 2048"), "{long}");
    assert!(prompts(json!({"prompts": 7})).unwrap_err().contains("config_sentence_transformers.json is not what"));
}

#[test]
fn prompts_that_are_not_pooled_are_refused() {
    let mut model = TinyModel::new(19);
    model.more.insert("1_Pooling/config.json", json!({"pooling_mode_mean_tokens": true, "include_prompt": false}));
    assert!(Model::load(&model.files()).is_ok());
    model.more.insert("config_sentence_transformers.json", json!({"prompts": {"query": "q: "}}));
    assert!(refusal(&model).contains("include_prompt false"));
}

#[test]
fn calls_at_once_make_the_vectors_of_calls_one_after_the_other() {
    let model = Model::load(&TinyModel::new(20).files()).unwrap();
    let texts = TEXTS.map(|(text, _)| text);
    let expected = model.embed(&texts, "", &Interrupt::never()).unwrap();
    std::thread::scope(|scope| {
        let one = || (0..50).map(|_| model.embed(&texts, "", &Interrupt::never()).unwrap()).collect::<Vec<_>>();
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        for caller in callers {
            assert!(caller.join().unwrap().iter().all(|vectors| vectors == &expected));
        }
    });
}

#[test]
fn a_prefix_stands_before_each_text() {
    let model = Model::load(&TinyModel::new(5).files()).unwrap();
    let with = model.embed(&["stone", ""], "river ", &Interrupt::never()).unwrap();
    assert_eq!(with, model.embed(&["river stone", "river "], "", &Interrupt::never()).unwrap());
}

#[test]
fn a_cross_encoder_scores_pairs() {
    let mut model = TinyModel::new(6);
    assert!(Model::load(&model.files()).unwrap().score(&[("a", "a")], &Interrupt::never()).is_err());
    model.add_head();
    let loaded = Model::load(&model.files()).unwrap();
    let scores = loaded.score(&[("river", "a stone"), ("", "")], &Interrupt::never()).unwrap();
    let pairs: [(&[usize], &[usize]); 2] = [(&[2, 4, 3, 13, 5, 3], &[0, 0, 0, 1, 1, 1]), (&[2, 3, 3], &[0, 0, 1])];
    for (score, (ids, types)) in scores.iter().zip(pairs) {
        let expected = model.logit(&model.rows(ids, types, 0, gelu)[0]);
        assert!((f64::from(*score) - expected).abs() < 1e-5, "{score} {expected}");
    }
}

#[test]
fn long_texts_are_cut_where_the_model_ends() {
    let model = TinyModel::new(7);
    let loaded = Model::load(&model.files()).unwrap();
    assert_eq!(loaded.max_tokens(), POSITIONS);
    // A page of unknown words without a space, words with spaces, and one word of a megabyte: as they are cut, or not.
    let ids: Vec<usize> = [2].into_iter().chain([4; POSITIONS - 2]).chain([3]).collect();
    let vectors = loaded.embed(&[&"river ".repeat(170_000), &"x".repeat(1_000_000)], "", &Interrupt::never()).unwrap();
    assert_close(&vectors[0], &unit(mean(&model.rows(&ids, &[0; POSITIONS], 0, gelu))));
    assert_close(&vectors[1], &unit(mean(&model.rows(&[2, 1, 3], &[0; 3], 0, gelu))));
    let mut short = model;
    short.more.insert("sentence_bert_config.json", json!({"max_seq_length": 8, "do_lower_case": false}));
    let ids = [2, 4, 4, 4, 4, 4, 4, 3];
    assert_close(&embed(&short, &[&"river ".repeat(9)])[0], &unit(mean(&short.rows(&ids, &[0; 8], 0, gelu))));
}

#[test]
fn ends_of_tokens_cover_a_text_of_any_length() {
    let model = Model::load(&TinyModel::new(8).files()).unwrap();
    let ends = model.token_ends("rivers, 水 a", &Interrupt::never()).unwrap();
    assert_eq!(ends, [5, 6, 7, 11, 13]);
    assert_eq!(model.token_ends("", &Interrupt::never()).unwrap(), Vec::<usize>::new());
    let long = "river stones ".repeat(20_000);
    let ends = model.token_ends(&long, &Interrupt::never()).unwrap();
    let expected: Vec<usize> = (0..20_000).flat_map(|at| [at * 13 + 5, at * 13 + 11, at * 13 + 12]).collect();
    assert_eq!(ends, expected);
    let one_word = "x".repeat(300_000);
    // No word is as long: it is counted in pieces of the largest window.
    assert_eq!(model.token_ends(&one_word, &Interrupt::never()).unwrap(), [65_536, 131_072, 196_608, 262_144, 300_000]);
}

#[test]
fn work_that_nobody_waits_for_is_given_up() {
    let model = Model::load(&TinyModel::new(9).files()).unwrap();
    let asker = Asker::default();
    let interrupt = Interrupt::new(asker.gone(), || {});
    drop(asker);
    let kinds = [
        model.embed(&["a"], "", &interrupt).map(drop).unwrap_err().kind(),
        model.token_ends("a", &interrupt).map(drop).unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Unavailable; 2]);
}

#[test]
fn what_a_model_needs_is_known_before_it_is_loaded() {
    let files = TinyModel::new(10).files();
    let (need, model) = (Model::memory_need(&files).unwrap(), Model::load(&files).unwrap());
    assert_eq!(need.loaded_bytes, model.memory_bytes());
    assert!(need.loading_bytes > need.loaded_bytes);
}

#[test]
fn files_cut_anywhere_are_refused() {
    let model = TinyModel::new(11);
    for (name, whole) in [("model.safetensors", model.safetensors()), ("model.onnx", model.onnx())] {
        for cut in (0..whole.len()).step_by(whole.len() / 97) {
            let error = Model::load(&model.files_with(name, whole[..cut].to_vec())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{name} {cut}: {error}");
        }
    }
}

#[test]
fn damaged_bytes_are_loaded_or_refused_and_never_more() {
    let model = TinyModel::new(12);
    for (name, whole) in [("model.safetensors", model.safetensors()), ("model.onnx", model.onnx())] {
        for at in (0..whole.len()).step_by(whole.len() / 61) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            match Model::load(&model.files_with(name, damaged)) {
                Ok(model) => drop(model.embed(&["river"], "", &Interrupt::never()).map_err(invalid)),
                Err(error) => invalid(error),
            }
        }
    }
}

fn invalid(error: Error) {
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[test]
fn sizes_that_do_not_fit_are_refused_before_they_are_taken() {
    let changes = [
        ("hidden_size", json!(4_000_000_000u64), "hidden_size 4000000000; expected between 1 and 8192"),
        ("hidden_size", json!(8192), "bytes, but config.json describes a model of at least"),
        ("hidden_size", json!(18), "expected a multiple"),
        ("num_hidden_layers", json!(90), "bytes, but config.json describes a model of at least"),
        ("num_hidden_layers", json!(3), "no \"encoder.layer.2.attention.self.query.weight\""),
        ("num_hidden_layers", json!(0), "num_hidden_layers 0"),
        ("vocab_size", json!(15), "have the shape [14, 16], but config.json makes it [15, 16]"),
        ("hidden_size", json!(-1), "config.json is not what a model's is"),
        ("layer_norm_eps", json!(0.0), "layer_norm_eps 0"),
        ("hidden_act", json!("swish"), "hidden_act \"swish\""),
        ("model_type", json!("gpt2"), "model_type \"gpt2\""),
        ("position_embedding_type", json!("relative_key"), "position_embedding_type \"relative_key\""),
        ("max_position_embeddings", json!(4), "max_position_embeddings 4"),
    ];
    for (name, value, expected) in changes {
        let mut model = TinyModel::new(13);
        model.config[name] = value;
        let message = refusal(&model);
        assert!(message.contains(expected), "{name}: {message}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let mut model = TinyModel::new(14);
    model.weights.get_mut("encoder.layer.1.output.dense.bias").unwrap().1[3] = f32::NAN;
    let loaded = Model::load(&model.files()).unwrap();
    let error = loaded.embed(&["a"], "", &Interrupt::never()).unwrap_err();
    assert!(error.message().contains("not finite"), "{error}");
}

#[test]
fn tokenisers_that_would_run_away_are_refused() {
    let replace = |from: Value, to: &str| json!({"type": "Replace", "pattern": from, "content": to});
    let added = json!([{"id": 0, "content": "", "special": true}]);
    let long_template = vec![json!({"Sequence": {"id": "A", "type_id": 0}}); 1000];
    let changes = [
        ("/normalizer", replace(json!({"String": "a"}), "aaaaaaaa"), "normalizer"),
        ("/normalizer", replace(json!({"Regex": "(a+)+$"}), "a"), "normalizer"),
        ("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "normalizer"),
        ("/pre_tokenizer", json!({"type": "Split", "pattern": {"Regex": "(a+)+$"}}), "pre_tokenizer"),
        ("/post_processor/single", Value::from(long_template), "post_processor"),
        ("/model/max_input_chars_per_word", json!(1_000_000), "max_input_chars_per_word 1000000; expected at most 256"),
        ("/model/type", json!("BPE"), "model type \"BPE\""),
        ("/model/vocab", json!(7), "tokenizer.json"),
        ("/added_tokens", added, "added token"),
        ("/post_processor/special_tokens/[CLS]/ids", json!([99]), "made the token 99, but the encoder has 14"),
        ("/post_processor/single/0/SpecialToken/type_id", json!(5), "made the token type 5, but the encoder has 2"),
        ("/post_processor/single/0/SpecialToken/id", json!("[BOS]"), "post_processor"),
    ];
    for (place, value, expected) in changes {
        let mut model = TinyModel::new(15);
        *model.tokenizer.pointer_mut(place).unwrap() = value;
        let message = match Model::load(&model.files()) {
            Err(error) => error.message().to_owned(),
            Ok(model) => panic!("{place} was loaded: {model:?}"),
        };
        assert!(message.contains(expected), "{place}: {message}");
    }
}

#[test]
fn a_text_without_spaces_costs_no_more_than_its_beginning() {
    let model = Model::load(&TinyModel::new(3).files()).unwrap();
    let never = Interrupt::never();
    for part in ["a", " ", "水", "stone"] {
        let long = part.repeat((8 << 20) / part.len());
        let begun = std::time::Instant::now();
        let vector = model.embed(&[&long], "", &never).unwrap();
        assert_eq!(vector, model.embed(&[&long[..part.len() * 40_000]], "", &never).unwrap(), "{part:?}");
        assert!(begun.elapsed().as_secs() < 20, "{part:?}");
    }
    let ends = model.token_ends(&"水".repeat(100_000), &never).unwrap();
    assert_eq!((ends.len(), ends.last()), (100_000, Some(&300_000)));
}
