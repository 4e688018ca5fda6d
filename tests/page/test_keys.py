"""A server with keys: asked for once, kept in memory only; a read key sees everything and changes nothing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import Window
from drumlin import Drumlin
from playwright.sync_api import expect

ADMIN, READ = "an-admin-key-of-our-own-2026", "a-reading-key-of-our-own-2026"


@pytest.fixture
def locked(start: Callable[[dict[str, str]], Drumlin], tmp_path: Path) -> Drumlin:
    entries = [
        {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest(), "scope": name}
        for name, key in (("admin", ADMIN), ("read", READ))
    ]
    (tmp_path / "keys.json").write_text(json.dumps(entries), encoding="utf-8")
    server = start({"DRUMLIN_KEY_FILE": str(tmp_path / "keys.json")})
    server.client.headers["x-api-key"] = ADMIN
    server.create("notes", metric="l2")
    server.add("notes", [{"id": "fog", "embedding": [1, 0], "document": "The fog lifted."}])
    return server


def enter(window: Window, key: str) -> None:
    window.page.locator("dialog input").fill(key)
    window.button("Use this key").click()


def test_a_key_is_asked_for_and_is_nowhere_but_in_memory(locked: Drumlin, opened: Callable[..., Window]) -> None:
    window = opened(locked.url)
    window.page.goto(f"{locked.url}/#/collections/notes/records")
    expect(window.page.get_by_role("heading", name="A key, please")).to_be_visible()
    window.shot("key")
    enter(window, "a-wrong-key-that-nobody-has")
    expect(window.page.get_by_text("The server does not know this key")).to_be_visible()
    enter(window, ADMIN)
    expect(window.page.get_by_role("gridcell", name="fog", exact=True)).to_be_visible()
    assert (
        window.page.evaluate(
            "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state])"
        ).count(ADMIN)
        == 0
    )
    assert ADMIN not in window.page.content()
    window.page.reload()
    expect(window.page.get_by_role("heading", name="A key, please")).to_be_visible()
    expect(window.page).to_have_url(re.compile("notes/records"))


def opened_to_read(locked: Drumlin, opened: Callable[..., Window]) -> Window:
    """A window on the collections, with a key that may read."""
    window = opened(locked.url)
    window.page.goto(f"{locked.url}/#/collections")
    enter(window, READ)
    expect(window.page.get_by_role("rowheader", name="notes")).to_be_visible()
    return window


def test_a_read_key_sees_everything_and_changes_nothing(locked: Drumlin, opened: Callable[..., Window]) -> None:
    window = opened_to_read(locked, opened)
    new = window.page.get_by_role("button", name="New collection")
    expect(new).to_have_attribute("aria-disabled", "true")
    new.click(force=True)
    expect(window.page.locator(".notice")).to_contain_text("a key that may write")
    expect(window.page.locator("dialog")).to_have_count(0)
    for path in (("collections", "notes", "overview"), ("files",)):
        window.page.evaluate("target => { location.hash = target }", "#/" + "/".join(path))
        window.settle()
        for name in ("Rename", "Fork", "Drop") if "notes" in path else ("Choose files",):
            expect(window.page.get_by_role("button", name=name)).to_have_attribute("aria-disabled", "true")
    window.page.evaluate("() => { location.hash = '#/collections/notes/records?record=fog' }")
    expect(window.page.get_by_role("button", name="Edit")).to_have_attribute("aria-disabled", "true")
    expect(window.page.locator("dialog .prose")).to_have_text("The fog lifted.")
    window.shot("read-key")


def test_a_mistyped_key_leaves_the_one_that_works(locked: Drumlin, opened: Callable[..., Window]) -> None:
    window = opened_to_read(locked, opened)
    change = window.page.get_by_role("button", name="Change it")
    for wrong, words in [("a-key-that-nobody-has", "does not know this key"), ("ключ", "signs of ASCII only")]:
        change.click()
        enter(window, wrong)
        expect(window.page.locator("dialog").get_by_text(words)).to_be_visible()
        window.button("Cancel").click()
        window.page.evaluate("() => { location.hash = '#/collections/notes/records' }")
        expect(window.page.get_by_role("gridcell", name="fog", exact=True)).to_be_visible()
        window.page.evaluate("() => { location.hash = '#/collections' }")
        expect(window.page.get_by_role("rowheader", name="notes")).to_be_visible()
        expect(window.page.locator("dialog")).to_have_count(0)
    change.click()
    enter(window, ADMIN)
    expect(window.page.get_by_role("button", name="Key: may do everything")).to_be_visible()
