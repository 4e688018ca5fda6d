//! Tests of schemas: defaults are filled in, faults are named, filters on what is switched off are refused.

use serde_json::json;

use super::*;
use crate::collection::request::IndexSettings;

fn given(schema: Value) -> Schema {
    serde_json::from_value(schema).unwrap()
}

fn of(schema: Value) -> Result<Schema, String> {
    Schema::of(Some(given(schema)), &RequestedConfiguration::default()).map_err(|e| format!("{e:?}"))
}

fn shown(schema: &Schema) -> Value {
    serde_json::to_value(schema).unwrap()
}

#[test]
fn the_default_is_chromas_own() {
    let plain = |enabled: bool| json!({"enabled": enabled, "config": {}});
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let hnsw = json!({
        "ef_construction": 100, "max_neighbors": 16, "ef_search": 100, "num_threads": threads, "batch_size": 100,
        "sync_threshold": 1000, "resize_factor": 1.2,
    });
    let sparse = json!({"enabled": false, "config": {"embedding_function": {"type": "unknown"}, "bm25": false}});
    let expected = json!({
        "defaults": {
            "string": {"fts_index": plain(false), "string_inverted_index": plain(true)},
            "float_list": {"vector_index": {"enabled": false, "config": {"space": "l2", "hnsw": hnsw}}},
            "sparse_vector": {"sparse_vector_index": sparse},
            "int": {"int_inverted_index": plain(true)},
            "float": {"float_inverted_index": plain(true)},
            "bool": {"bool_inverted_index": plain(true)},
        },
        "keys": {
            "#document": {"string": {"fts_index": plain(true), "string_inverted_index": plain(false)}},
            "#embedding": {"float_list": {"vector_index": {
                "enabled": true, "config": {"space": "l2", "source_key": "#document", "hnsw": hnsw},
            }}},
        },
    });
    assert_eq!(shown(&Schema::default()), expected);
    assert_eq!(shown(&of(json!({"defaults": {}, "keys": {}})).unwrap()), expected);
}

#[test]
fn what_a_request_leaves_out_is_filled_in_but_not_for_keys_of_its_own() {
    let schema = of(json!({
        "defaults": {"string": {"string_inverted_index": {"enabled": false, "config": {}}}},
        "keys": {
            "k": {"int": {"int_inverted_index": {"enabled": false, "config": {}}}},
            "bare": {},
            "#embedding": {"float_list": {"vector_index": {"enabled": true, "config": {"space": "cosine", "hnsw": {"ef_search": 7}}}}},
        },
    }));
    let schema = schema.unwrap();
    let shown = shown(&schema);
    assert_eq!(shown["defaults"]["string"]["fts_index"]["enabled"], false);
    assert_eq!(shown["keys"]["k"], json!({"int": {"int_inverted_index": {"enabled": false, "config": {}}}}));
    assert_eq!(shown["keys"]["bare"], json!({}));
    assert_eq!(shown["keys"]["#document"]["string"]["fts_index"]["enabled"], true);
    let configuration = schema.configuration();
    assert_eq!((configuration.space, configuration.hnsw.ef_search), (Space::Cosine, Some(7)));
    assert_eq!(configuration.hnsw.max_neighbors, Some(16));
    assert_eq!(given(shown), schema, "what is remembered reads back");
}

#[test]
fn a_configuration_is_mirrored_and_does_not_go_with_a_schema_of_its_own() {
    let function = EmbeddingFunction::Known { name: "q".to_owned(), config: json!({}) };
    let configuration = RequestedConfiguration {
        space: Space::Ip,
        hnsw: Hnsw { ef_search: Some(7), ..Hnsw::default() },
        embedding_function: Some(function.clone()),
    };
    let schema = Schema::of(None, &configuration).unwrap();
    assert_eq!(schema.configuration().space, Space::Ip);
    let shown = shown(&schema);
    let mirrored = &shown["defaults"]["float_list"]["vector_index"]["config"];
    assert_eq!((&mirrored["space"], &mirrored["hnsw"]["ef_search"]), (&json!("ip"), &json!(7)));
    assert_eq!(mirrored["embedding_function"], serde_json::to_value(&function).unwrap());
    let own =
        given(json!({"defaults": {}, "keys": {"k": {"int": {"int_inverted_index": {"enabled": true, "config": {}}}}}}));
    let refused = format!("{:?}", Schema::of(Some(own.clone()), &configuration).unwrap_err());
    assert!(refused.contains("Cannot set both collection config and schema simultaneously"), "{refused}");
    assert!(Schema::of(Some(own), &RequestedConfiguration::default()).is_ok());
    assert!(Schema::of(Some(given(json!({"defaults": {}, "keys": {}}))), &configuration).is_ok());
}

#[test]
fn the_function_that_clients_name_by_themselves_goes_with_any_schema() {
    let named = |name: &str| EmbeddingFunction::Known { name: name.to_owned(), config: json!({}) };
    let with =
        |function| RequestedConfiguration { embedding_function: Some(function), ..RequestedConfiguration::default() };
    let sparse =
        json!({"sparse_vector_index": {"enabled": false, "config": {"embedding_function": {"type": "unknown"}}}});
    let vector = |enabled: bool, source: Option<&str>| {
        let config = json!({"embedding_function": named("default"), "source_key": source, "space": "l2"});
        json!({"vector_index": {"enabled": enabled, "config": config}})
    };
    // A schema as Python's client writes it, with a key of its own.
    let mut sent = json!({
        "defaults": {"float_list": vector(false, None), "sparse_vector": sparse},
        "keys": {"#embedding": {"float_list": vector(true, Some("#document"))}},
    });
    let plain = Schema::of(Some(given(sent.clone())), &with(named("default"))).unwrap();
    assert_eq!(plain.configuration().embedding_function, Some(named("default")));
    assert_eq!(shown(&plain)["defaults"]["sparse_vector"]["sparse_vector_index"]["config"]["bm25"], false);
    let cosine = RequestedConfiguration { space: Space::Cosine, ..with(named("default")) };
    assert_eq!(Schema::of(Some(given(sent.clone())), &cosine).unwrap().configuration().space, Space::Cosine);

    sent["keys"]["x"] = json!({"string": {"string_inverted_index": {"enabled": false, "config": {}}}});
    let schema = Schema::of(Some(given(sent.clone())), &with(named("default"))).unwrap();
    assert_eq!(shown(&schema)["keys"]["x"]["string"]["string_inverted_index"]["enabled"], false);
    assert_eq!(schema.configuration().embedding_function, Some(named("default")));
    for other in [named("other"), EmbeddingFunction::Legacy] {
        assert!(Schema::of(Some(given(sent.clone())), &with(other)).is_err());
    }
    assert!(Schema::of(Some(given(sent)), &cosine).is_err());
}

#[test]
fn a_collection_made_otherwise_has_the_schema_of_what_it_is() {
    let index = IndexSettings { m: 8, ef_construction: 50, ..IndexSettings::default() };
    let configuration =
        RequestedConfiguration { space: Space::Cosine, hnsw: Hnsw::of_index(&index), embedding_function: None };
    let shown = Schema::of(None, &configuration).unwrap().configuration();
    assert_eq!((shown.space, shown.hnsw.max_neighbors, shown.hnsw.ef_construction), (Space::Cosine, Some(8), Some(50)));
    assert_eq!(shown.hnsw.ef_search, Some(100));
}

#[test]
fn faults_of_a_schema_are_named() {
    let key = |key: &str, types: Value| json!({"defaults": {}, "keys": {key: types}});
    let on = || json!({"enabled": true, "config": {}});
    let vector = json!({"float_list": {"vector_index": on()}});
    let source = json!({"float_list": {"vector_index": {"enabled": true, "config": {"source_key": "abc"}}}});
    let cases = [
        (
            key("#x", json!({"int": {}})),
            "key cannot begin with '#'. Keys starting with '#' are reserved for system use: #x",
        ),
        (json!({"defaults": vector, "keys": {}}), "Vector index cannot be enabled by default."),
        (
            json!({"defaults": {"string": {"fts_index": on()}}, "keys": {}}),
            "Full text search / regular expression index cannot be enabled by default.",
        ),
        (key("k", vector.clone()), "Vector index can only be enabled on #embedding field: k"),
        (
            key("k", json!({"string": {"fts_index": on()}})),
            "Full text search / regular expression index can only be enabled on #document field: k",
        ),
        (
            key("#document", json!({"string": {"string_inverted_index": on()}})),
            "String inverted index can not be enabled on #document key: #document",
        ),
        (
            key("#embedding", json!({"string": {}})),
            "Embedding field cannot have any value types other than float_list: #embedding",
        ),
        (key("#embedding", source), "Vector index can only source from #document"),
    ];
    for (schema, words) in cases {
        let fault = given(schema.clone()).fault();
        assert!(fault.as_ref().is_some_and(|fault| fault.starts_with(words)), "{schema}: {fault:?}");
    }
    assert_eq!(given(json!({"defaults": {}, "keys": {"k": {"bogus": 1}}})).fault(), None);
}

fn sparse(config: Value) -> Value {
    json!({"sparse_vector": {"sparse_vector_index": {"enabled": true, "config": config}}})
}

#[test]
fn several_keys_may_have_an_index_of_sparse_vectors() {
    let keys = json!({"a": sparse(json!({})), "b": sparse(json!({"bm25": true, "algorithm": "max_score"}))});
    let schema = of(json!({"defaults": {}, "keys": keys})).unwrap();
    assert_eq!(
        [schema.sparse_idf("a"), schema.sparse_idf("b"), schema.sparse_idf("c")],
        [Some(false), Some(true), None]
    );
    assert_eq!(shown(&schema)["keys"]["a"], keys["a"], "it is shown as it was given");
    assert_eq!(shown(&schema)["keys"]["b"], keys["b"]);
    let wand = of(json!({"defaults": {}, "keys": {"a": sparse(json!({"algorithm": "wand"}))}})).unwrap();
    assert_eq!(shown(&wand)["keys"]["a"], sparse(json!({})), "the default algorithm is not shown");
    let by_default = json!({"sparse_vector": {"sparse_vector_index": {"enabled": false, "config": {"bm25": true}}}});
    let schema = of(json!({"defaults": by_default, "keys": {"a": sparse(json!({}))}})).unwrap();
    assert_eq!(schema.sparse_idf("a"), Some(true), "the defaults say what the key does not");
}

#[test]
fn an_index_of_sparse_vectors_belongs_to_a_key_and_a_source_needs_a_function() {
    let function = json!({"type": "known", "name": "chroma_bm25", "config": {}});
    let fault = |key: &str, config: Value| given(json!({"defaults": {}, "keys": {key: sparse(config)}})).fault();
    assert_eq!(fault("s", json!({"source_key": "#document", "embedding_function": function})), None);
    assert_eq!(fault("s", json!({"source_key": "title", "embedding_function": function})), None);
    for (key, config, words) in [
        ("s", json!({"source_key": "#document"}), "a source_key needs an embedding_function"),
        ("s", json!({"source_key": "#id", "embedding_function": function}), "source_key: expected #document or a"),
        ("#s", json!({}), "key cannot begin with '#'"),
        ("#document", json!({}), "Document field cannot have any value types other than string"),
        ("#embedding", json!({}), "Embedding field cannot have any value types other than float_list"),
    ] {
        let fault = fault(key, config.clone());
        assert!(fault.as_ref().is_some_and(|fault| fault.starts_with(words)), "{key} {config}: {fault:?}");
    }
    let defaults = given(json!({"defaults": sparse(json!({})), "keys": {}})).fault();
    assert!(defaults.is_some_and(|fault| fault.starts_with("Sparse vector index cannot be enabled by default")));
    let unknown = json!({"defaults": {}, "keys": {"s": sparse(json!({"other": 1}))}});
    assert!(serde_json::from_value::<Schema>(unknown).is_err());
}

#[test]
fn a_schema_of_the_wrong_shape_is_refused() {
    for bad in [
        json!({}),
        json!({"keys": {}}),
        json!({"defaults": null, "keys": {}}),
        json!({"defaults": {"int": {"int_inverted_index": {"enabled": false}}}, "keys": {}}),
        json!({"defaults": {"float_list": {"vector_index": {"enabled": false, "config": {"bogus": 1}}}}, "keys": {}}),
        json!({"defaults": {"float_list": {"vector_index": {"enabled": false, "config": {"hnsw": {"bogus": 1}}}}}, "keys": {}}),
    ] {
        assert!(serde_json::from_value::<Schema>(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn discovered_kinds_are_shown_as_the_defaults_have_them() {
    let mut types = KeyTypes::default();
    for (key, kind) in [("k", KeyType::Int), ("k", KeyType::String), ("b", KeyType::Bool)] {
        types.learn(&KeyTypes::default(), key, kind);
    }
    let schema = of(json!({
        "defaults": {"bool": {"bool_inverted_index": {"enabled": false, "config": {}}}},
        "keys": {"k": {"int": {"int_inverted_index": {"enabled": false, "config": {}}}}},
    }));
    let shown = shown(&schema.unwrap().with_discovered(&types));
    let plain = |enabled: bool| json!({"enabled": enabled, "config": {}});
    assert_eq!(shown["keys"]["b"], json!({"bool": {"bool_inverted_index": plain(false)}}));
    let strings = json!({"fts_index": plain(false), "string_inverted_index": plain(true)});
    assert_eq!(shown["keys"]["k"], json!({"string": strings, "int": {"int_inverted_index": plain(false)}}));
}

#[test]
fn filters_on_what_has_no_index_are_refused_by_key_and_kind() {
    let schema = of(json!({
        "defaults": {"string": {"string_inverted_index": {"enabled": false, "config": {}}}},
        "keys": {
            "k": {"int": {"int_inverted_index": {"enabled": false, "config": {}}}},
            "on": {"string": {"string_inverted_index": {"enabled": true, "config": {}}}},
        },
    }));
    let schema = schema.unwrap();
    let refused = |clause: Value| schema.check_filter(Some(&clause), None).err().map(|e| format!("{e:?}"));
    let cases = [
        (json!({"k": 1}), Some("'k' with type 'Int'")),
        (json!({"k": {"$in": [1, 2]}}), Some("'k' with type 'Int'")),
        (json!({"k": "x"}), Some("'k' with type 'Str'")),
        (json!({"k": 1.5}), None),
        (json!({"k": true}), None),
        (json!({"on": "x"}), None),
        (json!({"s": {"$contains": "a"}}), Some("'s' with type 'Str'")),
        (json!({"$or": [{"j": 1}, {"$and": [{"s": {"$ne": "x"}}]}]}), Some("'s' with type 'Str'")),
        (json!({"#document": "x"}), Some("'#document' with type 'Str'")),
        (json!({"#document": {"$contains": "x"}}), None),
        (json!({"#document": {"$istartsWith": "x"}}), None),
        (json!({"#document": {"$exists": true}}), None),
        (json!({"s": {"$startsWith": "a"}}), Some("'s' with type 'Str'")),
        (json!({"s": {"$ine": "a"}}), Some("'s' with type 'Str'")),
        (json!({"s": {"$date": "2024-05-01"}}), Some("'s' with type 'Str'")),
        (json!({"s": {"$gt": {"$date": "2024-05-01"}}}), Some("'s' with type 'Str'")),
        (json!({"s": {"$in": [{"$date": "2024-05-01"}]}}), Some("'s' with type 'Str'")),
        (json!({"on": {"$gt": {"$date": "2024-05-01"}}}), None),
        (json!({"s": {"$exists": true}}), None),
        (json!({"k": {"$exists": false}}), None),
    ];
    for (clause, words) in cases {
        let refused = refused(clause.clone());
        assert_eq!(refused.is_some(), words.is_some(), "{clause}: {refused:?}");
        assert!(refused.is_none_or(|refused| refused.contains(words.unwrap_or_default())), "{clause}");
    }
}

#[test]
fn ids_need_no_index_of_strings() {
    let schema = of(json!({
        "defaults": {"string": {"string_inverted_index": {"enabled": false, "config": {}}}},
        "keys": {},
    }));
    let (ids, other) = (json!({"#id": {"$in": ["a"]}}), json!({"$or": [{"#id": "a"}, {"k": "a"}]}));
    let schema = schema.unwrap();
    assert!(schema.check_filter(Some(&ids), None).is_ok());
    let refused = format!("{:?}", schema.check_filter(Some(&other), None));
    assert!(refused.contains("metadata key 'k' with type 'Str'"), "{refused}");
}

#[test]
fn full_text_search_can_be_switched_off() {
    let schema =
        of(json!({"defaults": {}, "keys": {"#document": {"string": {"fts_index": {"enabled": false, "config": {}}}}}}));
    let schema = schema.unwrap();
    let (contains, begins) = (json!({"$contains": "x"}), json!({"#document": {"$not_istartsWith": "x"}}));
    let in_where = json!({"#document": contains});
    for (metadata, document) in [(None, Some(&contains)), (Some(in_where), None), (Some(begins), None)] {
        let refused = format!("{:?}", schema.check_filter(metadata.as_ref(), document));
        assert!(refused.contains("Cannot filter using full-text search because FTS indexing is disabled"), "{refused}");
    }
    assert!(Schema::default().check_filter(None, Some(&contains)).is_ok());
}

#[test]
fn a_modification_changes_both_places_and_leaves_the_rest() {
    let mut schema = Schema::default();
    let function = EmbeddingFunction::Legacy;
    schema.change(&Hnsw { ef_search: Some(33), ..Hnsw::default() }, Some(&function));
    schema.change(&Hnsw { max_neighbors: Some(9), ..Hnsw::default() }, None);
    let configuration = schema.configuration();
    assert_eq!((configuration.hnsw.ef_search, configuration.hnsw.max_neighbors), (Some(33), Some(9)));
    assert_eq!(configuration.embedding_function, Some(function));
    let shown = shown(&schema);
    assert_eq!(shown["defaults"]["float_list"]["vector_index"]["config"]["hnsw"]["ef_search"], 33);
}
