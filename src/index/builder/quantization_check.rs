//! Checks whether codes tell a graph's near neighbours apart, at the density the data really has.

use super::layers::Layers;
use super::points::{CodedPoints, FloatPoints, Points};

/// How many nodes are sampled.
const SAMPLED: usize = 256;
/// The most nodes of a sampled node's surroundings: its neighbours and theirs.
const SURROUNDINGS: usize = 1000;
/// The codes' best this many must hold the true best `TRUE_BEST` ...
const CODED_BEST: usize = 20;
const TRUE_BEST: usize = 10;
/// ... in at least this share, or the graph is built on floats.
const ENOUGH: f64 = 0.97;

/// Whether distances of codes find what distances of `rows` would.
pub fn codes_suffice(coded: &CodedPoints, rows: &[&[f32]], layers: &Layers) -> bool {
    let exact = FloatPoints::new(rows);
    let (mut found, mut wanted) = (0, 0);
    let linked: Vec<u32> = (0..rows.len() as u32)
        .filter(|node| layers.levels.first().is_some_and(|links| !links.of(*node).is_empty()))
        .collect();
    for node in linked.iter().copied().step_by(linked.len().div_ceil(SAMPLED).max(1)) {
        let around = surroundings(layers, node);
        let truth = nearest(&exact, node, &around, TRUE_BEST);
        let by_code = nearest(coded, node, &around, CODED_BEST);
        // Compared by distance: of equally near nodes, any will do.
        let bound = truth.last().map_or(0, |(distance, _)| *distance);
        let kept = by_code.iter().filter(|(_, other)| exact.distance(node, *other) <= bound).count();
        found += kept.min(truth.len());
        wanted += truth.len();
    }
    found as f64 >= ENOUGH * wanted as f64
}

fn surroundings(layers: &Layers, node: u32) -> Vec<u32> {
    let Some(links) = layers.levels.first() else { return Vec::new() };
    let near = links.of(node);
    let further = near.iter().flat_map(|other| links.of(*other));
    let mut around: Vec<u32> = near.iter().chain(further).copied().filter(|other| *other != node).collect();
    around.truncate(SURROUNDINGS);
    around.sort_unstable();
    around.dedup();
    around
}

fn nearest(points: &impl Points, node: u32, around: &[u32], most: usize) -> Vec<(u32, u32)> {
    let mut keys: Vec<(u32, u32)> = around.iter().map(|other| (points.distance(node, *other), *other)).collect();
    keys.sort_unstable();
    keys.truncate(most);
    keys
}
