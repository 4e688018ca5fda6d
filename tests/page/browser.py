"""A browser's window on the page, which notes what must never happen: errors in the console, refusals by the policy,
requests to another host, dialogs that a script opened."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

SHOTS = Path(os.environ.get("PAGE_SCREENSHOTS", Path(__file__).resolve().parents[2] / "target" / "page"))
# What a browser itself prints for an answer that is no success. Tests name the statuses that they provoke.
FAILED = re.compile(r"Failed to load resource: (?:the server responded with a status of (\d+)|net::(\w+))")
WAIT_MS = 20_000
# What has the focus: its name, whether something lies over it, and whether it is marked.
FOCUSED = """() => {
  const node = document.activeElement, box = node.getBoundingClientRect();
  if (node === document.body) return null;
  const name = (node.getAttribute("aria-label") || node.labels?.[0]?.innerText || node.innerText || "").trim();
  const isSeenAt = (part) => {
    const above = document.elementFromPoint(box.left + part * box.width, box.top + part * box.height);
    return above !== null && (node.contains(above) || above.contains(node));
  };
  // A tool of the map lies over a corner of it.
  const isSeen = [0.1, 0.5, 0.9].some(isSeenAt);
  return { name, isSeen, isMarked: getComputedStyle(node).outlineStyle !== "none" };
}"""


class Window:
    """One page of one server."""

    def __init__(
        self, browser: Browser, url: str, *, theme: str = "light", width: int = 1280, height: int = 800
    ) -> None:
        self.url = url
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,  # type: ignore[arg-type]
            reduced_motion="reduce",
            accept_downloads=True,
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.theme = theme
        self.expected: set[str] = set()
        self.problems: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", self._request)
        self.page.on("dialog", lambda dialog: (self.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        failed = FAILED.match(message.text)
        if failed and (failed.group(1) or failed.group(2)) in self.expected:
            return
        # A renderer in software says so; that is the machine's and not the page's.
        if "GL Driver Message" in message.text or "software WebGL" in message.text:
            return
        self.problems.append(f"console {message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in ("data", "blob") and not request.url.startswith(self.url):
            self.problems.append(f"request to {request.url}")

    def go(self, *path: str, **query: Any) -> None:
        """Shows a view. A change of the fragment alone loads nothing anew, so the page is loaded anew."""
        fragment = "/".join(quote(part, safe="") for part in path)
        search = f"?{urlencode(query)}" if query else ""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/#/{fragment}{search}")
        self.settle()

    def settle(self) -> None:
        """Waits until a view is shown."""
        expect(self.page.locator("main h1, main h2").first).to_be_visible(timeout=WAIT_MS)
        expect(self.page.locator("main > p[role=status]")).to_have_count(0)

    def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}-{self.theme}.png")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def walk(self, steps: int) -> None:
        """Presses Tab so often, and sees that what has the focus is named, marked and in sight."""
        for _ in range(steps):
            self.page.keyboard.press("Tab")
            focused = self.page.evaluate(FOCUSED)
            if focused is None:
                break
            if not focused["isSeen"]:
                # What comes late moves what is below it.
                self.page.wait_for_timeout(500)
                focused = self.page.evaluate(FOCUSED)
            assert focused["name"] and focused["isSeen"] and focused["isMarked"], (self.page.url, focused)

    def body(self) -> str:
        return self.page.locator("body").inner_text()

    def close(self) -> None:
        self.context.close()
        assert not self.problems, "\n".join(self.problems)


def serious(page: Page, axe: str) -> list[str]:
    """The serious findings of axe-core in what is shown."""
    # By the protocol of the debugger, which the page's policy does not bind.
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
