"""Addresses that nobody's link has: a view is shown with a sentence about what it left out, or nothing is, and no view
breaks."""

from __future__ import annotations

from browser import Window
from drumlin import Drumlin
from playwright.sync_api import expect

NOWHERE = ("constructor", "__proto__", "toString", "collections/demo/constructor", "collections/demo/__proto__")

# View, query, and what is said of it. The view is shown.
LEFT_OUT = (
    ("search", "k=1e9&text=fog", "k, has to be a whole number from 1 to 10000"),
    ("search", "ef=0&text=fog", "ef, has to be a whole number of at least 1"),
    ("search", "by=magic&text=fog", "by, has to be text or record or vector"),
    ("search", "like=3&by=record", "like, has to be a list of texts"),
    ("search", "facets=%7B%7D&text=fog", "facets, has to be a list of texts"),
    ("search", "exact=yes&text=fog", "exact, has to be 1"),
    ("records", "columns=7", "columns, has to be a list of texts"),
    ("records", "columns=null", "columns, has to be a list of texts"),
    ("map", "box=null", "box, has to be the middle and the scale"),
    ("map", "box=[0,0,-1]", "box, has to be the middle and the scale"),
    ("map", "mark=5", "mark, has to be a list of texts"),
    ("map", 'area=[[1,2],"x",3]', "area, has to be a list of three points"),
    ("history", "from=-1&to=2", "from, has to be a whole number"),
)

# View, query, and what is said of it. No record is shown.
DECIDING = (
    ("records", "where=no JSON", "where, has to be a filter in JSON"),
    ("records", "where=[1]", "where, has to be a filter in JSON"),
    ("records", "version=now", "version, has to be a whole number"),
    ("records", "ids=all", "ids, has to be a list of texts"),
    ("records", "area=null", "area, has to be a list of three points"),
    ("search", "text=fog&where=%7B", "where, has to be a filter in JSON"),
    ("search", "text=fog&version=1e9", "version, has to be a whole number"),
)


def visit(window: Window, fragment: str) -> None:
    """Shows an address as it is written, without quoting. The page is loaded once in a test."""
    if not window.page.url.startswith(window.url):
        window.go("health")
    window.page.evaluate(
        """fragment => {
          for (const each of document.querySelector('main').children) each.dataset.before = '';
          location.hash = fragment;
        }""",
        fragment,
    )
    expect(window.page.locator("main > [data-before]")).to_have_count(0)
    window.settle()


def test_a_name_that_every_object_has_is_no_view(window: Window) -> None:
    for path in NOWHERE:
        visit(window, f"#/{path}?__proto__=1&constructor=2")
        expect(window.page.get_by_role("heading", name="There is no such view")).to_be_visible()


def test_what_cannot_be_read_is_left_out_and_said(window: Window) -> None:
    window.expected.add("404")
    for view, query, words in LEFT_OUT:
        visit(window, f"#/collections/demo/{view}?{query}")
        expect(window.page.get_by_text(words)).to_be_visible()
        expect(window.page.locator("main h1")).to_have_text("demo")
        if "text=fog" in query:
            expect(window.page.locator(".hit").first).to_be_visible()


def test_no_others_are_shown_than_the_records_that_are_meant(window: Window) -> None:
    for view, query, words in DECIDING:
        visit(window, f"#/collections/demo/{view}?{query}")
        expect(window.page.get_by_text(words)).to_be_visible()
        assert window.page.locator(".grid-row, .hit").count() == 0
    window.page.get_by_role("link", name="Show it without").click()
    expect(window.page.locator("main h1")).to_have_text("demo")


def test_a_percent_sign_that_stands_for_nothing_is_said(window: Window) -> None:
    for path in ("collections/%zz/records", "files/%", "%ff"):
        visit(window, f"#/{path}")
        expect(window.page.get_by_text("A percent sign in it stands for no character.")).to_be_visible()
    visit(window, "#/collections/demo/search?text=100%&mode=%zz")
    expect(window.page.get_by_role("searchbox")).to_have_value("100%")


def test_a_route_of_the_console_is_one_that_the_server_describes(window: Window) -> None:
    for path in ("constructor/name", "get/constructor", "constructor/%2Fhealth", "name/__proto__"):
        visit(window, f"#/console/{path}")
        expect(window.page.get_by_role("heading", name="Choose a route")).to_be_visible()


def test_keys_of_metadata_may_be_called_as_every_object_s_are(window: Window, server: Drumlin) -> None:
    server.create("named", metric="l2")
    server.add(
        "named",
        [
            {"id": "a", "embedding": [0, 1], "document": "fog", "metadata": {"constructor": "x", "toString": 1}},
            {"id": "b", "embedding": [1, 0], "document": "fog", "metadata": {"plain": "y"}},
        ],
    )
    visit(window, "#/collections/named/records")
    expect(window.page.get_by_role("gridcell", name="y", exact=True)).to_be_visible()
    visit(window, "#/collections/named/search?text=fog")
    expect(window.page.locator(".hit")).to_have_count(2)
    visit(window, "#/collections/named/records?record=a")
    window.button("Edit").click()
    window.page.get_by_label("Metadata", exact=True).fill("null")
    window.button("Save").click()
    expect(window.page.get_by_text("Metadata is an object of keys and values")).to_be_visible()
    window.page.get_by_label("Metadata", exact=True).fill('{"toString": 2}')
    window.button("Save").click()
    expect(window.page.locator("dialog .pairs")).to_have_text("toString2")
    server.call("DELETE", "/api/collections/named")
