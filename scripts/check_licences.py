"""Checks every dependency against deny.toml without cargo-deny: licences, denied crates, and where they come from.

python scripts/check_licences.py"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def permitted(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met with allowed licences. An old-style `/` means OR."""
    tokens = re.findall(r"[()]|[^()\s]+", expression.replace("/", " OR "))

    def any_of() -> bool:
        result = all_of()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            result = all_of() or result
        return result

    def all_of() -> bool:
        result = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            result = one() and result
        return result

    def one() -> bool:
        token = tokens.pop(0)
        if token == "(":
            result = any_of()
            tokens.pop(0)
            return result
        if tokens and tokens[0] == "WITH":
            token = f"{token} WITH {tokens[1]}"
            del tokens[:2]
        return token in allowed

    return any_of()


def main() -> int:
    rules = tomllib.loads((ROOT / "deny.toml").read_text(encoding="utf-8"))
    allowed = set(rules["licenses"]["allow"])
    denied = {entry["crate"]: entry["reason"] for entry in rules["bans"]["deny"]}
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    packages = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)["packages"]
    complaints = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if package["license"] is None:
            complaints.append(f"{name}: declares no licence")
        elif not permitted(package["license"], allowed):
            complaints.append(f"{name}: licence {package['license']} is not allowed by deny.toml")
        if package["name"] in denied:
            complaints.append(f"{name}: denied, {denied[package['name']]}")
        if (package["source"] or "").startswith("git+"):
            complaints.append(f"{name}: comes from a git repository")
    print("\n".join(complaints) or f"{len(packages)} packages, all under permitted licences")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
