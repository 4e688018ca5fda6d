"""Records, files and answers that are hostile markup are shown as text everywhere."""

from __future__ import annotations

import data
from browser import Window
from playwright.sync_api import expect


def untouched(window: Window) -> None:
    assert window.page.evaluate("window.hit") is None
    assert (
        window.page.locator(
            "main img, dialog img, main script, dialog script, svg[onload], [onerror], main b:text-is('gnp.exe')"
        ).count()
        == 0
    )


def test_hostile_records_are_text_in_every_view(window: Window) -> None:
    text = data.HOSTILE[0]
    for view, query in [
        ("records", {"columns": '["document", "uri", "theme"]'}),
        ("search", {"text": "fog"}),
        ("search", {"by": "record", "like": f'["{text}"]'}),
        ("overview", {}),
    ]:
        window.go("collections", "hostile", view, **query)
        # A record that others are to be like is not among them.
        expect(window.page.locator("main")).to_contain_text(data.HOSTILE[2] if "like" in query else text)
        untouched(window)
    for hostile in data.HOSTILE[:4]:
        window.go("collections", "hostile", "records", record=hostile)
        expect(window.page.locator("dialog h2")).to_have_text(hostile)
        expect(window.page.locator("dialog .prose")).to_contain_text("fog")
        untouched(window)
        window.button("Edit").click()
        expect(window.page.get_by_label("Document", exact=True)).to_have_value(f"{hostile} fog")
        untouched(window)


def test_hostile_names_in_the_address_are_text(window: Window) -> None:
    window.expected |= {"400", "404"}
    for text in data.HOSTILE[:3]:
        window.go("collections", text, "records")
        untouched(window)
        window.go("console", "get", text)
        untouched(window)
        window.go("collections", "demo", "records", where=text)
        untouched(window)


def test_hostile_names_of_files_are_text(window: Window) -> None:
    window.go("files")
    for text in data.HOSTILE[:2]:
        expect(window.page.get_by_role("rowheader", name=text.replace("/", "-"))).to_be_visible()
    untouched(window)


def test_hostile_answers_of_the_server_are_text(window: Window) -> None:
    message = data.HOSTILE[0] + data.HOSTILE[1]
    window.expected.add("400")
    for path in ("versions", "search", "get"):
        window.page.route(
            f"**/api/collections/demo/{path}*",
            lambda route: route.fulfill(status=400, json={"error": {"kind": "invalid", "message": message}}),
        )
    for view, query in [("history", {}), ("search", {"text": "x"}), ("records", {})]:
        window.go("collections", "demo", view, **query)
        expect(window.page.get_by_text(message).first).to_be_visible()
        untouched(window)
