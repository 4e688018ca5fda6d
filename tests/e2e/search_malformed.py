"""Malformed searches and sparse vectors: the body as text, the status, and words of the message.

Searches are sent to the collection of `search_table`: dimension 2, sparse keys `sp` and `bm`.
"""

from __future__ import annotations


def one(search: str) -> str:
    """A request of one search."""
    return f'{{"searches":[{search}]}}'


def ranked(rank: str) -> str:
    return one(f'{{"rank":{rank}}}')


def knn(members: str) -> str:
    return ranked(f'{{"$knn":{{{members}}}}}')


def sparse(query: str, members: str = '"key":"sp"') -> str:
    return knn(f'"query":{query},{members}')


def filtered(clause: str) -> str:
    return one(f'{{"filter":{clause}}}')


def grouped(keys: str, aggregate: str) -> str:
    return one(f'{{"rank":{{"$knn":{{"query":[0,0]}}}},"group_by":{{"keys":{keys},"aggregate":{aggregate}}}}}')


def by(keys: str, k: str) -> str:
    return f'{{"$min_k":{{"keys":{keys},"k":{k}}}}}'


def nested(levels: int) -> str:
    return ranked('{"$abs":' * levels + '{"$val":1}' + "}" * levels)


def many(item: str, count: int) -> str:
    return ",".join([item] * count)


LONG = ",".join(map(str, range(65_537)))
LENGTHS = "Sparse vector indices, values, and tokens (when present) must have the same length"
ORDER = "Sparse vector indices must be sorted in strictly ascending order"
DISABLED = "with type 'SparseVector' because indexing is disabled"
WHERE = "Invalid where clause"
BOTH = "group_by keys and aggregate must both be specified or both be omitted"

SEARCHES: list[tuple[str, int, str]] = [
    # The request.
    ("", 400, ""),
    ("{", 400, ""),
    ("[]", 422, ""),
    ("{}", 422, "searches"),
    ('{"searches":null}', 422, "searches"),
    ('{"searches":{}}', 422, "searches"),
    ('{"searches":[null]}', 422, "searches"),
    ('{"searches":[5]}', 422, "searches"),
    ('{"searches":["text"]}', 422, "searches"),
    ('{"searches":[],"searches":[]}', 422, "searches"),
    ('{"searches":[],"read_level":null}', 400, "read_level"),
    ('{"searches":[],"read_level":"all"}', 422, "read_level"),
    ('{"searches":[],"read_level":5}', 400, "read_level"),
    (f'{{"searches":[{many("{}", 101)}]}}', 400, "100"),
    ('{"searches":[{},{"limit":5}]}', 422, "searches[1].limit"),
    # Members.
    (one('{"group_by":null}'), 422, "searches[0].group_by"),
    (one('{"limit":null}'), 422, "searches[0].limit"),
    (one('{"select":null}'), 422, "searches[0].select"),
    (one('{"limit":{},"limit":{}}'), 422, "limit"),
    (one('{"limit":5}'), 422, "searches[0].limit"),
    (one('{"limit":{"limit":-1}}'), 422, "searches[0].limit.limit"),
    (one('{"limit":{"limit":3.0}}'), 422, "searches[0].limit.limit"),
    (one('{"limit":{"limit":4294967296}}'), 422, "searches[0].limit.limit"),
    (one('{"limit":{"limit":"5"}}'), 422, "searches[0].limit.limit"),
    (one('{"limit":{"offset":null}}'), 422, "searches[0].limit.offset"),
    (one('{"limit":{"offset":-1}}'), 422, "searches[0].limit.offset"),
    (one('{"select":["n"]}'), 422, "searches[0].select"),
    (one('{"select":{"keys":null}}'), 422, "searches[0].select.keys"),
    (one('{"select":{"keys":"n"}}'), 422, "searches[0].select.keys"),
    (one('{"select":{"keys":[1]}}'), 422, "searches[0].select.keys[0]"),
    (one('{"select":{"keys":["#embedding",null]}}'), 422, "searches[0].select.keys[1]"),
    # Filters.
    (filtered("[]"), 422, WHERE),
    (filtered('"text"'), 422, WHERE),
    (filtered("5"), 422, WHERE),
    (filtered('{"a":1,"b":2}'), 422, WHERE),
    (filtered('{"a":{"$gt":1,"$lt":2}}'), 422, WHERE),
    (filtered('{"a":{"$gt":"x"}}'), 422, WHERE),
    (filtered('{"a":{"$near":1}}'), 422, WHERE),
    (filtered('{"a":{"$in":[]}}'), 422, WHERE),
    (filtered('{"a":{"$in":[1,"x"]}}'), 422, WHERE),
    (filtered('{"a":null}'), 422, WHERE),
    (filtered('{"$not":{"a":1}}'), 422, WHERE),
    (filtered('{"$and":{"a":1}}'), 422, WHERE),
    (filtered('{"$and":[{}]}'), 422, WHERE),
    (filtered('{"#id":{"$gt":"a"}}'), 422, WHERE),
    (filtered('{"#id":{"$lte":1}}'), 422, WHERE),
    (filtered('{"#document":{"$contains":5}}'), 422, WHERE),
    (filtered('{"#document":{"$regex":"("}}'), 422, "Regex"),
    (filtered('{"sp":{"$eq":{"indices":[1],"values":[1]}}}'), 422, WHERE),
    (filtered('{"query_ids":["a"],"where_clause":null}'), 422, WHERE),
    (filtered('{"#document":"red"}'), 400, "Cannot filter using metadata key '#document' with type 'Str'"),
    # Rank expressions.
    (ranked("{}"), 400, ""),
    (ranked("5"), 400, ""),
    (ranked("[]"), 400, ""),
    (ranked('"$val"'), 422, "rank"),
    (ranked('{"$add":[]}'), 422, "$add"),
    (ranked('{"$val":1,"$abs":{"$val":1}}'), 400, ""),
    (ranked('{"$val":null}'), 422, "searches[0].rank.$val"),
    (ranked('{"$val":"1"}'), 422, "searches[0].rank.$val"),
    (ranked('{"$val":true}'), 422, "searches[0].rank.$val"),
    (ranked('{"$val":1e40}'), 400, "searches[0].rank.$val"),
    (ranked('{"$val":-1e40}'), 400, "searches[0].rank.$val"),
    (ranked('{"$val":1e400}'), 400, "searches[0].rank.$val"),
    (ranked('{"$sum":null}'), 422, "searches[0].rank.$sum"),
    (ranked('{"$sum":{"$val":1}}'), 422, "searches[0].rank.$sum"),
    (ranked('{"$sum":[1]}'), 400, "searches[0].rank.$sum[0]"),
    (ranked('{"$sub":{"left":{"$val":1}}}'), 422, "right"),
    (ranked('{"$div":{"right":{"$val":1}}}'), 422, "left"),
    (ranked('{"$sub":[{"$val":1}]}'), 422, "searches[0].rank.$sub"),
    (ranked('{"$log":[{"$val":1}]}'), 400, "searches[0].rank.$log"),
    (ranked('{"$exp":null}'), 400, "searches[0].rank.$exp"),
    (nested(64), 400, "at most 64"),
    (nested(200), 400, ""),
    (ranked(f'{{"$sum":[{many("""{"$knn":{"query":[0,0]}}""", 65)}]}}'), 400, "at most 64 $knn"),
    (ranked(f'{{"$sum":[{many("""{"$val":1}""", 1_001)}]}}'), 400, "at most 1000"),
    # Leaves.
    (knn(""), 422, "query"),
    (knn('"query":null'), 422, "searches[0].rank.$knn.query"),
    (knn('"query":"text"'), 422, "searches[0].rank.$knn.query"),
    (knn('"query":5'), 422, "searches[0].rank.$knn.query"),
    (knn('"query":[0,null]'), 422, "searches[0].rank.$knn.query"),
    (knn('"query":[0,"1"]'), 422, "searches[0].rank.$knn.query"),
    (knn('"query":[0,1e40]'), 400, "searches[0].rank.$knn.query"),
    (knn('"query":[0,0,0]'), 400, "Collection expecting embedding with dimension of 2, got 3"),
    (knn('"query":[]'), 400, "Collection expecting embedding with dimension of 2, got 0"),
    (knn('"query":[0,0],"key":"sp"'), 400, "key"),
    (knn('"query":[0,0],"key":null'), 422, "searches[0].rank.$knn.key"),
    (knn('"query":[0,0],"limit":null'), 422, "searches[0].rank.$knn.limit"),
    (knn('"query":[0,0],"limit":-1'), 422, "searches[0].rank.$knn.limit"),
    (knn('"query":[0,0],"limit":1.5'), 422, "searches[0].rank.$knn.limit"),
    (knn('"query":[0,0],"limit":4294967296'), 422, "searches[0].rank.$knn.limit"),
    (knn('"query":[0,0],"return_rank":null'), 422, "searches[0].rank.$knn.return_rank"),
    (knn('"query":[0,0],"return_rank":1'), 422, "searches[0].rank.$knn.return_rank"),
    (knn('"query":[0,0],"default":"1"'), 422, "searches[0].rank.$knn.default"),
    (knn('"query":[0,0],"default":1e40'), 400, "searches[0].rank.$knn.default"),
    # Sparse queries.
    (sparse('{"indices":[1]}'), 422, "values"),
    (sparse('{"values":[1]}'), 422, "indices"),
    (sparse('{"indices":[-1],"values":[1]}'), 422, "searches[0].rank.$knn.query"),
    (sparse('{"indices":[1.0],"values":[1]}'), 422, "searches[0].rank.$knn.query"),
    (sparse('{"indices":[4294967296],"values":[1]}'), 422, "searches[0].rank.$knn.query"),
    (sparse('{"indices":["1"],"values":[1]}'), 422, "searches[0].rank.$knn.query"),
    (sparse('{"indices":[1],"values":[null]}'), 422, "searches[0].rank.$knn.query"),
    (sparse('{"#type":"dense","indices":[1],"values":[1]}'), 422, "#type"),
    (sparse('{"indices":[1],"values":[1],"tokens":[1]}'), 422, "searches[0].rank.$knn.query"),
    (sparse('{"indices":[1],"values":[1e40]}'), 400, "searches[0].rank.$knn.query"),
    (sparse('{"indices":[1,2],"values":[1]}'), 400, LENGTHS),
    (sparse('{"indices":[1],"values":[1],"tokens":[]}'), 400, LENGTHS),
    (sparse('{"indices":[2,1],"values":[1,1]}'), 400, ORDER),
    (sparse('{"indices":[1,1],"values":[1,1]}'), 400, ORDER),
    (sparse(f'{{"indices":[{LONG}],"values":[]}}'), 400, "65536"),
    (sparse('{"indices":[1],"values":[1]}', '"key":"cat"'), 400, f"metadata key 'cat' {DISABLED}"),
    (sparse('{"indices":[1],"values":[1]}', '"key":"#embedding"'), 400, f"metadata key '#embedding' {DISABLED}"),
    (sparse('{"indices":[1],"values":[1]}', '"limit":5'), 400, f"metadata key '#embedding' {DISABLED}"),
    (
        ranked('{"$sum":[{"$val":1},{"$knn":{"query":{"indices":[1],"values":[1]},"key":"no"}}]}'),
        400,
        f"metadata key 'no' {DISABLED}",
    ),
    # Groups.
    (grouped('["cat"]', "null"), 400, BOTH),
    (grouped("[]", by('["n"]', "1")), 400, BOTH),
    (grouped('["#score"]', by('["n"]', "1")), 400, "group_by keys must be metadata fields"),
    (grouped('["cat","#document"]', by('["n"]', "1")), 400, "group_by keys must be metadata fields"),
    (grouped('["cat"]', by("[]", "1")), 400, "aggregate keys must not be empty"),
    (grouped('["cat"]', by('["n"]', "0")), 400, "aggregate k must be greater than 0"),
    (grouped('["cat"]', by('["#embedding"]', "1")), 400, "aggregate keys must be metadata fields or #score"),
    (grouped('["cat"]', by('["n"]', "-1")), 422, "searches[0].group_by"),
    (grouped('["cat"]', by('["n"]', "null")), 422, "searches[0].group_by"),
    (grouped('["cat"]', '{"$avg_k":{"keys":["n"],"k":1}}'), 422, "$avg_k"),
    (grouped('["cat"]', "{}"), 400, "searches[0].group_by"),
    (grouped("null", "null"), 422, "searches[0].group_by.keys"),
    (grouped('"cat"', by('["n"]', "1")), 422, "searches[0].group_by.keys"),
    (
        one(f'{{"group_by":{{"keys":["cat"],"aggregate":{by("""["n"]""", "1")}}}}}'),
        400,
        "searches[0].__all__: group_by requires rank expression to be specified",
    ),
]


def added(value: str) -> str:
    """An add of one record with this value under `sp`."""
    return f'{{"ids":["z"],"embeddings":[[0,0]],"metadatas":[{{"sp":{value}}}]}}'


INVALID = "Invalid metadata at index 0"

# Sparse vectors as values of an add.
VALUES: list[tuple[str, int, str]] = [
    (added('{"#type":"sparse_vector","indices":[1]}'), 422, "metadatas[0]"),
    (added('{"#type":"sparse_vector","values":[1]}'), 422, "metadatas[0]"),
    (added('{"#type":"other","indices":[1],"values":[1]}'), 422, "metadatas[0]"),
    (added('{"#type":"sparse_vector","indices":[-1],"values":[1]}'), 422, "metadatas[0]"),
    (added('{"#type":"sparse_vector","indices":[1.5],"values":[1]}'), 422, "metadatas[0]"),
    (added('{"#type":"sparse_vector","indices":[4294967296],"values":[1]}'), 422, "metadatas[0]"),
    (added('{"#type":"sparse_vector","indices":[1],"values":["1"]}'), 422, "metadatas[0]"),
    (added('{"#type":"sparse_vector","indices":[1],"values":[1],"tokens":[1]}'), 422, "metadatas[0]"),
    (added('[{"#type":"sparse_vector","indices":[1],"values":[1]}]'), 422, "metadatas[0]"),
    (added('{"a":1}'), 422, "metadatas[0]"),
    (added('{"#type":"sparse_vector","indices":[1,2],"values":[1]}'), 400, INVALID),
    (added('{"#type":"sparse_vector","indices":[1],"values":[1],"tokens":["a","b"]}'), 400, INVALID),
    (added('{"#type":"sparse_vector","indices":[2,1],"values":[1,1]}'), 400, INVALID),
    (added('{"indices":[1,1],"values":[1,1]}'), 400, INVALID),
    (added('{"indices":[1],"values":[1e40]}'), 400, ""),
    (added(f'{{"indices":[{LONG}],"values":[{LONG}]}}'), 400, "65536"),
]
