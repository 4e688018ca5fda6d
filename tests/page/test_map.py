"""The map: how it is asked for, drawn, coloured, selected from. Two tests make its answers themselves: one of 200,000
records, and one that is still being made."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import data
import pyarrow as pa
import pytest
from browser import Window, serious
from drumlin import Drumlin
from playwright.sync_api import Route, expect

ARROW = "application/vnd.apache.arrow.stream"


def layout(ids: list[str], groups: int, alternate: bool = False) -> bytes:
    """Each group on a place of its own on a circle; they follow one another in the ids, or alternate."""
    xs, ys = [], []
    for number in range(len(ids)):
        group = number % groups if alternate else number * groups // len(ids)
        angle, spread = 2 * math.pi * group / groups, (number * 0.618) % 1
        xs.append(10 * math.cos(angle) + 2 * spread * math.cos(number))
        ys.append(10 * math.sin(angle) + 2 * spread * math.sin(number))
    schema = pa.schema(
        [("id", pa.string()), ("x", pa.float32()), ("y", pa.float32())],
        metadata={"trustworthiness": "0.943", "continuity": "0.961"},
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(
            pa.table([ids, pa.array(xs, pa.float32()), pa.array(ys, pa.float32())], schema=schema), max_chunksize=65_536
        )
    return sink.getvalue().to_pybytes()


def with_map(window: Window, name: str, ids: list[str], groups: int, alternate: bool = False) -> None:
    body = layout(ids, groups, alternate)
    window.page.route(f"**/api/collections/{name}/map*", lambda route: route.fulfill(body=body, content_type=ARROW))
    near = {"neighbors": [{"id": each, "distance": 0.1} for each in ids[1:6]]}
    window.page.route(f"**/api/collections/{name}/neighbors*", lambda route: route.fulfill(json=near))


def drawn(window: Window) -> int:
    """How many pixels of the points' canvas are not empty."""
    return window.page.evaluate(
        """() => new Promise((resolve) => {
          const canvas = document.querySelector('.map-stage canvas');
          // Draws anew: the pixels of WebGL are there only until the end of the frame.
          dispatchEvent(new Event('themechange'));
          requestAnimationFrame(() => {
            const copy = document.createElement('canvas');
            [copy.width, copy.height] = [canvas.width, canvas.height];
            copy.getContext('2d').drawImage(canvas, 0, 0);
            const { data } = copy.getContext('2d').getImageData(0, 0, copy.width, copy.height);
            let n = 0;
            for (let i = 3; i < data.length; i += 4) if (data[i] > 0) n += 1;
            resolve(n);
          });
        })"""
    )


def lasso(window: Window) -> None:
    """Around everything."""
    window.button("Lasso").click()
    box = window.page.locator("canvas.over").bounding_box()
    corners = [(0.02, 0.1), (0.98, 0.1), (0.98, 0.98), (0.02, 0.98), (0.02, 0.12)]
    window.page.mouse.move(box["x"] + box["width"] * corners[0][0], box["y"] + box["height"] * corners[0][1])
    window.page.mouse.down()
    for x, y in corners[1:]:
        window.page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y, steps=6)
    window.page.mouse.up()


@pytest.mark.parametrize("plain", [False, True], ids=["webgl", "canvas"])
def test_the_map_is_drawn_coloured_and_selected_from(window: Window, server: Drumlin, axe: str, plain: bool) -> None:
    data.make_map(server)
    window.go("collections", "demo", "map", mark='["weather-01"]', **({"plain": "1"} if plain else {}))
    expect(window.page.get_by_text(re.compile("drawn with " + ("canvas" if plain else "WebGL")))).to_be_visible()
    expect(window.page.get_by_text(re.compile(r"trustworthiness [89]\d\.\d %"))).to_be_visible()
    expect(window.page.locator(".groups li")).to_have_count(20)
    assert drawn(window) > 1000
    window.shot("map-canvas" if plain else "map")
    assert not serious(window.page, axe)
    lasso(window)
    expect(window.page.get_by_text(re.compile(r"\d+ records? within the lasso"))).to_be_visible()
    expect(window.page).to_have_url(re.compile("area="))
    within = int(window.page.get_by_role("heading", name="within the lasso").inner_text().split()[0].replace(",", ""))
    assert within > 300
    window.page.get_by_role("link", name="Show as records").click()
    expect(window.page.get_by_text(f"{within} records of a selection")).to_be_visible()


def test_the_map_by_keyboard_opens_the_record_in_the_middle_and_its_neighbours(window: Window, server: Drumlin) -> None:
    data.make_map(server)
    window.go("collections", "demo", "map")
    window.page.locator("canvas.over").focus()
    for key in ("ArrowRight", "+", "-", "0", "Enter"):
        window.page.keyboard.press(key)
    expect(window.page.get_by_text("10 neighbours in the graph")).to_be_visible()
    expect(window.page).to_have_url(re.compile("near="))


def test_what_has_the_focus_is_not_under_the_map_on_a_phone(opened: Callable[..., Window], server: Drumlin) -> None:
    window = opened(server.url, width=360, height=740)
    with_map(window, "demo", list(server.records("demo")), 20)
    window.go("collections", "demo", "map", near="weather-01")
    expect(window.page.get_by_role("link", name="More like this")).to_be_visible()
    expect(window.page.locator(".groups li")).to_have_count(20)
    window.walk(32)


def test_a_map_is_asked_for_and_its_progress_shown(window: Window, server: Drumlin) -> None:
    body, asked = layout(list(server.records("demo")), 20), {"made": False, "looks": 0}

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            asked["made"] = True
            route.fulfill(status=202, json={"progress": 0})
        elif not asked["made"]:
            route.fulfill(status=404, json={"error": {"kind": "not_found", "message": "the collection has no map yet"}})
        elif asked["looks"] < 3:
            asked["looks"] += 1
            route.fulfill(status=202, json={"progress": asked["looks"] / 4})
        else:
            route.fulfill(body=body, content_type=ARROW)

    window.page.route("**/api/collections/demo/map*", answer)
    window.expected.add("404")
    window.go("collections", "demo", "map")
    window.button("Make the map").click()
    expect(window.page.get_by_role("progressbar")).to_be_visible()
    expect(window.page.locator("canvas.over")).to_be_visible()


def test_200000_points_come_quickly(opened: Callable[..., Window], server: Drumlin) -> None:
    window = opened(server.url)
    with_map(window, "many", [f"r{number:06}" for number in range(data.MANY)], len(data.THEMES), alternate=True)
    window.go("collections", "many", "map")
    expect(window.page.get_by_text("200,000 records, drawn with")).to_be_visible()
    assert drawn(window) > 10_000
    print(f"map of 200,000 records: {window.page.evaluate('performance.now()'):.0f} ms from the start of the page")
    expect(window.page.locator(".groups li")).to_have_count(len(data.THEMES))
    window.shot("map-many")
    frames = window.page.evaluate(
        """async () => {
          const over = document.querySelector('canvas.over'), times = [];
          let before = performance.now();
          for (let i = 0; i < 20; i += 1) {
            const key = i % 2 ? 'ArrowLeft' : 'ArrowRight';
            over.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
            await new Promise(requestAnimationFrame);
            times.push(performance.now() - before);
            before = performance.now();
          }
          return times.sort((a, b) => a - b);
        }"""
    )
    print(f"frames of moving 200,000 points, drawn by the processor: median {frames[10]:.0f} ms")


def test_a_link_to_a_lasso_has_the_map_made_first(
    start: Callable[[dict[str, str]], Drumlin], opened: Callable[..., Window]
) -> None:
    server = start({})
    server.create("notes", metric="l2")
    server.add("notes", [{"id": f"n{n}", "embedding": [math.cos(n), math.sin(n)]} for n in range(60)])
    window = opened(server.url)
    window.expected.add("404")
    everything = "[[-1e6,-1e6],[-1e6,1e6],[1e6,1e6],[1e6,-1e6]]"
    window.go("collections", "notes", "records", area=everything)
    expect(window.page.get_by_role("heading", name="The map is to be made first")).to_be_visible()
    expect(window.page.get_by_text("No record matches")).to_have_count(0)
    window.button("Make the map").click()
    expect(window.page.get_by_text("60 records of a selection")).to_be_visible()


def test_a_map_without_colours_stays_so_after_a_reload(window: Window, server: Drumlin) -> None:
    data.make_map(server)
    window.go("collections", "demo", "map")
    choice = window.page.get_by_label("Colour by")
    expect(choice).not_to_have_value("")
    choice.select_option("")
    window.page.reload()
    window.settle()
    expect(choice).to_have_value("")
    choice.select_option("theme")
    window.page.reload()
    window.settle()
    expect(choice).to_have_value("theme")
