"""What users of the last Python client for `/api/v1` do with a server.   python walk_through.py PORT

Prints what every call answered or raised, as one JSON object. A name that ends with a star is a call that Chroma 0.5.23
refuses to its own older clients."""

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import chromadb

# By cosine distance to [1, 0, 0] every record has its own place.
RECORDS = {
    "ids": ["oak", "pine", "rose", "moss"],
    "embeddings": [[1.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [-1.0, 0.2, 0.1]],
    "documents": ["a tall tree with lobed leaves", "a tall tree with needles", "a shrub with red flowers", "a carpet"],
    "metadatas": [
        {"kind": "tree", "height": 30},
        {"kind": "tree", "height": 35.5},
        {"kind": "shrub", "height": 2},
        {"kind": "moss", "flat": True, "height": 0},
    ],
}
QUERY = [[1.0, 0.0, 0.0]]
EVERYTHING = ["documents", "embeddings", "metadatas", "uris"]

told: dict[str, Any] = {}


def plain(value: Any) -> Any:
    """A value as JSON has it: distances without their noise, the columns that were answered in one order."""
    if isinstance(value, dict):
        return {key: sorted(map(plain, item)) if key == "included" else plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return round(value, 5)
    return getattr(value, "value", value)


def tell(name: str, call: Callable[[], Any]) -> Any:
    try:
        answer = call()
    except Exception as error:
        told[name] = {"raised": type(error).__name__, "words": str(error).split(" (trace ID")[0]}
        return None
    told[name] = plain(answer) if isinstance(answer, (dict, int, bool, str, type(None))) else str(type(answer).__name__)
    return answer


def collections(client: Any) -> Any:
    tell("get of no collection", lambda: client.get_collection("plants", embedding_function=None))
    spring, autumn = {"hnsw:space": "cosine", "season": "spring"}, {"season": "autumn"}
    made = tell("create", lambda: client.create_collection("plants", metadata=spring, embedding_function=None))
    tell("create again", lambda: client.create_collection("plants", embedding_function=None))
    again = client.get_or_create_collection("plants", metadata=autumn, embedding_function=None)
    told["it is the same"] = [again.id == made.id, again.metadata]
    client.get_or_create_collection("another", embedding_function=None)
    told["list"] = sorted(each if isinstance(each, str) else each.name for each in client.list_collections())
    tell("count of collections", client.count_collections)
    return made


def writes(plants: Any) -> None:
    tell("add", lambda: plants.add(**RECORDS))
    tell("add again", lambda: plants.add(ids=["oak"], embeddings=[[9.0, 9.0, 9.0]]))
    tell("count", plants.count)
    changed = {"ids": ["oak", "fern"], "embeddings": [[0.9, 0.0, 0.1], [0.5, 0.5, 0.5]], "documents": ["old", "new"]}
    tell("upsert", lambda: plants.upsert(**changed))
    tell("update", lambda: plants.update(ids=["rose", "nothing"], metadatas=[{"height": 3}, {"height": 4}]))
    tell("add of another dimension", lambda: plants.upsert(ids=["flat"], embeddings=[[1.0, 2.0]]))
    tell("get after writes", lambda: plants.get(include=EVERYTHING))
    tell("delete by ids", lambda: plants.delete(ids=["fern"]))
    tell("delete by a filter", lambda: plants.delete(where={"kind": "moss"}))
    tell("delete of nothing", lambda: plants.delete(where={"kind": "lichen"}))
    tell("count after deletes", plants.count)


def reads(plants: Any) -> None:
    tell("get", lambda: plants.get())
    tell("get by ids", lambda: plants.get(ids=["rose", "oak", "nothing"], include=["metadatas"]))
    tell("get of a page", lambda: plants.get(limit=1, offset=1))
    tell("get by filters", lambda: plants.get(where={"height": {"$gt": 2}}, where_document={"$contains": "tree"}))
    tell("get by two filters", lambda: plants.get(where={"$or": [{"kind": "shrub"}, {"height": {"$lt": 31}}]}))
    tell("get by a filter that is none", lambda: plants.get(where={"kind": {"$like": "tree"}}))
    tell("peek*", lambda: plants.peek(limit=2))
    query = partial(plants.query, query_embeddings=QUERY)
    no_words = {"$not_contains": "xyz"}
    tell("query", lambda: query(n_results=2, where={"kind": {"$ne": "moss"}}, where_document=no_words))
    shrubs = {"where": {"kind": "shrub"}, "where_document": {"$contains": "red"}}
    tell("query of two", lambda: query(query_embeddings=QUERY * 2, include=[*EVERYTHING, "distances"], **shrubs))
    tell("query of another dimension", lambda: query(query_embeddings=[[1.0]], **shrubs))
    tell("query without a filter*", lambda: query(n_results=1))


def changes(client: Any, plants: Any) -> None:
    tell("rename", lambda: plants.modify(name="flora"))
    tell("new metadata", lambda: plants.modify(metadata={"season": "summer"}))
    flora = client.get_collection("flora", embedding_function=None)
    told["after the changes"] = [flora.id == plants.id, flora.metadata, flora.count()]
    tell("get by the old name", lambda: client.get_collection("plants", embedding_function=None))
    tell("delete of a collection", lambda: client.delete_collection("flora"))
    tell("delete of no collection", lambda: client.delete_collection("flora"))
    tell("count of a deleted collection", plants.count)
    told["count of a deleted collection"]["words"] = told["count of a deleted collection"]["words"].replace(
        str(plants.id), "{id}"
    )


def tenants(port: int) -> None:
    settings = chromadb.Settings(
        chroma_api_impl="chromadb.api.fastapi.FastAPI", chroma_server_host="127.0.0.1", chroma_server_http_port=port
    )
    admin = chromadb.AdminClient(settings)
    tell("get of no tenant", lambda: admin.get_tenant("gardeners"))
    tell("create a tenant", lambda: admin.create_tenant("gardeners"))
    tell("create a tenant again", lambda: admin.create_tenant("gardeners"))
    tell("create a database", lambda: admin.create_database("beds", "gardeners"))
    tell("get a tenant", lambda: admin.get_tenant("gardeners"))
    database = admin.get_database("beds", "gardeners")
    told["get a database"] = {key: value for key, value in database.items() if key != "id"}
    tell("get of no database", lambda: admin.get_database("paths", "gardeners"))
    there = chromadb.HttpClient(host="127.0.0.1", port=port, tenant="gardeners", database="beds")
    beds = there.create_collection("beds", embedding_function=None)
    # These requests name the collection's id alone.
    tell("add elsewhere", lambda: beds.add(ids=["a"], embeddings=[[1.0, 2.0]]))
    tell("get elsewhere", lambda: beds.get(include=["embeddings"]))
    told["list elsewhere"] = [each if isinstance(each, str) else each.name for each in there.list_collections()]
    there.delete_collection("beds")


def main() -> None:
    port = int(sys.argv[1])
    client = chromadb.HttpClient(host="127.0.0.1", port=port)
    tell("version", client.get_version)
    told["heartbeat"] = client.heartbeat() > 1_600_000_000_000_000_000
    plants = collections(client)
    writes(plants)
    reads(plants)
    changes(client, plants)
    tenants(port)
    client.delete_collection("another")
    print(json.dumps(told, indent=1, sort_keys=True))


main()
