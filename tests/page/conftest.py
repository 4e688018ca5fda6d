"""Fixtures of the page's tests: one browser, one server with data, axe-core."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import data
import pytest
from browser import Window
from drumlin import Drumlin
from playwright.sync_api import Browser, expect, sync_playwright

HERE = Path(__file__).resolve().parent
CHROMIUM = "/usr/bin/chromium"
# WebGL is computed by the processor: there may be no graphics here.
ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"]
# Other suites run beside this one.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    subprocess.run(["npm", "ci", *options], cwd=folder, check=True, timeout=300)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drumlin]:
    """A server without keys that has all collections of `data`."""
    started = Drumlin(tmp_path_factory.mktemp("server"), {"DRUMLIN_STORAGE": "memory"}, arguments=("--demo",))
    started.start()
    data.make(started)
    yield started
    started.close()
    assert "panicked at" not in started.output(), started.output()[-3000:]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Drumlin]]:
    """Starts further servers, each on a folder of its own."""
    started: list[Drumlin] = []

    def begin(settings: dict[str, str]) -> Drumlin:
        folder = tmp_path / f"server-{len(started)}"
        started.append(Drumlin(folder, {"DRUMLIN_DATA": str(folder / "bucket"), **settings}))
        return started[-1].start()

    yield begin
    for each in started:
        each.close()


@pytest.fixture
def window(browser: Browser, server: Drumlin) -> Iterator[Window]:
    """A window on the server with data; nothing may have gone wrong in it by the end."""
    opened = Window(browser, server.url)
    yield opened
    opened.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Window]]:
    """Opens further windows."""
    windows: list[Window] = []

    def open_window(url: str, **options: object) -> Window:
        windows.append(Window(browser, url, **options))  # type: ignore[arg-type]
        return windows[-1]

    yield open_window
    for each in windows:
        each.close()
