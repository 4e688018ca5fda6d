//! What people ask next to a search, over real HTTP on seeded records of which some were replaced and some deleted:
//! a greatest distance, groups, facets, examples, diversity. The truth is a plain list of records.

use std::collections::BTreeMap;

use drumlin::http::HttpSettings;
use drumlin::{Settings, Storage};
use drumlin_test_support::server::Server;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const C: &str = "/api/collections/things";
const SEED: u64 = 151_505;
const WORDS: [&str; 6] = ["river", "fog", "stone", "field", "cloud", "mill"];
const AUTHORS: [&str; 7] = ["ann", "bob", "cyd", "dee", "eve", "fay", "gus"];

#[derive(Debug, Clone)]
struct Thing {
    id: String,
    embedding: [f32; 3],
    author: Option<&'static str>,
    /// An integer, or a float that may equal one.
    year: Value,
    tags: Vec<&'static str>,
}

impl Thing {
    /// Coordinates are multiples of 1/4, so that distances are exact and ties are common.
    fn random(id: usize, random: &mut StdRng) -> Thing {
        // The first author has written most.
        let author = [0, random.random_range(0..8)][usize::from(random.random_bool(0.5))];
        let year = random.random_range(2000..2006);
        Thing {
            id: format!("t{id}"),
            embedding: std::array::from_fn(|_| random.random_range(-8..8) as f32 / 4.0),
            author: AUTHORS.get(author).copied(),
            year: if random.random() { json!(year) } else { json!(f64::from(year) + 0.5 * f64::from(year % 2)) },
            tags: WORDS.iter().filter(|_| random.random_bool(0.3)).copied().collect(),
        }
    }

    fn json(&self, random: &mut StdRng) -> Value {
        let mut metadata = json!({"year": self.year, "tags": self.tags});
        if let Some(author) = self.author {
            metadata["author"] = json!(author);
        }
        let words: Vec<&str> = (0..random.random_range(1..12)).map(|_| WORDS[random.random_range(0..6)]).collect();
        metadata["sparse"] =
            json!({"indices": [random.random_range(0..3), 5], "values": [random.random::<f32>(), 0.5]});
        json!({"id": self.id, "embedding": self.embedding, "document": words.join(" "), "metadata": metadata})
    }

    fn year(&self) -> f64 {
        self.year.as_f64().unwrap()
    }

    fn distance(&self, to: &[f32]) -> f32 {
        self.embedding.iter().zip(to).map(|(a, b)| (a - b).powi(2)).sum()
    }
}

/// A server and what its collection holds, in insertion order.
async fn with_things(random: &mut StdRng) -> (Server, Vec<Thing>) {
    let server = Server::with(Settings::new(Storage::Memory), HttpSettings::default()).await;
    ask(&server, "/api/collections", json!({"name": "things", "metric": "l2"})).await;
    let mut things: Vec<Thing> = (0..400).map(|id| Thing::random(id, random)).collect();
    let records: Vec<Value> = things.iter().map(|thing| thing.json(random)).collect();
    ask(&server, &format!("{C}/add"), json!({"records": records})).await;
    for id in (0..400).step_by(9) {
        things[id] = Thing::random(id, random);
        ask(&server, &format!("{C}/upsert"), json!({"records": [things[id].json(random)]})).await;
    }
    let gone: Vec<String> = (0..400).step_by(7).map(|id| format!("t{id}")).collect();
    ask(&server, &format!("{C}/delete"), json!({"ids": gone})).await;
    things.retain(|thing| !gone.contains(&thing.id));
    (server, things)
}

async fn ask(server: &Server, path: &str, body: Value) -> Value {
    let answer = server.post(path, &body).await;
    assert!(answer.status < 300, "{body}: {}", answer.text());
    answer.json()
}

async fn search(server: &Server, body: Value) -> Value {
    ask(server, &format!("{C}/search"), body).await
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
}

/// The things that match a filter, and the filter.
fn matching(things: &[Thing], random: &mut StdRng) -> (Vec<Thing>, Value) {
    match random.random_range(0..3) {
        0 => (things.to_vec(), Value::Null),
        1 => {
            let least = random.random_range(2000..2006);
            let filter = json!({"year": {"$gte": least}});
            (things.iter().filter(|thing| thing.year() >= f64::from(least)).cloned().collect(), filter)
        }
        _ => {
            let tag = WORDS[random.random_range(0..6)];
            let filter = json!({"tags": {"$contains": tag}});
            (things.iter().filter(|thing| thing.tags.contains(&tag)).cloned().collect(), filter)
        }
    }
}

fn nearest_first(mut things: Vec<Thing>, to: &[f32]) -> Vec<Thing> {
    // Stable: equal distances stay in insertion order.
    things.sort_by(|a, b| a.distance(to).total_cmp(&b.distance(to)));
    things
}

fn point(random: &mut StdRng) -> [f32; 3] {
    std::array::from_fn(|_| random.random_range(-8..8) as f32 / 4.0)
}

/// The best groups of a ranked list: (value, ids).
fn grouped(ranked: &[Thing], groups: usize, records: usize) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for (thing, author) in ranked.iter().filter_map(|thing| Some((thing, thing.author?))) {
        match found.iter_mut().find(|(known, _)| *known == author) {
            Some((_, ids)) => ids.push(&thing.id),
            None => found.push((author, vec![&thing.id])),
        }
    }
    found.truncate(groups);
    found.iter_mut().for_each(|(_, ids)| ids.truncate(records));
    found
}

fn groups_of(answer: &Value) -> Vec<(String, Vec<String>)> {
    let groups = answer["groups"].as_array().unwrap().iter();
    groups.map(|group| (group["value"].as_str().unwrap().to_owned(), ids(&group["results"]))).collect()
}

fn owned(groups: Vec<(&str, Vec<&str>)>) -> Vec<(String, Vec<String>)> {
    groups.into_iter().map(|(value, ids)| (value.to_owned(), ids.into_iter().map(str::to_owned).collect())).collect()
}

#[tokio::test]
async fn records_beyond_the_greatest_distance_are_left_out() {
    let mut random = StdRng::seed_from_u64(SEED);
    let (server, things) = with_things(&mut random).await;
    for case in 0..30 {
        let (things, filter) = matching(&things, &mut random);
        let (to, most) = (point(&mut random), random.random_range(0..40) as f32 / 4.0);
        let body = json!({"embeddings": [to, to], "k": 400, "where": filter, "max_distance": most, "include": []});
        let answer = search(&server, body).await;
        let near: Vec<Thing> = things.into_iter().filter(|thing| thing.distance(&to) <= most).collect();
        for found in answer["results"].as_array().unwrap() {
            let (mut found, mut expected) = (ids(found), near.iter().map(|t| t.id.clone()).collect::<Vec<_>>());
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "seed {SEED}, case {case}");
        }
        let body =
            json!({"embedding": to, "k": 3, "where": filter, "max_distance": most, "group_by": {"key": "author"}});
        let expected = owned(grouped(&nearest_first(near, &to), 3, 1));
        assert_eq!(groups_of(&search(&server, body).await), expected, "seed {SEED}, case {case}");
    }
    server.stop().await;
}

#[tokio::test]
async fn groups_are_the_best_of_all_records_that_match() {
    let mut random = StdRng::seed_from_u64(SEED + 1);
    let (server, things) = with_things(&mut random).await;
    for case in 0..40 {
        let (things, filter) = matching(&things, &mut random);
        let (groups, records, to) = (random.random_range(1..9), random.random_range(1..5), point(&mut random));
        let place = format!("seed {}, case {case}: {groups} groups of {records} where {filter}", SEED + 1);
        let group_by = json!({"key": "author", "groups": groups, "records": records});
        let body = json!({"embedding": to, "k": 1, "where": filter, "group_by": group_by});
        let answer = search(&server, body).await;
        let expected = owned(grouped(&nearest_first(things.clone(), &to), groups, records));
        assert_eq!(groups_of(&answer), expected, "{place}");
        let best = &answer["groups"][0]["results"][0];
        let thing = things.iter().find(|thing| best["id"] == thing.id.as_str());
        assert_eq!(best["distance"].as_f64(), thing.map(|thing| f64::from(thing.distance(&to))), "{place}");
        let has_author = json!({"author": {"$in": AUTHORS}});
        let with_author = if filter.is_null() { has_author } else { json!({"$and": [filter, has_author]}) };
        let words = format!("{} {}", WORDS[random.random_range(0..6)], WORDS[random.random_range(0..6)]);
        let sparse = json!({"key": "sparse", "indices": [random.random_range(0..3), 5], "values": [1.0, 0.5]});
        for query in [
            json!({"text": words}),
            json!({"sparse": sparse}),
            json!({"embedding": to, "text": words, "sparse": sparse, "candidates": 400}),
        ] {
            // A search for everything has the order; the groups are those of that list. The ranks that are fused are
            // those among records with an author.
            let mut body = query.clone();
            (body["k"], body["where"], body["include"]) = (json!(400), with_author.clone(), json!([]));
            let all = ids(&search(&server, body.clone()).await["results"][0]);
            let thing = |id: &String| things.iter().find(|thing| thing.id == *id).unwrap().clone();
            let all: Vec<Thing> = all.iter().map(thing).collect();
            (body["k"], body["where"], body["group_by"]) = (json!(1), filter.clone(), group_by.clone());
            let found = groups_of(&search(&server, body).await);
            assert_eq!(found, owned(grouped(&all, groups, records)), "{place}: {query}");
        }
    }
    server.stop().await;
}

/// Values and their counts, commonest first, equally common ones in their own order.
fn counts<V: Ord>(values: impl Iterator<Item = V>, most: usize) -> (usize, Vec<(V, u64)>) {
    let mut counts: BTreeMap<V, u64> = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    let distinct = counts.len();
    let mut counts: Vec<(V, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.truncate(most);
    (distinct, counts)
}

fn check_facets(facets: &Value, things: &[Thing], place: &str) {
    let named = |facet: &Value| -> Vec<(Value, u64)> {
        let values = facet["values"].as_array().unwrap().iter();
        values.map(|value| (value["value"].clone(), value["count"].as_u64().unwrap())).collect()
    };
    for (key, values) in [
        ("author", things.iter().filter_map(|thing| thing.author).collect::<Vec<_>>()),
        ("tags", things.iter().flat_map(|thing| thing.tags.clone()).collect()),
    ] {
        let (distinct, expected) = counts(values.into_iter(), 3);
        let expected: Vec<(Value, u64)> = expected.into_iter().map(|(value, count)| (json!(value), count)).collect();
        assert_eq!((&facets[key]["distinct"], named(&facets[key])), (&json!(distinct), expected), "{place}: {key}");
    }
    let mut years: Vec<f64> = things.iter().map(Thing::year).collect();
    years.sort_by(f64::total_cmp);
    let year = &facets["year"];
    assert_eq!(year["distinct"], counts(years.iter().map(|year| (year * 2.0) as i64), 0).0, "{place}");
    assert_eq!((&year["numbers"], year["min"].as_f64()), (&json!(years.len()), years.first().copied()), "{place}");
    assert_eq!(year["max"].as_f64(), years.last().copied(), "{place}");
    if !years.is_empty() {
        let mean = years.iter().sum::<f64>() / years.len() as f64;
        assert!((year["mean"].as_f64().unwrap() - mean).abs() < 1e-6, "{place}: {year}");
        let quantile = |q: f64| years[((q * years.len() as f64).ceil() as usize).max(1) - 1];
        assert_eq!(year["quantiles"], json!([quantile(0.5), quantile(0.9)]), "{place}");
    }
}

#[tokio::test]
async fn facets_count_every_record_that_matches_or_the_candidates_of_a_search() {
    let mut random = StdRng::seed_from_u64(SEED + 2);
    let (server, things) = with_things(&mut random).await;
    let facets = json!({
        "author": {"values": 3}, "tags": {"values": 3}, "year": {"values": 1, "range": true, "quantiles": [0.5, 0.9]},
    });
    for case in 0..30 {
        let place = format!("seed {}, case {case}", SEED + 2);
        let (things, filter) = matching(&things, &mut random);
        let answer = ask(&server, &format!("{C}/facets"), json!({"where": filter, "facets": facets})).await;
        assert_eq!(answer["count"], things.len(), "{place}");
        check_facets(&answer["facets"], &things, &place);
        let (to, candidates) = (point(&mut random), random.random_range(5..120));
        let body = json!({"embedding": to, "k": 2, "candidates": candidates, "where": filter, "facets": facets});
        let answer = search(&server, body).await;
        let ranked = nearest_first(things, &to);
        let candidates = &ranked[..candidates.min(ranked.len())];
        assert_eq!(ids(&answer["results"][0]), candidates.iter().take(2).map(|t| t.id.clone()).collect::<Vec<_>>());
        check_facets(&answer["facets"], candidates, &place);
    }
    let few = ask(&server, &format!("{C}/facets"), json!({"ids": ["t1", "nobody"], "facets": {"none": {}}})).await;
    assert_eq!((&few["count"], &few["facets"]), (&json!(1), &json!({"none": {"values": [], "distinct": 0}})));
    server.stop().await;
}

#[tokio::test]
async fn records_like_some_and_unlike_others_are_found_and_the_examples_are_not() {
    let mut random = StdRng::seed_from_u64(SEED + 3);
    let (server, things) = with_things(&mut random).await;
    for case in 0..30 {
        let place = format!("seed {}, case {case}", SEED + 3);
        let (matching, filter) = matching(&things, &mut random);
        let examples: Vec<&Thing> = (0..6).map(|_| &things[random.random_range(0..things.len())]).collect();
        let (like, unlike) = examples.split_at(random.random_range(1..6));
        let names = |things: &[&Thing]| things.iter().map(|thing| thing.id.clone()).collect::<Vec<_>>();
        let (liked, disliked) = (names(like), names(unlike));
        let others: Vec<Thing> =
            matching.into_iter().filter(|t| !liked.contains(&t.id) && !disliked.contains(&t.id)).collect();
        let mut body = json!({"like": liked, "unlike": disliked, "k": 8, "where": filter, "include": []});
        body["strategy"] = json!("best_score");
        let found = search(&server, body.clone()).await;
        let score = |thing: &Thing| {
            let best = |examples: &[&Thing]| {
                let alike = |example: &&Thing| 1.0 / (1.0 + thing.distance(&example.embedding));
                examples.iter().map(alike).fold(f32::NEG_INFINITY, f32::max)
            };
            let (like, unlike) = (best(like), best(unlike));
            let scaled = |s: f32| if s.is_infinite() { 0.0 } else { 0.5 * (1.0 + s / (1.0 + s.abs())) };
            if like > unlike { scaled(like) } else { -scaled(unlike) }
        };
        let mut ranked: Vec<(f32, &str)> = others.iter().map(|thing| (score(thing), thing.id.as_str())).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let expected: Vec<&str> = ranked.iter().take(8).map(|(_, id)| *id).collect();
        assert_eq!(ids(&found["results"][0]), expected, "{place}");

        body["strategy"] = json!("average");
        let found = search(&server, body).await;
        let mean = |things: &[&Thing], at: usize| {
            things.iter().map(|thing| f64::from(thing.embedding[at])).sum::<f64>() / things.len() as f64
        };
        let to: [f32; 3] = std::array::from_fn(|at| match unlike {
            [] => mean(like, at) as f32,
            unlike => (2.0 * mean(like, at) - mean(unlike, at)) as f32,
        });
        let nearest = nearest_first(others, &to);
        let distances: Vec<f32> = nearest.iter().take(8).map(|thing| thing.distance(&to)).collect();
        let hits = found["results"][0].as_array().unwrap();
        assert_eq!(hits.len(), distances.len(), "{place}");
        for (hit, expected) in hits.iter().zip(distances) {
            let distance = hit["distance"].as_f64().unwrap();
            assert!((distance - f64::from(expected)).abs() < 1e-4, "{place}: {hit}, expected {expected}");
            assert!(nearest.iter().any(|thing| hit["id"] == thing.id.as_str()), "{place}: {hit}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_diverse_search_chooses_the_greatest_marginal_relevance() {
    let mut random = StdRng::seed_from_u64(SEED + 4);
    let (server, things) = with_things(&mut random).await;
    for case in 0..20 {
        let place = format!("seed {}, case {case}", SEED + 4);
        let (things, filter) = matching(&things, &mut random);
        let (to, lambda) = (point(&mut random), random.random_range(0..=4) as f32 / 4.0);
        let diversity = json!({"lambda": lambda, "candidates": 40});
        let body = json!({"embedding": to, "k": 6, "where": filter, "include": [], "diversity": diversity});
        let found = ids(&search(&server, body).await["results"][0]);
        let candidates: Vec<Thing> = nearest_first(things, &to).into_iter().take(40).collect();
        let alike = |distance: f32| 1.0 / (1.0 + distance);
        let mut chosen: Vec<&Thing> = Vec::new();
        for id in &found {
            let gain = |thing: &Thing| {
                let nearest = chosen.iter().map(|c| alike(thing.distance(&c.embedding))).fold(f32::MIN, f32::max);
                let relevance = alike(thing.distance(&to));
                if chosen.is_empty() { relevance } else { lambda * relevance - (1.0 - lambda) * nearest }
            };
            let left = candidates.iter().filter(|thing| !chosen.iter().any(|c| c.id == thing.id));
            let best = left.clone().map(gain).fold(f32::MIN, f32::max);
            let taken = left.clone().find(|thing| thing.id == *id).expect("a candidate that was not chosen yet");
            assert!((gain(taken) - best).abs() < 1e-6, "{place}: {id} of {found:?}");
            chosen.push(taken);
        }
        assert_eq!(found.len(), candidates.len().min(6), "{place}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_by_the_name_of_its_field() {
    let mut random = StdRng::seed_from_u64(SEED + 5);
    let (server, _) = with_things(&mut random).await;
    let at = [0, 0, 0];
    let searches = [
        (json!({"embedding": at, "max_distance": "far"}), 400, "max_distance"),
        (json!({"text": "fog", "max_distance": 1}), 400, "max_distance"),
        (json!({"embedding": at, "group_by": {}}), 400, "group_by.key"),
        (json!({"embedding": at, "group_by": "author"}), 400, "group_by"),
        (json!({"embedding": at, "group_by": {"key": "author", "groups": 0}}), 400, "group_by.groups"),
        (json!({"embedding": at, "group_by": {"key": "author", "records": 0}}), 400, "group_by.records"),
        (
            json!({"embedding": at, "group_by": {"key": "author", "groups": 9000, "records": 9000}}),
            422,
            "DRUMLIN_MAX_K",
        ),
        (json!({"embedding": at, "group_by": {"key": "author", "k": 1}}), 400, "unknown field"),
        (json!({"embedding": at, "group_by": {"key": "#document"}}), 400, "group_by.key"),
        (json!({"embeddings": [at], "group_by": {"key": "author"}}), 400, "embeddings"),
        (json!({"id": "t1", "group_by": {"key": "author"}}), 400, "id"),
        (json!({"group_by": {"key": "author"}}), 400, "got none of them"),
        (json!({"embedding": [1], "group_by": {"key": "author"}}), 400, "expected 3 numbers"),
        (json!({"embedding": at, "group_by": {"key": "author"}, "facets": {"year": {}}}), 400, "group_by"),
        (json!({"like": ["nobody"]}), 404, "like: there is no record \"nobody\""),
        (json!({"like": ["t1"], "unlike": ["t0"]}), 404, "unlike: there is no record \"t0\""),
        (json!({"like": ["t1"], "strategy": "best_score", "max_distance": 1}), 400, "max_distance"),
        (json!({"like": []}), 400, "like"),
        (json!({"unlike": ["t1"]}), 400, "best_score"),
        (json!({"like": ["t1"], "embedding": at}), 400, "embedding or like"),
        (json!({"embedding": at, "strategy": "average"}), 400, "strategy"),
        (json!({"like": ["t1"], "strategy": "median"}), 400, "median"),
        (json!({"text": "fog", "diversity": {}}), 400, "diversity"),
        (json!({"like": ["t1"], "strategy": "best_score", "diversity": {}}), 400, "diversity"),
        (json!({"embedding": at, "diversity": {"lambda": 1.5}}), 400, "diversity.lambda"),
        (json!({"embedding": at, "diversity": {"candidates": 5}}), 422, "diversity.candidates"),
        (json!({"embedding": at, "diversity": {"candidates": 5000}}), 422, "diversity.candidates"),
        (json!({"embedding": at, "facets": {"year": {"quantiles": [2]}}}), 400, "facets.year.quantiles"),
    ];
    let facets = [
        (json!({}), 400, "facets"),
        (json!({"facets": {}}), 400, "facets"),
        (json!({"facets": ["year"]}), 400, "facets"),
        (json!({"facets": {"year": 3}}), 400, "facets"),
        (json!({"facets": {"#document": {}}}), 400, "facets.#document"),
        (json!({"facets": {"year": {"values": 0}}}), 400, "facets.year.values"),
        (json!({"facets": {"year": {"values": 100_001}}}), 422, "facets.year.values"),
        (json!({"facets": {"year": {"quantiles": [0.5, 0.1]}}}), 400, "facets.year.quantiles"),
        (json!({"facets": {"year": {"quantiles": [-0.1]}}}), 400, "facets.year.quantiles"),
        (json!({"facets": {"year": {"count": true}}}), 400, "unknown field"),
        (json!({"where": {"year": {"$what": 1}}, "facets": {"year": {}}}), 400, "$what"),
    ];
    let rows = searches.into_iter().map(|row| ("search", row)).chain(facets.into_iter().map(|row| ("facets", row)));
    for (route, (body, status, names)) in rows {
        let answer = server.post(&format!("{C}/{route}"), &body).await;
        assert_eq!(answer.status, status, "{route} {body}: {}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(names), "{route} {body}: {message}");
    }
    server.stop().await;
}
