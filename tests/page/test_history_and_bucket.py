"""History and Bucket, on answers that this file makes."""

from __future__ import annotations

import re

from browser import Window, serious
from playwright.sync_api import Route, expect

NEWEST = 40
VERSIONS = [
    {
        "version": NEWEST - n,
        "at": f"2026-11-{30 - n:02}T12:00:00Z",
        "writer": f"server-{n % 2}",
        "added": 100 * n,
        "changed": n,
        "deleted": n % 3,
        "bytes": 1000 * (n + 1),
    }
    for n in range(10)
]
BUCKET = {
    "kinds": [
        {"kind": "segments", "objects": 42, "bytes": 812_000_000},
        {"kind": "graphs", "objects": 12, "bytes": 240_000_000},
    ],
    "garbage": {"objects": 14, "bytes": 55_000_000},
    "levels": [{"level": 0, "segments": 5, "bytes": 12_000_000}, {"level": 1, "segments": 1, "bytes": 800_000_000}],
    "requests_per_minute": {"get": 12.5, "put": 31, "list": 1, "delete": 3},
    "bytes_per_minute": {"read": 120_000, "written": 2_300_000},
    "costs": [
        {"provider": "Amazon S3", "storage": 0.03, "requests": 6.7, "traffic": 0.0, "total": 6.73},
        {"provider": "Cloudflare R2", "storage": 0.02, "requests": 6.03, "traffic": 0.0, "total": 6.05},
    ],
    "writers": [{"writer": "server-1", "seen": "2026-11-30T12:00:00Z", "lag_s": 31}],
    "probe": {"at": "2026-11-30T11:00:00Z", "result": "ok"},
}


def test_versions_are_looked_at_restored_forked_and_compared(window: Window, axe: str) -> None:
    sent: dict[str, object] = {}
    # The fork is only answered here, and then shown.
    window.expected.add("404")
    window.page.route(
        "**/api/collections/demo/versions*", lambda route: route.fulfill(json={"versions": VERSIONS, "oldest": 31})
    )

    def note(route: Route) -> None:
        sent[route.request.url.split("/")[-1]] = route.request.post_data_json
        route.fulfill(
            json={
                "added": {"count": 2, "ids": ["weather-01", "weather-02"]},
                "changed": {"count": 0, "ids": []},
                "removed": {"count": 70, "ids": ["city-01"]},
            }
        )

    for verb in ("restore", "fork", "compare"):
        window.page.route(f"**/api/collections/demo/{verb}*", note)
    window.go("collections", "demo", "history")
    expect(window.page.locator(".version")).to_have_count(len(VERSIONS))
    window.button("Compare").click()
    expect(window.page.get_by_text("and 69 more")).to_be_visible()
    assert sent["compare"] == {"from": 31, "to": 40, "limit": 50}
    window.shot("history")
    assert not serious(window.page, axe)
    window.button("Fork from version 39").click()
    window.page.get_by_label("Name of the fork").fill("demo-before")
    window.page.locator("dialog").get_by_role("button", name="Fork").click()
    expect(window.page).to_have_url(re.compile("demo-before"))
    assert sent["fork"] == {"name": "demo-before", "version": 39}
    window.go("collections", "demo", "history")
    window.button("Restore version 38").click()
    window.page.locator("dialog").get_by_role("button", name="Restore").click()
    expect(window.page).to_have_url(re.compile("demo/records"))
    assert sent["restore"] == {"version": 38}


def test_a_collection_as_it_was_is_read_and_not_changed(window: Window) -> None:
    asked = []

    def past(route: Route) -> None:
        body = route.request.post_data_json
        asked.append(body.pop("version", None))
        route.continue_(post_data=body)

    for verb in ("get", "count", "search"):
        window.page.route(f"**/api/collections/demo/{verb}*", past)
    window.go("collections", "demo", "records", version="39", record="weather-01")
    expect(window.page.get_by_text("as it was at version 39")).to_be_visible()
    expect(window.page.locator("dialog .prose")).to_be_visible()
    assert window.button("Edit").count() == 0 and asked and set(asked) == {39}
    window.go("collections", "demo", "search", version="39", text="fog")
    expect(window.page.locator(".hit").first).to_be_visible()
    assert asked[-1] == 39


def test_the_bucket_is_shown_with_its_costs_and_verified(window: Window, axe: str) -> None:
    states = [
        {"state": "none"},
        {"state": "running", "done": 40, "of": 160, "findings": []},
        {"state": "done", "done": 160, "of": 160, "findings": []},
    ]

    def verify(route: Route) -> None:
        if route.request.method == "GET":
            route.fulfill(json=states.pop(0) if len(states) > 1 else states[0])
        else:
            route.fulfill(status=202, json={"state": "running"})

    window.page.route("**/api/bucket", lambda route: route.fulfill(json=BUCKET))
    window.page.route("**/api/verify", verify)
    window.go("bucket")
    expect(window.page.get_by_role("rowheader", name="Cloudflare R2 least")).to_be_visible()
    expect(window.page.get_by_text("1.1 GB").first).to_be_visible()
    window.shot("bucket")
    assert not serious(window.page, axe)
    window.button("Verify the bucket").click()
    expect(window.page.get_by_role("progressbar")).to_be_visible()
    expect(window.page.get_by_text("160 objects checked, none damaged")).to_be_visible()
