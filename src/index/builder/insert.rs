//! Inserting points in batches. Within a batch every point searches the graph as it was before the batch, on all
//! threads. Then links back to the new points are made list by list, on all threads.
//! Invariant: the result of a batch depends only on the batches before it.

use std::ops::Range;

use parking_lot::Mutex;
use rayon::prelude::*;

use super::layers::Layers;
use super::links::{LinkRows, Links};
use super::points::Points;
use super::search_layer::{Scratch, greedy, search_layer};
use super::select::select;
use crate::index::build::GraphParams;

/// A batch is at most one in this many of the points inserted before, because its points do not see each other.
const BATCH_SHARE: usize = 50;
/// The width of a point's search, in eighths of efConstruction. A point does not see the others of its batch. Two
/// things more than make up for that: a wider search, and on level 0 as many links as there is room for, instead of
/// M. Recall at equal ef is above that of hnswlib's graphs, for less than half of its CPU time (`benches/peers.py`).
const WIDTH_EIGHTHS: usize = 9;
/// How many points or lists a thread takes at once.
const TAKEN: usize = 16;
/// How many points are in the graph when `insert_while` calls `go_on` for the first time.
const FIRST_ASKED: usize = 2048;

/// Inserts points into layers.
pub struct Inserter<'a, P> {
    points: &'a P,
    layers: Layers,
    params: GraphParams,
    scratch: Mutex<Vec<Scratch>>,
}

/// The list that a new point chose on one level.
struct ChosenLinks {
    node: u32,
    level: usize,
    list: Vec<u32>,
}

/// A link from a node, which is in the graph, back to a new one.
type LinkBack = (u32, u32);

impl<'a, P: Points> Inserter<'a, P> {
    pub fn new(points: &'a P, layers: Layers, params: &GraphParams) -> Inserter<'a, P> {
        Inserter { points, layers, params: *params, scratch: Mutex::default() }
    }

    /// The graph so far.
    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    pub fn into_layers(self) -> Layers {
        self.layers
    }

    /// Inserts the `new` nodes, ascending. Calls `go_on` early and at the end; returns false once it says no.
    pub fn insert_while(&mut self, new: &[u32], go_on: impl Fn(&Self) -> bool) -> bool {
        let nodes = self.layers.levels.first().map_or(0, Links::nodes);
        let mut inserted = nodes - new.len();
        let mut left = new;
        if inserted >= FIRST_ASKED && !go_on(self) {
            return false;
        }
        if inserted == 0 {
            // The first node is the entry point and has no others to link to.
            (inserted, left) = (1, new.get(1..).unwrap_or_default());
        }
        while !left.is_empty() {
            let size = (inserted / BATCH_SHARE).clamp(1, left.len());
            let (batch, rest) = left.split_at(size);
            self.insert_batch(batch);
            let before = inserted;
            (inserted, left) = (inserted + size, rest);
            if (before..inserted).contains(&FIRST_ASKED) && !go_on(self) {
                return false;
            }
        }
        go_on(self)
    }

    fn insert_batch(&mut self, batch: &[u32]) {
        let chosen = self.choose(batch);
        for level in 0..self.layers.levels.len() {
            let mut back: Vec<LinkBack> = Vec::new();
            let mut rows = self.layers.levels[level].rows();
            for ChosenLinks { node, list, .. } in chosen.iter().filter(|chosen| chosen.level == level) {
                rows.replace(*node, list);
                back.extend(list.iter().map(|other| (*other, *node)));
            }
            if !back.is_empty() {
                self.link_back(level, back);
            }
        }
    }

    fn parallel(&self, work: usize) -> bool {
        self.params.threads > 1 && work > TAKEN
    }

    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        let mut scratch = self.scratch.lock().pop().unwrap_or_default();
        let done = work(&mut scratch);
        self.scratch.lock().push(scratch);
        done
    }

    /// The links that each point of a batch chooses.
    fn choose(&self, batch: &[u32]) -> Vec<ChosenLinks> {
        let choose = |nodes: &[u32]| {
            self.with_scratch(|scratch| {
                nodes.iter().flat_map(|node| self.choose_for(*node, scratch)).collect::<Vec<ChosenLinks>>()
            })
        };
        if self.parallel(batch.len()) {
            batch.par_chunks(TAKEN).map(choose).flatten_iter().collect()
        } else {
            choose(batch)
        }
    }

    fn choose_for(&self, node: u32, scratch: &mut Scratch) -> Vec<ChosenLinks> {
        let top = self.layers.top_level(node);
        let mut entry = 0;
        for links in self.layers.levels[top + 1..].iter().rev() {
            entry = greedy(self.points, links, node, entry, scratch);
        }
        let width = self.params.ef_construction * WIDTH_EIGHTHS / 8;
        let mut chosen = Vec::with_capacity(top + 1);
        for level in (0..=top).rev() {
            let links = &self.layers.levels[level];
            search_layer(self.points, links, node, entry, width.max(1), scratch);
            select(self.points, &scratch.found, links.capacity(), &mut scratch.kept);
            entry = scratch.kept.first().copied().unwrap_or(0);
            chosen.push(ChosenLinks { node, level, list: scratch.kept.clone() });
        }
        chosen
    }

    /// Adds links to lists of one level. A list that becomes too long is selected from.
    fn link_back(&mut self, level: usize, mut back: Vec<LinkBack>) {
        back.sort_unstable();
        let mut groups: Vec<Range<usize>> = Vec::with_capacity(back.len());
        for group in back.chunk_by(|a, b| a.0 == b.0) {
            let start = groups.last().map_or(0, |group| group.end);
            groups.push(start..start + group.len());
        }
        // The links are taken out, so that lists can change while the rest of `self` is read.
        let mut links = std::mem::replace(&mut self.layers.levels[level], Links::new(0, 0));
        self.link_groups(links.rows(), &back, &groups);
        self.layers.levels[level] = links;
    }

    /// Links groups of one level. Each half of the groups gets its half of the lists, until few groups are left.
    fn link_groups(&self, mut rows: LinkRows<'_>, back: &[LinkBack], groups: &[Range<usize>]) {
        if self.parallel(groups.len()) {
            let (low, high) = groups.split_at(groups.len() / 2);
            let (low_rows, high_rows) = rows.split_at(back[high[0].start].0);
            rayon::join(|| self.link_groups(low_rows, back, low), || self.link_groups(high_rows, back, high));
            return;
        }
        self.with_scratch(|scratch| {
            for group in groups {
                let links = &back[group.clone()];
                self.link_one(&mut rows, links[0].0, links, scratch);
            }
        });
    }

    fn link_one(&self, rows: &mut LinkRows<'_>, node: u32, back: &[LinkBack], scratch: &mut Scratch) {
        let more = || back.iter().map(|(_, other)| *other);
        if !rows.append(node, more()) {
            scratch.rank(self.points, node, rows.of(node).iter().copied().chain(more()));
            select(self.points, &scratch.found, rows.capacity(), &mut scratch.kept);
            rows.replace(node, &scratch.kept);
        }
    }
}
