//! A chunk's metadata arranged by key, and the fast evaluator over it: every leaf of a filter gives a set of rows,
//! inner nodes combine sets. Documents are read only for rows that are still undecided.
//! Invariant: `evaluate` selects the rows for which `matches` is true.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, StringArray};
use roaring::RoaringBitmap;

use super::ast::{DocumentTest, Filter, Node};
use super::bitset::Bitset;
use super::evaluate::is_one_of;
use super::ingest::{Ingest, KeyEntries};
use super::literal::LiteralSearcher;
use super::pattern::Searcher;
use super::postings::Postings;
use crate::error::Result;
use crate::format::Rows;
use crate::interrupt::Interrupt;

/// How many rows one block holds: a row number inside a block is a `u16`.
pub(super) const BLOCK_ROWS: usize = 1 << 16;

/// The metadata of a chunk's rows, arranged by key for filtering. Building it reads every row's JSON once, so it
/// should be kept as long as the rows are.
#[derive(Debug)]
pub struct Columns {
    pub(super) blocks: Vec<Block>,
    rows: usize,
}

/// At most [`BLOCK_ROWS`] rows.
#[derive(Debug)]
pub(super) struct Block {
    rows: usize,
    pub(super) keys: HashMap<Box<str>, KeyColumn>,
}

/// The values of one key in a block. Lists are kept apart from scalars, since no test of values looks at both.
#[derive(Debug)]
pub(super) struct KeyColumn {
    pub(super) scalars: Postings,
    pub(super) elements: Option<Box<Postings>>,
    /// The rows that have the key and no value in either.
    without_values: Box<[u16]>,
}

impl From<KeyEntries> for KeyColumn {
    fn from(entries: KeyEntries) -> KeyColumn {
        KeyColumn {
            scalars: entries.scalars.build(),
            elements: entries.elements.map(|e| Box::new(e.build())),
            without_values: entries.without_entries.into(),
        }
    }
}

impl KeyColumn {
    /// Bytes that it holds on the heap.
    fn size_bytes(&self) -> usize {
        let elements = self.elements.as_ref().map_or(0, |e| size_of::<Postings>() + e.size_bytes());
        self.scalars.size_bytes() + elements + size_of_val(&*self.without_values)
    }

    /// Adds every row that has the key.
    fn all(&self, into: &mut Bitset) {
        self.scalars.all(into);
        if let Some(elements) = &self.elements {
            elements.all(into);
        }
        self.without_values.iter().for_each(|row| into.insert(usize::from(*row)));
    }
}

impl Columns {
    /// Reads the metadata of rows `0..metadatas.len()`, each a JSON object or null. A text that is not
    /// metadata counts as null.
    pub fn build(metadatas: &StringArray) -> Columns {
        let rows = metadatas.len();
        let starts = (0..rows).step_by(BLOCK_ROWS);
        let blocks = starts.map(|start| Block::build(metadatas, start..rows.min(start + BLOCK_ROWS))).collect();
        Columns { blocks, rows }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Approximate bytes of memory that it takes.
    pub fn size_bytes(&self) -> usize {
        size_of::<Columns>() + self.blocks.iter().map(Block::size_bytes).sum::<usize>()
    }
}

impl Block {
    fn build(metadatas: &StringArray, rows: Range<usize>) -> Block {
        let mut ingest = Ingest::default();
        for (number, row) in (0..=u16::MAX).zip(rows.clone()) {
            if let Some(text) = Rows::text(metadatas, row) {
                ingest.read(number, text);
            }
        }
        let keys = ingest.keys.into_iter().map(|(key, entries)| (key.into_boxed_str(), entries.into()));
        Block { rows: rows.len(), keys: keys.collect() }
    }

    fn size_bytes(&self) -> usize {
        let names = self.keys.keys().map(|key| key.len()).sum::<usize>();
        let values = self.keys.values().map(KeyColumn::size_bytes).sum::<usize>();
        size_of::<Block>() + self.keys.capacity() * size_of::<(Box<str>, KeyColumn)>() + names + values
    }
}

impl Filter {
    /// The rows of a chunk that match: those for which `Filter::matches_within` is true. `texts` are those of these
    /// rows.
    ///
    /// # Errors
    /// `Invalid` where a regex is too large for a document; the interrupt's error.
    pub fn evaluate(&self, columns: &Columns, texts: RowTexts<'_>, interrupt: &Interrupt) -> Result<RoaringBitmap> {
        let mut selected = RoaringBitmap::new();
        for (i, block) in columns.blocks.iter().enumerate() {
            let first_row = i * BLOCK_ROWS;
            let chunk = BlockRows { block, texts, first_row, interrupt };
            selected |= chunk.select(&self.0, &Bitset::full(block.rows))?.to_bitmap(first_row as u32);
        }
        Ok(selected)
    }
}

/// Bytes of documents read between two checks of the interrupt: under a millisecond.
const BETWEEN_LOOKS_BYTES: usize = 1 << 20;
/// The weight of a row beside its document's bytes.
const ROW_BYTES: usize = 64;

/// What filters read of a chunk's rows beside their metadata. A row past the end of an array has none.
#[derive(Debug, Clone, Copy)]
pub struct RowTexts<'a> {
    /// Of each row.
    pub ids: &'a StringArray,
    /// Nullable.
    pub documents: &'a StringArray,
}

/// A block with the texts of its rows, which begin at `first_row`.
struct BlockRows<'a> {
    block: &'a Block,
    texts: RowTexts<'a>,
    first_row: usize,
    interrupt: &'a Interrupt,
}

impl BlockRows<'_> {
    /// The rows that match `node`. The result is right for the rows of `within`, and arbitrary for others, so that
    /// costly leaves can skip these.
    fn select(&self, node: &Node, within: &Bitset) -> Result<Bitset> {
        self.interrupt.check()?;
        match node {
            Node::And(nodes) => self.select_all(nodes, within),
            Node::Or(nodes) => self.select_any(nodes, within),
            Node::Not(node) => {
                let mut rows = self.select(node, within)?;
                rows.complement();
                Ok(rows)
            }
            Node::OneOf { key, values } => Ok(self.with_scalars(key, |scalars, rows| scalars.one_of(values, rows))),
            Node::Range { key, side, limit } => {
                Ok(self.with_scalars(key, |scalars, rows| scalars.beyond(*side, *limit, rows)))
            }
            Node::Text { key, literal } => Ok(self.with_scalars(key, |scalars, rows| scalars.with_text(literal, rows))),
            Node::Contains { key, element } => {
                Ok(self.with_elements(key, |elements, rows| elements.with_element(element.as_ref(), rows)))
            }
            Node::ContainsText { key, literal } => {
                Ok(self.with_elements(key, |elements, rows| elements.with_text(literal, rows)))
            }
            Node::Exists { key } => Ok(self.with_key(key, KeyColumn::all)),
            Node::Ids(ids) => Ok(self.select_ids(ids, within)),
            Node::Document(test) => self.select_documents(test, within),
        }
    }

    /// Metadata tests come first: each narrows the rows whose documents are read afterwards.
    fn select_all(&self, nodes: &[Node], within: &Bitset) -> Result<Bitset> {
        let mut rows = within.clone();
        for node in cheap_first(nodes) {
            if rows.is_empty() {
                break;
            }
            rows.intersect(&self.select(node, &rows)?);
        }
        Ok(rows)
    }

    fn select_any(&self, nodes: &[Node], within: &Bitset) -> Result<Bitset> {
        let mut rows = Bitset::empty(self.block.rows);
        let mut open = within.clone();
        for node in cheap_first(nodes) {
            if open.is_empty() {
                break;
            }
            rows.unite(&self.select(node, &open)?);
            open.subtract(&rows);
        }
        // Rows of `within` that were no longer open are selected already. Rows outside `within` are arbitrary, so
        // they are cut.
        rows.intersect(within);
        Ok(rows)
    }

    fn with_key(&self, key: &str, test: impl FnOnce(&KeyColumn, &mut Bitset)) -> Bitset {
        let mut rows = Bitset::empty(self.block.rows);
        if let Some(column) = self.block.keys.get(key) {
            test(column, &mut rows);
        }
        rows
    }

    fn with_scalars(&self, key: &str, test: impl FnOnce(&Postings, &mut Bitset)) -> Bitset {
        self.with_key(key, |column, rows| test(&column.scalars, rows))
    }

    fn with_elements(&self, key: &str, test: impl FnOnce(&Postings, &mut Bitset)) -> Bitset {
        self.with_key(key, |column, rows| {
            if let Some(elements) = &column.elements {
                test(elements, rows);
            }
        })
    }

    fn select_ids(&self, ids: &[String], within: &Bitset) -> Bitset {
        let mut rows = Bitset::empty(self.block.rows);
        for row in within.iter().take_while(|row| self.first_row + row < self.texts.ids.len()) {
            if Rows::text(self.texts.ids, self.first_row + row).is_some_and(|id| is_one_of(id, ids)) {
                rows.insert(row);
            }
        }
        rows
    }

    fn select_documents(&self, test: &DocumentTest, within: &Bitset) -> Result<Bitset> {
        match test {
            DocumentTest::Literal(literal) => {
                let searcher = LiteralSearcher::new(literal);
                self.documents_where(within, |document| Ok(searcher.matches(document)))
            }
            DocumentTest::Matches(pattern) => {
                let mut searcher = Searcher::default();
                self.documents_where(within, |document| pattern.matches(document, &mut searcher, self.interrupt))
            }
        }
    }

    fn documents_where(&self, within: &Bitset, mut test: impl FnMut(&str) -> Result<bool>) -> Result<Bitset> {
        let mut rows = Bitset::empty(self.block.rows);
        let mut unlooked = 0;
        for row in within.iter().take_while(|row| self.first_row + row < self.texts.documents.len()) {
            let Some(document) = Rows::text(self.texts.documents, self.first_row + row) else { continue };
            unlooked += document.len() + ROW_BYTES;
            if unlooked >= BETWEEN_LOOKS_BYTES {
                self.interrupt.check()?;
                unlooked = 0;
            }
            if test(document)? {
                rows.insert(row);
            }
        }
        Ok(rows)
    }
}

/// Nodes that read no documents, then the others.
fn cheap_first(nodes: &[Node]) -> impl Iterator<Item = &Node> {
    let cheap = nodes.iter().filter(|n| !n.reads_documents());
    cheap.chain(nodes.iter().filter(|n| n.reads_documents()))
}
