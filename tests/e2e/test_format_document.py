"""The program that docs/format.md prints for reading a store without Drumlin, run as printed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import Place
from drumlin import ROOT, Drumlin
from sentences import sentences


def printed_reader() -> Callable[[str, str], Any]:
    """`records` of the document: (root, stream) → a data frame."""
    section = (ROOT / "docs" / "format.md").read_text(encoding="utf-8").split("## Reading without Drumlin")[1]
    found = re.search(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found, "docs/format.md prints no program"
    names: dict[str, Any] = {}
    exec(found[1], names)
    return names["records"]


def test_the_printed_program_reads_what_the_server_holds(
    place: Place, start: Callable[..., Drumlin], tmp_path: Path
) -> None:
    server = start({**place.settings, "DRUMLIN_FLUSH_COMMITS": "8"})
    server.create("sentences", metric="cosine")
    server.add("sentences", sentences()[:200])
    for row in sentences()[200:230]:
        server.add("sentences", [row])
    server.upsert("sentences", [{**sentences()[3], "document": "changed"}])
    server.delete("sentences", [sentences()[7]["id"], sentences()[201]["id"]])
    server.call("POST", "/api/s3/sync")
    server.upsert("sentences", [{**sentences()[5], "document": "changed after the flush"}])
    expected = list(server.records("sentences").values())
    assert len(expected) == 228

    copy = tmp_path / "copy"
    for key, body in place.objects().items():
        (copy / key).parent.mkdir(parents=True, exist_ok=True)
        (copy / key).write_bytes(body)
    records = printed_reader()
    catalog = records(str(copy), "catalog")
    named = {json.loads(row.metadata)["name"]: row.id.removeprefix("c:") for row in catalog.itertuples()}
    frame = records(str(copy), f"c/{named['sentences']}")
    assert list(frame["id"]) == [record["id"] for record in expected]
    assert list(frame["document"]) == [record["document"] for record in expected]
    assert [json.loads(text) for text in frame["metadata"]] == [record["metadata"] for record in expected]
    assert json.loads((copy / f"c/{named['sentences']}/HEAD").read_text())["segs"], "nothing was flushed"
