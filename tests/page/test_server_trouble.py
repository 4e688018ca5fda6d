"""A server that stops in the middle and comes back, and a collection that is damaged."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from browser import Window
from drumlin import Drumlin
from playwright.sync_api import expect


def test_a_restart_in_the_middle_is_told_and_the_view_comes_back(
    start: Callable[[dict[str, str]], Drumlin], opened: Callable[..., Window]
) -> None:
    server = start({})
    server.create("notes", metric="l2")
    server.add("notes", [{"id": "fog", "embedding": [1, 0]}])
    window = opened(server.url)
    window.expected |= {
        "ERR_CONNECTION_REFUSED",
        "ERR_EMPTY_RESPONSE",
        "ERR_CONNECTION_RESET",
        "ERR_SOCKET_NOT_CONNECTED",
        "503",
    }
    window.go("collections", "notes", "records")
    server.stop()
    window.page.evaluate("() => { location.hash = '#/collections/notes/search' }")
    banner = window.page.get_by_text("The server does not answer. This page tries again every second.")
    expect(banner).to_be_visible()
    window.shot("away")
    server.start()
    expect(banner).to_be_hidden(timeout=15_000)
    expect(window.page.locator("main h1")).to_have_text("notes")
    expect(window.page.get_by_role("search")).to_be_visible()


def test_a_damaged_collection_says_so_and_its_sound_part_is_forked(
    start: Callable[[dict[str, str]], Drumlin], opened: Callable[..., Window], tmp_path: Path
) -> None:
    server = start({"DRUMLIN_REREAD_S": "0.1"})
    for name in ("sound", "broken"):
        server.create(name, metric="l2")
        for id in ("fog", "silt", "dough"):
            server.add(name, [{"id": id, "embedding": [1, 0]}])
    broken = server.call("GET", "/api/collections/broken")["id"]
    server.kill()
    log = sorted(tmp_path.glob(f"server-0/bucket/**/{broken}/log/*.parquet"))
    log[1].write_bytes(log[1].read_bytes()[:20])
    server.start()
    window = opened(server.url)
    window.expected |= {"500", "503"}
    window.go("collections")
    row = window.page.get_by_role("row").filter(has_text="broken")
    expect(row).to_contain_text("damaged")
    expect(row).not_to_contain_text("in the graph")
    expect(window.page.locator(".message.bad")).to_contain_text("broken is damaged")
    window.shot("damaged")
    window.go("collections", "broken", "records")
    expect(window.page.get_by_text(re.compile("could not be shown|not ready|damaged")).first).to_be_visible()
    window.go("health")
    expect(window.page.locator(".message.bad").first).to_be_visible()
    window.go("collections", "broken", "overview")
    expect(window.page.locator(".message.bad")).to_contain_text("broken is damaged")
    window.button("Fork broken from before the damage").click()
    expect(window.page.get_by_label("Version")).to_have_value("1")
    window.page.get_by_label("Name of the fork").fill("saved")
    window.page.locator("dialog").get_by_role("button", name="Fork").click()
    expect(window.page.locator("main h1")).to_have_text("saved")
    assert set(server.records("saved")) == {"fog"}
