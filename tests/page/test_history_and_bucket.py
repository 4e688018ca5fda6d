"""History and Bucket: a collection of a few versions, and what lies in the bucket."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from browser import Window, serious
from drumlin import Drumlin
from playwright.sync_api import expect

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def past(start: Callable[[dict[str, str]], Drumlin], opened: Callable[..., Window]) -> Window:
    """A window on a server on a folder. Its collection was added to, changed, and lost a record."""
    server = start({})
    server.create("notes")
    server.add("notes", [{"id": id, "embedding": [1, n], "document": f"as {id} was"} for n, id in enumerate(NAMES)])
    server.call("POST", "/api/collections/notes/update", {"records": [{"id": "b", "document": "changed"}]})
    server.delete("notes", ["c"])
    return opened(server.url)


def test_versions_are_looked_at_compared_forked_and_restored(past: Window, axe: str) -> None:
    past.go("collections", "notes", "history")
    expect(past.page.locator(".version")).to_have_count(3)
    expect(past.page.locator(".version").first.get_by_text("now")).to_be_visible()
    past.button("Compare").click()
    expect(past.page.get_by_role("link", name="c", exact=True)).to_be_visible()
    past.shot("history")
    assert not serious(past.page, axe)
    past.button("Fork from version 1").click()
    past.page.get_by_label("Name of the fork").fill("notes-before")
    past.page.locator("dialog").get_by_role("button", name="Fork").click()
    expect(past.page).to_have_url(re.compile("notes-before"))
    past.go("collections", "notes-before", "records")
    expect(past.page.get_by_text("4 records")).to_be_visible()
    past.go("collections", "notes", "history")
    past.button("Restore version 1").click()
    past.page.locator("dialog").get_by_role("button", name="Restore").click()
    expect(past.page).to_have_url(re.compile("notes/records"))
    expect(past.page.get_by_text("4 records")).to_be_visible()
    expect(past.page.get_by_text("as b was")).to_be_visible()


def test_a_collection_as_it_was_is_read_and_not_changed(past: Window) -> None:
    past.go("collections", "notes", "records", version="1", record="b")
    expect(past.page.get_by_text("as it was at version 1")).to_be_visible()
    expect(past.page.locator("dialog .prose")).to_have_text("as b was")
    assert past.button("Edit").count() == 0


def test_the_bucket_is_shown_with_its_costs(past: Window, axe: str) -> None:
    past.go("bucket")
    expect(past.page.get_by_role("rowheader", name="Cloudflare R2")).to_be_visible()
    expect(past.page.get_by_text("Objects by kind")).to_be_visible()
    by_collection = past.page.locator("section", has_text="Objects by collection")
    expect(by_collection.locator(".bar", has_text="notes")).to_contain_text("kB")
    expect(past.page.get_by_text("No segment yet")).to_be_visible()
    probe = past.page.locator("section", has_text="Last probe")
    expect(probe).to_contain_text("by drumlin")
    expect(probe.get_by_role("listitem").filter(has_text="If-None-Match")).to_be_visible()
    past.shot("bucket")
    assert not serious(past.page, axe)


def test_segments_are_shown_by_level(past: Window) -> None:
    httpx.post(f"{past.url}/api/s3/sync").raise_for_status()
    past.go("bucket")
    row = past.page.locator("section", has_text="Segments by level").get_by_role("row").filter(has_text="notes")
    expect(row.get_by_role("cell").nth(0)).to_have_text("0")
    expect(row.get_by_role("cell").nth(1)).to_have_text("1")


def test_every_object_is_checked_from_the_page_and_damage_is_told(past: Window, axe: str, tmp_path: Path) -> None:
    past.go("bucket")
    check = past.page.locator("section", has_text="Check of every object")
    expect(check.get_by_text("Nothing is written")).to_be_visible()
    past.button("Check").click()
    expect(check.get_by_text("The bucket is sound")).to_be_visible()
    check.get_by_label("What to check").select_option("notes")
    past.button("Check").click()
    expect(check.get_by_text("notes is sound")).to_be_visible()
    # One in the middle: a log that ends earlier is a valid one.
    (commit,) = (tmp_path / "server-0" / "bucket").glob("c/*/log/*2.parquet")
    commit.write_bytes(commit.read_bytes()[:-1] + b"!")
    past.button("Check").click()
    expect(check.get_by_text("The bucket is damaged")).to_be_visible()
    row = check.get_by_role("row").filter(has_text=commit.name)
    expect(row.get_by_text("damaged", exact=True)).to_be_visible()
    past.shot("check")
    assert not serious(past.page, axe)
