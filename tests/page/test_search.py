"""Searching: by words, by records, by an embedding; what is told about it."""

from __future__ import annotations

import json
import re

import data
from browser import Window
from drumlin import Drumlin
from playwright.sync_api import expect


def ids(window: Window) -> list[str]:
    expect(window.page.locator(".hit").first).to_be_visible()
    return window.page.locator(".hit .id").all_inner_texts()


def test_each_way_of_searching_gives_what_the_api_gives(window: Window, server: Drumlin) -> None:
    vector = server.records("demo")["city-09"]["embedding"]
    for query, body in [
        ({"text": "fog harbour"}, {"text": "fog harbour"}),
        (
            {"by": "record", "like": '["weather-01"]', "unlike": '["city-01"]'},
            {"like": ["weather-01"], "unlike": ["city-01"]},
        ),
        (
            {"by": "record", "unlike": '["city-01"]', "k": "3"},
            {"unlike": ["city-01"], "strategy": "best_score", "k": 3},
        ),
        ({"by": "vector", "vector": json.dumps(vector)}, {"embedding": vector}),
        (
            {"by": "vector", "vector": json.dumps(vector), "exact": "1", "where": '{"theme": "city"}'},
            {"embedding": vector, "where": {"theme": "city"}},
        ),
    ]:
        window.go("collections", "demo", "search", **query)
        assert ids(window) == [hit["id"] for hit in server.search("demo", body)], query


def test_words_that_were_found_are_marked(window: Window) -> None:
    window.go("collections", "demo", "search", text="fog")
    expect(window.page.locator(".hit mark").first).to_have_text(re.compile("fog", re.IGNORECASE))
    expect(window.page.locator(".told")).to_contain_text(re.compile(r"\d+ scored"))
    window.shot("search-words")


def test_recall_is_measured_on_demand(window: Window) -> None:
    window.go("collections", "many", "search", by="record", like='["r000001"]', k="20")
    window.button("Measure recall").click()
    told = window.page.locator(".told")
    expect(told).to_contain_text(re.compile(r"Recall \d+ %: \d+ of the 20 nearest"))
    expect(told).to_contain_text(re.compile(r"20 hits in [\d.]+ (ms|s)"))
    compared = re.search(r"([\d,]+) of 200,000 compared", told.inner_text())
    assert compared and 20 <= int(compared.group(1).replace(",", "")) < data.MANY, told.inner_text()


def test_a_facet_narrows_and_a_hit_leads_on(window: Window) -> None:
    window.go("collections", "many", "search", text="fog", facets='["theme"]')
    window.page.get_by_role("complementary", name="Facets").get_by_role("button", name="birds").click()
    expect(window.page).to_have_url(re.compile("birds"))
    assert all("birds" in text for text in window.page.locator(".hit .chips").all_inner_texts())
    first = ids(window)[0]
    window.button(f"More like {first}").click()
    expect(window.page).to_have_url(re.compile("by=record"))
    expect(window.page.locator(".hit .id").filter(has_text=first)).to_have_count(0)
    assert first not in ids(window)


def test_a_vector_that_is_none_is_refused_in_words(window: Window) -> None:
    window.go("collections", "demo", "search", by="vector", vector="no numbers")
    expect(window.page.get_by_text("Paste the numbers of an embedding")).to_be_visible()
    window.expected.add("400")
    window.go("collections", "demo", "search", by="vector", vector="[1, 2]")
    expect(window.page.get_by_text("expected 384 numbers, got 2")).to_be_visible()
