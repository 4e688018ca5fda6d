"""The files in deploy/: read by the programs they are for where those can be had, and true to what the server knows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from drumlin import ROOT, Drumlin, binary

DEPLOY = ROOT / "deploy"
# What else is set in these files: the SDK's own, the allocator's, and where they run.
FOREIGN = re.compile(r"AWS_\w+|MALLOC_\w+")


def known_variables() -> set[str]:
    told = subprocess.run([binary(), "serve", "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^  ([A-Z][A-Z0-9_]+)", told, re.MULTILINE))


def test_the_linter_of_dockerfiles_has_nothing_to_say() -> None:
    linted = subprocess.run(["hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, env=tool_path())
    assert linted.returncode == 0, linted.stdout + linted.stderr


def tool_path() -> dict[str, str]:
    """The programs beside this Python come first."""
    import sys

    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_every_variable_that_is_set_is_one_that_the_server_reads() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    render = yaml.safe_load((DEPLOY / "render.yaml").read_text())
    names = set(compose["services"]["drumlin"]["environment"])
    names |= {variable["key"] for variable in render["services"][0]["envVars"]}
    names |= set(re.findall(r"^\s*(?:ENV )?([A-Z][A-Z0-9_]+)=", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE))
    for line in re.findall(r"^Environment=(.*)", (DEPLOY / "drumlin.service").read_text(), re.MULTILINE):
        names |= {pair.partition("=")[0] for pair in line.split()}
    assert len(names) > 8
    strange = {name for name in names - known_variables() if not FOREIGN.fullmatch(name)}
    assert not strange, f"no such settings: {strange}"


def test_the_manifest_asks_for_pages_that_the_server_has(tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    assert [document["kind"] for document in documents] == ["Deployment", "Service"]
    container = documents[0]["spec"]["template"]["spec"]["containers"][0]
    server = Drumlin(tmp_path, {"DRUMLIN_STORAGE": "memory"}).start()
    try:
        for probe in ("readinessProbe", "livenessProbe"):
            assert server.client.get(container[probe]["httpGet"]["path"]).status_code == 200
        render = yaml.safe_load((DEPLOY / "render.yaml").read_text())["services"][0]
        assert server.client.get(render["healthCheckPath"]).status_code == 200
    finally:
        server.close()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "drumlin.service"
    unit.write_text((DEPLOY / "drumlin.service").read_text().replace("/usr/local/bin/drumlin", str(binary())))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert verified.returncode == 0 and "drumlin.service" not in verified.stderr, verified.stderr


def test_the_command_of_the_health_check_tells_a_server_from_none(tmp_path: Path) -> None:
    server = Drumlin(tmp_path, {"DRUMLIN_STORAGE": "memory"}).start()
    ask = [binary(), "health", "--ready"]
    port = {**os.environ, "PORT": str(server.port)}
    try:
        asked = subprocess.run(ask, capture_output=True, text=True, env=port)
        assert (asked.returncode, asked.stderr) == (0, "")
    finally:
        server.close()
    asked = subprocess.run(ask, capture_output=True, text=True, env=port)
    assert asked.returncode == 1 and f"127.0.0.1:{server.port}" in asked.stderr, asked.stderr


def test_a_server_that_other_machines_reach_needs_a_key(tmp_path: Path) -> None:
    """As in a container whose key was forgotten."""
    started = subprocess.run(
        [binary(), "serve"], capture_output=True, text=True, cwd=tmp_path, timeout=30,
        env={"PATH": os.environ["PATH"], "HOST": "0.0.0.0", "PORT": "0", "DRUMLIN_STORAGE": "memory"},
    )
    assert started.returncode != 0 and "HOST" in started.stderr, started.stderr
