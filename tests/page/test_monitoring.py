"""deploy/grafana.json and deploy/prometheus-alerts.yaml ask for metrics, labels and values that a server prints, and
each alert leads to a section of the docs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from drumlin import ROOT, Drumlin

BOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "prometheus-alerts.yaml").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]

# What Prometheus itself adds to a target's metrics.
OF_PROMETHEUS = {"job", "instance"}
# Statuses that a healthy server does not print.
STATUSES = ("429", "500", "503", "504", "507")
SELECTOR = re.compile(r"\b(up|drumlin_\w+)\b(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\bby \(([^)]*)\)")


@pytest.fixture(scope="module")
def printed(server: Drumlin) -> dict[str, dict[str, set[str]]]:
    """The values of each label of each metric, after a search and a write by both APIs."""
    server.create("measured", metric="l2")
    server.add("measured", [{"id": "a", "embedding": [1, 0]}])
    server.nearest("measured", [1, 0])
    collections = "/api/v2/tenants/default_tenant/databases/default_database/collections"
    at = f"{collections}/{server.call('GET', '/api/collections/measured')['id']}"
    server.call("POST", f"{at}/upsert", {"ids": ["b"], "embeddings": [[0, 1]]})
    server.call("POST", f"{at}/query", {"query_embeddings": [[0, 1]], "n_results": 1})
    text = server.client.get("/metrics").text
    server.call("DELETE", "/api/collections/measured")
    metrics: dict[str, dict[str, set[str]]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line).groups()  # type: ignore[union-attr]
        known = metrics.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels or ""):
            known.setdefault(label, set()).add(value)
    assert len(metrics) > 60
    metrics["drumlin_requests_total"]["status"].update(STATUSES)
    return metrics


def expressions() -> Iterator[tuple[str, str]]:
    """Where an expression stands, and the expression."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in BOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (job|instance)\)", variable["definition"])
            assert asked and variable["query"]["query"] == variable["definition"]
            yield variable["name"], asked.group(1)
    for annotation in BOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def check_matcher(where: str, known: dict[str, set[str]], label: str, operator: str, value: str) -> None:
    if label in OF_PROMETHEUS:
        return
    assert label in known, f"{where}: no label {label}"
    passes = re.compile(value if "~" in operator else re.escape(value)).fullmatch
    for part in value.split("|") if "~" in operator and "(" not in value else [value]:
        matches = re.compile(part).fullmatch if "~" in operator else passes
        assert any(matches(each) for each in known[label]), f"{where}: {label} is never {part}"


def test_every_metric_label_and_value_is_one_that_a_server_prints(printed: dict[str, dict[str, set[str]]]) -> None:
    asked = set()
    for where, expression in expressions():
        assert expression.count("(") == expression.count(")"), where
        names = set()
        for name, matchers in SELECTOR.findall(expression):
            names.add(name)
            if name == "up":
                continue
            assert name in printed, f"{where}: no metric {name}"
            found = MATCHER.findall(matchers)
            # All that stands in the braces is matchers.
            assert re.sub(r"[\s,]", "", MATCHER.sub("", matchers)) == "", f"{where}: {matchers}"
            for label, operator, value in found:
                check_matcher(where, printed[name], label, operator, value)
        assert names, f"{where}: no metric in {expression}"
        known = OF_PROMETHEUS.union(*(printed.get(name, {}) for name in names))
        for group in GROUPING.findall(expression):
            strange = {label.strip() for label in group.split(",")} - known
            assert not strange, f"{where}: no labels {strange}"
        asked |= names
    assert len(asked) > 40, sorted(asked)


def test_the_time_of_searches_and_writes_is_that_of_both_apis(printed: dict[str, dict[str, set[str]]]) -> None:
    routes = printed["drumlin_request_seconds_bucket"]["route"]
    patterns = {value for _, each in expressions() for value in re.findall(r'route=~"([^"]*)"', each)}
    matched = {pattern: {route for route in routes if re.fullmatch(pattern, route)} for pattern in patterns}
    assert len(matched) == 2, matched
    for found in matched.values():
        assert any(route.startswith("/api/collections") for route in found), matched
        assert any(route.startswith("/api/v2") for route in found), matched


def test_panels_are_titled_explained_and_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["title"] and (panel["type"] == "row" or panel["description"]), panel
        # Of several servers' figures, a panel says whose they are or sums them up.
        for target in panel.get("targets", []):
            assert "instance" in target["expr"], target
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_each_alert_leads_to_a_section_that_says_what_to_do() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (.+)\n\n((?:.|\n)*?)(?=^##)", page, re.MULTILINE))
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket"), rule
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{anchor(rule['alert'])}", rule
        assert "{{ $" in rule["annotations"]["summary"], rule
        assert len(sections[rule["alert"]].strip().split("\n\n")) >= 2, rule["alert"]
    described = {name for name in sections if name.startswith("Drumlin")}
    assert described == {rule["alert"] for rule in RULES}


def test_the_dashboard_lists_the_alerts() -> None:
    (listed,) = [panel for panel in BOARD["panels"] if panel["type"] == "alertlist"]
    assert all(rule["alert"].startswith(listed["options"]["alertName"]) for rule in RULES)
