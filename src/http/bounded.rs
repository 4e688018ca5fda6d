//! Lists and trees of a body, metered while they are decoded and bounded by a limit. Invariant: nothing here grows
//! before the meter has been charged.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::meter;
use crate::config::Limits;
use crate::record::MetaValue;

/// Overhead of the allocator for each block of memory.
const BLOCK_BYTES: usize = 16;
/// Bytes of a tree's map: its first entry takes room for eleven.
const MAP_BYTES: usize = 640;
const ENTRY_BYTES: usize = 112;
/// Most values, lists and objects of one tree. A filter may list 100,000 values, and a query may have as many numbers
/// as an embedding.
const TREE_VALUES: usize = 120_000;

/// The kind of a list's items, and how many there may be.
pub(super) trait ListOf {
    /// The limit, and the sentence that a refusal says about it.
    fn most(limits: &Limits) -> (usize, String);
}

macro_rules! listed {
    ($($(#[$doc:meta])* $name:ident: $most:expr, $words:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) enum $name {}

        impl ListOf for $name {
            fn most(limits: &Limits) -> (usize, String) {
                let most: fn(&Limits) -> usize = $most;
                let most = most(limits);
                (most, format!($words, most))
            }
        }
    )*};
}

listed! {
    /// Records of a write, or one of their columns.
    Records: |limits| limits.batch_records, "expected at most {} in one request (DRUMLIN_MAX_BATCH_RECORDS), got more; split it";
    /// Ids of a read or a delete.
    Ids: |limits| limits.batch_records, "expected at most {} in one request (DRUMLIN_MAX_BATCH_RECORDS), got more; split it";
    /// Query embeddings.
    Queries: |limits| limits.queries, "expected at most {} (DRUMLIN_MAX_QUERIES), got more; split the request";
    /// Indices, values or tokens of a sparse vector.
    SparseEntries: |limits| limits.sparse_entries, "expected at most {} entries of a sparse vector (DRUMLIN_MAX_SPARSE_ENTRIES), got more";
    /// Searches of one request.
    Searches: |_| 100, "expected at most {} in one request, got more; split it";
    /// Records that a search is to find others like, or unlike.
    ExampleIds: |_| 100, "expected at most {} ids, got more";
    /// Operations of one transaction.
    Operations: |_| 1_000, "expected at most {} in one transaction, got more; write several records with one";
    /// Keys that a search selects.
    Keys: |_| 1_000, "expected at most {} keys, got more";
}

/// A list with at most as many items as `L` allows.
#[derive(Debug)]
pub(super) struct List<T, L>(pub(super) Vec<T>, PhantomData<L>);

impl<T, L> From<Vec<T>> for List<T, L> {
    fn from(list: Vec<T>) -> List<T, L> {
        List(list, PhantomData)
    }
}

impl<T, L> Default for List<T, L> {
    fn default() -> List<T, L> {
        List(Vec::new(), PhantomData)
    }
}

impl<'de, T: Deserialize<'de>, L: ListOf> Deserialize<'de> for List<T, L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T, L>(PhantomData<(T, L)>);

impl<'de, T: Deserialize<'de>, L: ListOf> Visitor<'de> for ListVisitor<T, L> {
    type Value = List<T, L>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T, L>, A::Error> {
        let (most, words) = meter::limit(L::most);
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() >= most {
                return Err(meter::passed(words));
            }
            // An item that holds memory of its own has to free it.
            if std::mem::needs_drop::<T>() {
                grow(&mut list)?
            } else {
                grow_flat(&mut list)?
            }
            list.push(item);
        }
        Ok(List(list, PhantomData))
    }
}

/// Makes room for one more item, which may hold a block of its own, and charges the meter.
pub(super) fn grow<T, E: serde::de::Error>(list: &mut Vec<T>) -> Result<(), E> {
    make_room(list, BLOCK_BYTES)
}

/// Makes room for one more item that holds no memory beside the list, and charges the meter.
pub(super) fn grow_flat<T, E: serde::de::Error>(list: &mut Vec<T>) -> Result<(), E> {
    make_room(list, 0)
}

/// Charges `beside` bytes more for each new place. While a list moves, its old and its new block exist together: both
/// are charged until it has moved.
fn make_room<T, E: serde::de::Error>(list: &mut Vec<T>, beside: usize) -> Result<(), E> {
    if list.len() == list.capacity() {
        let (held, more) = (list.capacity() * size_of::<T>(), list.capacity().max(4));
        let block = held + more * size_of::<T>();
        meter::take(block + more * beside)?;
        list.reserve_exact(more);
        meter::release(held);
    }
    Ok(())
}

/// An embedding's numbers, at most as many as an embedding may have; `T` is one of them.
pub(super) fn numbers<'de, T, A>(items: &mut A) -> Result<Vec<T>, A::Error>
where
    T: Deserialize<'de>,
    A: SeqAccess<'de>,
{
    let most = meter::limit(|limits| limits.dimension);
    let mut numbers = Vec::new();
    meter::take(BLOCK_BYTES)?;
    while let Some(number) = items.next_element()? {
        if numbers.len() >= most {
            return Err(too_many_numbers(most));
        }
        grow_flat(&mut numbers)?;
        numbers.push(number);
    }
    Ok(numbers)
}

/// The refusal of an embedding of more than `most` numbers.
pub(super) fn too_many_numbers<E: serde::de::Error>(most: usize) -> E {
    meter::passed(format!("expected at most {most} numbers (DRUMLIN_MAX_DIMENSION), got more"))
}

/// Charges the meter for one more entry in a map of `entries`.
pub(super) fn grow_map<E: serde::de::Error>(entries: usize) -> Result<(), E> {
    meter::take(if entries == 0 { MAP_BYTES } else { ENTRY_BYTES })
}

/// Bytes of a value of metadata beside its entry.
pub(super) fn value_bytes(value: &MetaValue) -> usize {
    let of_texts = |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>() + BLOCK_BYTES).sum();
    match value {
        MetaValue::Str(text) => text.len() + BLOCK_BYTES,
        MetaValue::Strs(texts) => of_texts(texts),
        MetaValue::Ints(list) => size_of_val(list.as_slice()),
        MetaValue::Floats(list) => size_of_val(list.as_slice()),
        MetaValue::Bools(list) => list.len(),
        MetaValue::Sparse(vector) => vector.size_bytes() + 2 * BLOCK_BYTES,
        MetaValue::Int(_) | MetaValue::Float(_) | MetaValue::Bool(_) => 0,
    }
}

/// A JSON value whose shape is judged later: a filter, a rank, a value of metadata.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree(pub(super) Value);

impl Deref for Tree {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        let mut left = TREE_VALUES;
        serde::de::DeserializeSeed::deserialize(TreeSeed(&mut left), deserializer).map(Tree)
    }
}

/// Decodes one value of a tree. The number is how many more values the tree may have.
struct TreeSeed<'l>(&'l mut usize);

impl<'de> serde::de::DeserializeSeed<'de> for TreeSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.0.checked_sub(1) else {
            let message = format!("expected at most {TREE_VALUES} values and conditions in all; split the request");
            return Err(meter::passed(message));
        };
        *self.0 = left;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TreeSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        meter::take(value.len() + BLOCK_BYTES)?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(TreeSeed(self.0))? {
            grow(&mut list)?;
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            grow_map(map.len())?;
            let value = entries.next_value_seed(TreeSeed(self.0))?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// Numbers of an embedding in Chroma's requests; whether they are finite is checked later.
#[derive(Debug)]
pub(super) struct Floats(pub(super) Vec<f32>);

impl<'de> Deserialize<'de> for Floats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Floats, D::Error> {
        struct FloatsVisitor;

        impl<'de> Visitor<'de> for FloatsVisitor {
            type Value = Floats;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Floats, A::Error> {
                numbers(&mut items).map(Floats)
            }
        }

        deserializer.deserialize_seq(FloatsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::meter::Meter;
    use super::*;
    use crate::config::{Settings, Storage};
    use crate::error::ErrorKind;
    use crate::memory::{MemoryLimit, Purpose};
    use crate::store::Store;

    fn decode<T: for<'de> Deserialize<'de>>(meter: &mut Meter, json: &str) -> Result<T, Option<ErrorKind>> {
        let decoded = meter.run(|| serde_json::from_str(json));
        decoded.map_err(|_| meter.fault().map(|fault| fault.kind()))
    }

    #[test]
    fn a_tree_is_the_value_that_serde_reads() {
        for json in [
            json!({"a": {"$in": [1, -2, 1.5, "x", null, true, 18_446_744_073_709_551_615_u64]}, "b": {}}),
            json!([[], [[1e300]], {"k": {"k": {"k": "ü\n"}}}]),
            json!("text"),
            json!(null),
        ] {
            assert_eq!(serde_json::from_str::<Tree>(&json.to_string()).unwrap().0, json);
        }
    }

    #[test]
    fn decoding_stops_at_the_first_value_over_a_limit() {
        let limits = Limits { batch_records: 3, dimension: 2, ..Limits::default() };
        let mut meter = Meter::new(limits, None);
        assert_eq!(decode::<List<u8, Ids>>(&mut meter, "[1,2,3]").map(|list| list.0), Ok(vec![1, 2, 3]));
        // The decoder does not reach the invalid JSON after the limit.
        assert_eq!(decode::<List<u8, Ids>>(&mut meter, "[1,2,3,4,!").map(|list| list.0), Err(Some(ErrorKind::Limit)));
        assert_eq!(decode::<List<u8, Ids>>(&mut meter, "[1,2,!").map(|list| list.0), Err(None));
        assert_eq!(decode::<Floats>(&mut meter, "[1,2,3,!").map(|floats| floats.0), Err(Some(ErrorKind::Limit)));
        let long = format!("[{}!", "1,".repeat(TREE_VALUES));
        assert_eq!(decode::<Tree>(&mut meter, &long).map(|tree| tree.0), Err(Some(ErrorKind::Limit)));
        let deep = "{\"a\":".repeat(1000);
        assert_eq!(decode::<Tree>(&mut meter, &deep).map(|tree| tree.0), Err(None), "serde's own limit of depth");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn decoding_stops_where_there_is_no_memory_for_more() {
        let mut settings = Settings::new(Storage::Memory);
        settings.memory_limit = Some(MemoryLimit { bytes: 16 << 20, whole_process: false });
        settings.timing.room_patience = std::time::Duration::ZERO;
        let store = Store::open(settings).await.unwrap();
        let maps = format!("[{}{{}}]", "{\"a\":1},".repeat(50_000));
        let mut meter = Meter::new(Limits::default(), Some(store.room(Purpose::Read)));
        assert_eq!(decode::<Tree>(&mut meter, &maps).map(|tree| tree.0), Err(Some(ErrorKind::NoRoom)));
        drop(meter);
        let few = format!("[{}{{}}]", "{\"a\":1},".repeat(1_000));
        let mut meter = Meter::new(Limits::default(), Some(store.room(Purpose::Read)));
        assert!(decode::<Tree>(&mut meter, &few).is_ok());
        let room = meter.into_room().unwrap();
        assert!(room.bytes() > 500_000, "{}", room.bytes());
    }

    /// An item that is wider than what the allocator takes for a block.
    struct Wide(#[allow(dead_code)] [u8; 256]);

    impl<'de> Deserialize<'de> for Wide {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Wide, D::Error> {
            u8::deserialize(deserializer).map(|byte| Wide([byte; 256]))
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_list_that_moves_is_charged_for_its_old_block_and_its_new_one_until_it_has_moved() {
        const ITEMS: usize = 1 << 12;
        let mut settings = Settings::new(Storage::Memory);
        settings.memory_limit = Some(MemoryLimit { bytes: 1 << 30, whole_process: false });
        let store = Store::open(settings).await.unwrap();
        let limits = || Limits { batch_records: 2 * ITEMS, ..Limits::default() };
        let charged = |json: &str| {
            let mut meter = Meter::new(limits(), Some(store.room(Purpose::Read)));
            let decoded = decode::<Vec<List<Wide, Records>>>(&mut meter, json);
            drop(decoded.unwrap());
            meter.into_room().unwrap().bytes()
        };
        let list = format!("[{}0]", "0,".repeat(ITEMS));
        // With the last item the list moves from a block for `ITEMS` to one for twice as many.
        let (held, peak) = ((2 * ITEMS * size_of::<Wide>()) as u64, (3 * ITEMS * size_of::<Wide>()) as u64);
        let one = charged(&format!("[{list}]"));
        assert!(one + (64 << 10) >= peak, "{one} of {peak}");
        let ten = charged(&format!("[{}]", [list.as_str(); 10].join(",")));
        assert!(ten >= 10 * held && ten < 9 * held + 2 * peak, "{ten}: the old blocks are free by then");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn numbers_are_charged_before_they_are_held() {
        let limits = Limits { dimension: 1 << 20, ..Limits::default() };
        let mut settings = Settings::new(Storage::Memory);
        settings.memory_limit = Some(MemoryLimit { bytes: 2 << 20, whole_process: false });
        settings.timing.room_patience = std::time::Duration::ZERO;
        let store = Store::open(settings).await.unwrap();
        let mut meter = Meter::new(limits, Some(store.room(Purpose::Read)));
        // The invalid JSON behind the numbers is never reached.
        let many = format!("[{}!", "1,".repeat(1 << 20));
        assert_eq!(decode::<Floats>(&mut meter, &many).map(|floats| floats.0), Err(Some(ErrorKind::NoRoom)));
    }
}
