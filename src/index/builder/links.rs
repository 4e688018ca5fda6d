//! The lists of one level in one flat array: `capacity` places per node, of which the first `count` are in use.
//! Invariant: no list holds its own node or a node twice, provided that `append` and `replace` get none.

use crate::index::kernel::prefer_large_pages;

/// Lists of nodes 0, 1, …
#[derive(Debug)]
pub struct Links {
    capacity: usize,
    places: Vec<u32>,
    counts: Vec<u16>,
}

impl Links {
    /// Empty lists for `nodes`, each with room for `capacity` ≤ 65,535.
    pub fn new(nodes: usize, capacity: usize) -> Links {
        let mut places: Vec<u32> = Vec::with_capacity(nodes * capacity);
        prefer_large_pages(places.as_ptr().cast(), nodes * capacity * size_of::<u32>());
        places.resize(nodes * capacity, 0);
        Links { capacity, places, counts: vec![0; nodes] }
    }

    /// The neighbours of `node`; empty past the end.
    #[inline]
    pub fn of(&self, node: u32) -> &[u32] {
        let (node, count) = (node as usize, self.counts.get(node as usize).copied().unwrap_or(0));
        self.places.get(node * self.capacity..node * self.capacity + usize::from(count)).unwrap_or_default()
    }

    /// How many nodes have a list here.
    pub fn nodes(&self) -> usize {
        self.counts.len()
    }

    /// The most nodes in a list.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// All lists, for changes.
    pub fn rows(&mut self) -> LinkRows<'_> {
        LinkRows { first: 0, capacity: self.capacity, places: &mut self.places, counts: &mut self.counts }
    }
}

/// The lists of consecutive nodes, for changes by one thread.
#[derive(Debug)]
pub struct LinkRows<'a> {
    first: u32,
    capacity: usize,
    places: &'a mut [u32],
    counts: &'a mut [u16],
}

impl<'a> LinkRows<'a> {
    /// The lists before those of `node`, and the others.
    pub fn split_at(self, node: u32) -> (LinkRows<'a>, LinkRows<'a>) {
        let at = ((node - self.first) as usize).min(self.counts.len());
        let (places, other_places) = self.places.split_at_mut(at * self.capacity);
        let (counts, other_counts) = self.counts.split_at_mut(at);
        let capacity = self.capacity;
        let others = LinkRows { first: self.first + at as u32, capacity, places: other_places, counts: other_counts };
        (LinkRows { first: self.first, capacity, places, counts }, others)
    }

    /// The most nodes in a list.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn of(&self, node: u32) -> &[u32] {
        let at = (node - self.first) as usize;
        &self.places[at * self.capacity..][..usize::from(self.counts[at])]
    }

    /// Appends to a list. If there is too little room, returns false and adds nothing.
    pub fn append(&mut self, node: u32, more: impl ExactSizeIterator<Item = u32>) -> bool {
        let at = (node - self.first) as usize;
        let count = usize::from(self.counts[at]);
        let fits = count + more.len() <= self.capacity;
        if fits {
            self.counts[at] += more.len() as u16;
            let places = &mut self.places[at * self.capacity + count..];
            places.iter_mut().zip(more).for_each(|(place, node)| *place = node);
        }
        fits
    }

    /// Sets a list to the first `capacity` of `list`.
    pub fn replace(&mut self, node: u32, list: &[u32]) {
        let at = (node - self.first) as usize;
        let count = list.len().min(self.capacity);
        self.counts[at] = count as u16;
        self.places[at * self.capacity..][..count].copy_from_slice(&list[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_to_their_capacity_and_no_further() {
        let mut links = Links::new(3, 2);
        assert!(links.rows().append(1, [7, 8].into_iter()));
        assert!(!links.rows().append(1, [9].into_iter()));
        links.rows().replace(2, &[4, 5, 6]);
        assert_eq!((links.of(0), links.of(1), links.of(2), links.of(3)), (&[][..], &[7, 8][..], &[4, 5][..], &[][..]));
    }

    #[test]
    fn parts_of_the_rows_are_changed_on_their_own() {
        let mut links = Links::new(5, 1);
        let (mut low, high) = links.rows().split_at(2);
        let (mut middle, mut high) = high.split_at(4);
        low.replace(1, &[10]);
        middle.replace(2, &[20]);
        high.replace(4, &[40]);
        assert_eq!((links.of(1), links.of(2), links.of(3), links.of(4)), (&[10][..], &[20][..], &[][..], &[40][..]));
    }
}
