//! Our own HNSW builder (Malkov and Yashunin 2016): flat preallocated lists, distances of int8 codes, and insertion
//! in batches as in ParlayANN (Manohar et al. 2024). All points of a batch search the graph as it was before the
//! batch, then all their links are made; batches grow with the graph.
//! Invariant: the graph depends only on the rows, m, efConstruction and the seed. It does not depend on the number of
//! threads nor, where codes suffice, on the instruction set.

#[cfg(test)]
mod builder_tests;
mod inherited_links;
mod insert;
mod layers;
mod levels;
mod links;
mod points;
mod quantization_check;
mod search_layer;
mod select;

use super::build::{Adjacency, GraphBuilder, GraphParams};
use super::metric::PointSpace;
pub use inherited_links::InheritedLinks;
use insert::Inserter;
use layers::Layers;
use levels::{Ordering, draw_levels};
use points::{CodedPoints, FloatPoints};

/// The name of this builder in collections and stored graphs.
pub const NAME: &str = "drumlin";

/// Builds in batches: on codes, or on floats where codes cannot tell near neighbours apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchBuilder;

impl GraphBuilder for BatchBuilder {
    fn name(&self) -> &'static str {
        NAME
    }

    fn build(&self, space: &PointSpace<'_>, params: &GraphParams) -> Adjacency {
        grow(space, None, params)
    }
}

/// Links the rows that `start` does not cover. `start`, if any, holds lists for the first
/// `start.lists.len()` rows, at least one.
pub fn grow(space: &PointSpace<'_>, start: Option<&Adjacency>, params: &GraphParams) -> Adjacency {
    let ordering = Ordering::new(&draw_levels(space.rows.len(), start, params));
    let rows: Vec<&[f32]> = ordering.order.iter().map(|node| space.rows[*node as usize]).collect();
    let begin = || match start {
        Some(start) => Layers::of(start, &ordering, params.m),
        None => Layers::empty(&ordering, params.m),
    };
    let linked = start.map_or(0, |start| start.lists.len() as u32);
    let new: Vec<u32> = (0u32..).zip(&ordering.order).filter(|(_, node)| **node >= linked).map(|(at, _)| at).collect();
    let coded = CodedPoints::encode(space.dim, &rows, params);
    let mut inserter = Inserter::new(&coded, begin(), params);
    if inserter.insert_while(&new, |inserter| quantization_check::codes_suffice(&coded, &rows, inserter.layers())) {
        return inserter.into_layers().into_adjacency(&ordering);
    }
    drop(inserter);
    tracing::debug!(nodes = rows.len(), "codes cannot tell neighbours apart: building on floats");
    let exact = FloatPoints::new(&rows);
    let mut inserter = Inserter::new(&exact, begin(), params);
    inserter.insert_while(&new, |_| true);
    inserter.into_layers().into_adjacency(&ordering)
}
