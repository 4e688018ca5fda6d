"""What the server says of the page, and what the page keeps to."""

from __future__ import annotations

import urllib.request
from browser import Window
from drumlin import Drumlin


def test_the_policy_allows_this_server_alone_and_nothing_unsafe(server: Drumlin) -> None:
    answer = server.client.get("/", headers={"accept": "text/html"})
    policy = answer.headers["content-security-policy"]
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert (
        parts["default-src"] == "'none'"
        and parts["script-src"] == parts["style-src"] == parts["connect-src"] == "'self'"
    )
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    page = answer.text
    assert "<style" not in page and " style=" not in page and " on" not in page.replace(" on ", "")
    assert page.count("<script") == page.count("<script src=") + page.count('<script type="module" src=')


def test_a_program_gets_the_text(server: Drumlin) -> None:
    text = server.client.get("/").text
    assert text.startswith("drumlin ") and "demo (400 records)" in text and "<" not in text


def test_the_whole_application_is_below_250_kilobytes(window: Window) -> None:
    files: set[str] = set()
    window.page.on("request", lambda request: files.add(request.url))
    for path in (
        ("collections",),
        ("collections", "demo", "records"),
        ("collections", "demo", "search"),
        ("collections", "demo", "overview"),
        ("health",),
        ("console",),
        ("files",),
    ):
        window.go(*path)
    total = 0
    for url in files:
        if "/page/" in url or url.endswith("/"):
            # Asked for anew: the browser may have had it from its cache.
            asked = urllib.request.Request(url, headers={"accept-encoding": "gzip", "accept": "text/html,*/*"})
            with urllib.request.urlopen(asked, timeout=30) as answer:
                total += len(answer.read())
    print(f"{len(files)} requests, {total} bytes of files as sent")
    assert 20_000 < total < 250_000


def test_the_page_stores_nothing_but_the_theme(window: Window) -> None:
    window.go("collections")
    window.button("Light or dark").click()
    stored = window.page.evaluate("[JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie]")
    assert stored == ['{"drumlin-theme":"dark"}', "{}", ""]
    window.page.reload()
    window.settle()
    assert window.page.evaluate("document.documentElement.dataset.theme") == "dark"
