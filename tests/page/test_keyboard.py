"""The page by keyboard alone: no click and no pointer in this file."""

from __future__ import annotations

import re
from collections.abc import Callable

from browser import Window
from drumlin import Drumlin
from playwright.sync_api import expect


def reach(window: Window, name: str, most: int = 60) -> None:
    """Presses Tab until the element with that name has the focus."""
    for _ in range(most):
        window.page.keyboard.press("Tab")
        focused = window.page.evaluate(
            """() => {
              const { innerText, placeholder } = document.activeElement;
              return (document.activeElement.getAttribute("aria-label") || innerText || placeholder || "").trim();
            }"""
        )
        if focused == name:
            return
    raise AssertionError(f"Tab does not reach {name}")


def press(window: Window, *keys: str) -> None:
    for key in keys:
        window.page.keyboard.press(key)


def test_from_the_first_view_to_a_record_and_back(window: Window) -> None:
    window.go("collections")
    window.page.evaluate("document.activeElement.blur()")
    reach(window, "Skip to the content")
    press(window, "Enter")
    reach(window, "demo")
    press(window, "Enter")
    expect(window.page.locator("main h1")).to_have_text("demo")
    expect(window.page.locator(".grid-row:not(.waiting)").first).to_be_visible()
    reach(window, "Records of demo")
    press(window, "ArrowDown", "ArrowDown", "Enter")
    expect(window.page.locator("dialog h2")).to_have_text("weather-02")
    press(window, "Escape")
    expect(window.page.locator("dialog")).to_have_count(0)
    assert window.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Records of demo"


def test_every_place_is_reached_and_titled(window: Window) -> None:
    window.go("collections")
    for name in ("Files", "Health", "Console"):
        window.page.evaluate("document.querySelector('.brand').focus()")
        reach(window, name)
        press(window, "Enter")
        expect(window.page.locator("main h1")).to_have_text(name)
        expect(window.page).to_have_title(f"{name} · Drumlin")


def test_a_search_and_a_filter_by_keyboard(window: Window) -> None:
    window.go("collections", "demo", "search")
    reach(window, "Text to search for")
    window.page.keyboard.type("fog")
    press(window, "Enter")
    expect(window.page.locator(".hit").first).to_be_visible()
    window.go("collections", "demo", "records")
    reach(window, "Filter")
    press(window, "Enter")
    reach(window, "Condition on a key")
    press(window, "Enter")
    window.page.keyboard.type("theme")
    reach(window, "Value")
    window.page.keyboard.type("weather")
    press(window, "Enter")
    expect(window.page.get_by_text(re.compile(r"\d+ records match"))).to_be_visible()


def test_a_collection_is_made_and_dropped_by_typing_its_name(window: Window, server: Drumlin) -> None:
    window.go("collections")
    reach(window, "New collection")
    press(window, "Enter")
    window.page.keyboard.type("typed")
    press(window, "Enter")
    expect(window.page.locator("main h1")).to_have_text("typed")
    window.go("collections", "typed", "overview")
    reach(window, "Drop")
    press(window, "Enter")
    window.page.keyboard.type("type")
    press(window, "Enter")
    expect(window.page.locator("dialog")).to_be_visible()
    window.page.keyboard.type("d")
    press(window, "Enter")
    expect(window.page.locator("main h1")).to_have_text("Collections")
    assert "typed" not in [each["name"] for each in server.call("GET", "/api/collections")]


def test_a_route_is_sent_from_the_console(window: Window) -> None:
    window.go("console", "get", "/api/collections/{name}/count", **{"p.name": "many"})
    reach(window, "Skip to the route")
    press(window, "Enter")
    reach(window, "Send", most=6)
    press(window, "Enter")
    expect(window.page.get_by_label("Answer")).to_contain_text('"count": 200000')
    expect(window.page.locator("main")).to_contain_text("curl http")
    expect(window.page.locator("main")).to_contain_text('httpx.request("GET"')


def test_what_has_the_focus_is_named_marked_and_in_sight_on_a_phone(
    server: Drumlin, opened: Callable[..., Window]
) -> None:
    window = opened(server.url, width=360, height=740)
    for path, query, most in [
        (("collections",), {}, 12),
        (("collections", "demo", "records"), {"filter": "1", "where": '{"theme": {"$eq": "weather"}}'}, 25),
        (("collections", "demo", "records"), {"record": "weather-01"}, 8),
        (("collections", "demo", "search"), {"text": "fog harbour"}, 25),
        (("collections", "demo", "overview"), {}, 12),
        (("files",), {}, 10),
        (("health",), {}, 12),
        (("console", "get", "/api/collections/{name}/count"), {}, 12),
    ]:
        window.go(*path, **query)
        window.walk(most)
