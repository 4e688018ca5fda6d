"""The collections that the page is looked at with, and what is hostile in them."""

from __future__ import annotations

import random
import time

from drumlin import Drumlin

MANY = 200_000
BATCH = 25_000
THEMES = ("weather", "rivers", "bread", "birds", "ledgers")
WORDS = "fog river silt harbour dough swift roof storm tide grain mill".split()

# Each would set window.hit if it became an element or a script.
HOSTILE = (
    "<img src=x onerror=window.hit=1>",
    '"><script>window.hit=2</script>',
    "</textarea><svg onload=window.hit=3>",
    "javascript:window.hit=4",
    "'-window.hit=5-'",
    "\u202e<b>gnp.exe",
)


def make(server: Drumlin) -> None:
    """None, one and 200,000 records; the 400 of --demo are there already."""
    server.create("none")
    server.create("one", metric="l2")
    server.add(
        "one", [{"id": "alone", "embedding": [1, 0], "document": "The only record.", "metadata": {"year": 2026}}]
    )
    make_many(server)
    make_hostile(server)


def make_many(server: Drumlin) -> None:
    numbers = random.Random(7)
    server.create("many", metric="l2", dimension=4)
    for start in range(0, MANY, BATCH):
        server.add("many", [record(number, numbers) for number in range(start, start + BATCH)])


def record(number: int, numbers: random.Random) -> dict[str, object]:
    group = number % len(THEMES)
    return {
        "id": f"r{number:06}",
        "embedding": [round(numbers.gauss(group, 0.4), 3) for _ in range(4)],
        "document": " ".join(numbers.choices(WORDS, k=5)),
        "metadata": {"theme": THEMES[group], "year": 2000 + number % 25},
    }


def make_hostile(server: Drumlin) -> None:
    server.create("hostile", metric="l2", metadata={HOSTILE[0]: HOSTILE[1]})
    server.add(
        "hostile",
        [
            {
                "id": text,
                "embedding": [number, 1],
                "document": f"{text} fog",
                "uri": text,
                "metadata": {text: text, "theme": text},
            }
            for number, text in enumerate(HOSTILE)
        ],
    )
    for text in HOSTILE[:2]:
        name = text.replace("/", "-")
        server.client.put(
            "/api/files/" + "".join(f"%{byte:02x}" for byte in name.encode()), content=b"x"
        ).raise_for_status()


def make_map(server: Drumlin) -> None:
    """Has the server make the map of the demo."""
    for _ in range(600):
        if server.call("POST", "/api/collections/demo/map")["progress"] == 1:
            return
        time.sleep(0.1)
    raise AssertionError("the map was not made")
