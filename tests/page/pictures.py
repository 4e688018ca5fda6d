"""Takes the pictures of docs/page.md and README.md, of the demo's data.

    DRUMLIN_BIN=target/release/drumlin python tests/page/pictures.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "e2e"))

import data  # noqa: E402
from browser import Window  # noqa: E402
from conftest import ARGUMENTS, CHROMIUM  # noqa: E402
from drumlin import ROOT, Drumlin  # noqa: E402
from playwright.sync_api import expect, sync_playwright  # noqa: E402

FOLDER = ROOT / "docs" / "images"
MOST_BYTES = 150_000
WIDTH, HEIGHT = 1200, 750


def take_map(window: Window) -> None:
    window.go("collections", "demo", "map", colour="theme", near="weather-01")
    expect(window.page.get_by_text("neighbours in the graph")).to_be_visible()
    expect(window.page.locator(".groups li").first).to_be_visible()


def take_search(window: Window) -> None:
    window.go("collections", "demo", "search", text="fog harbour storm rain", facets='["theme","question"]')
    expect(window.page.locator(".hit").first).to_be_visible()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Drumlin(Path(folder), {"DRUMLIN_STORAGE": "memory"}, arguments=("--demo",)).start()
        try:
            data.make_map(server)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            for name, theme, take in [("page-map", "dark", take_map), ("page-search", "light", take_search)]:
                window = Window(browser, server.url, theme=theme, width=WIDTH, height=HEIGHT)
                take(window)
                # Until the last frame is drawn.
                window.page.wait_for_timeout(500)
                window.page.screenshot(path=FOLDER / f"{name}.png")
                window.close()
                size = (FOLDER / f"{name}.png").stat().st_size
                print(f"{name}.png: {size} bytes")
                assert size <= MOST_BYTES
            browser.close()
        finally:
            server.close()


if __name__ == "__main__":
    main()
