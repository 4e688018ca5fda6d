"""The console: a route that destroys something, or is an administrator's, is sent only once it was confirmed."""

from __future__ import annotations

import re

from browser import Window
from drumlin import Drumlin
from playwright.sync_api import Request, expect

DATABASE = "/api/v2/tenants/{tenant}/databases/{database}"


def send(window: Window, method: str, path: str, **values: str) -> list[str]:
    """Presses Send, and notes the requests that change something from then on."""
    window.go("console", method, path, **{f"p.{name}": value for name, value in values.items()})
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.method != "GET":
            sent.append(f"{request.method} {request.url}")

    window.page.on("request", note)
    window.button("Send").click()
    return sent


def test_a_collection_is_dropped_by_typing_its_name(window: Window, server: Drumlin) -> None:
    server.create("doomed")
    sent = send(window, "delete", "/api/collections/{name}", name="doomed")
    dialog = window.page.locator("dialog")
    expect(dialog.get_by_role("heading", name="Drop doomed?")).to_be_visible()
    expect(dialog.get_by_role("button", name="Send it")).to_have_attribute("aria-disabled", "true")
    dialog.get_by_role("textbox").fill("doome")
    window.page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    assert not sent
    dialog.get_by_role("textbox").fill("doomed")
    window.page.keyboard.press("Enter")
    expect(window.page.get_by_label("Answer")).to_be_visible()
    assert len(sent) == 1 and "doomed" not in [each["name"] for each in server.call("GET", "/api/collections")]


def test_everything_that_destroys_is_asked_about(window: Window) -> None:
    for method, path, values, word in [
        ("post", "/api/v2/reset", {}, "reset"),
        ("post", "/api/v1/reset", {}, "reset"),
        ("delete", DATABASE, {"tenant": "default_tenant", "database": "default_database"}, "default_database"),
        ("delete", DATABASE + "/collections/{collection}", {"tenant": "t", "database": "d", "collection": "c"}, "c"),
        ("delete", "/api/files/{name}", {"name": "a/b.txt"}, "a/b.txt"),
        ("post", "/api/collections/{name}/delete", {"name": "demo"}, None),
        ("post", "/api/collections/{name}/restore", {"name": "demo"}, None),
        ("post", "/api/s3/sync", {}, None),
        ("post", "/api/v2/tenants", {}, None),
    ]:
        sent = send(window, method, path, **values)
        dialog = window.page.locator("dialog")
        expect(dialog).to_be_visible()
        if word:
            expect(dialog.get_by_text(f"Type “{word}” to confirm")).to_be_visible()
        window.page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        assert not sent, sent


def test_a_route_that_only_reads_is_sent_at_once(window: Window) -> None:
    sent = send(window, "post", "/api/collections/{name}/get", name="demo")
    expect(window.page.get_by_label("Answer")).to_contain_text("weather-01")
    assert len(sent) == 1


def test_the_line_of_curl_asks_for_what_is_sent(window: Window) -> None:
    window.go("console", "get", "/api/files/{name}", **{"p.name": "100%41 {x}"})
    expect(window.page.get_by_text(re.compile(r"curl \S+/api/files/100%2541%20%7Bx%7D"))).to_be_visible()
