"""The package as such: its examples, its types, its names."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import drumlin

# The package as it stands in the repository, beside the tests.
PACKAGE = Path(__file__).resolve().parent.parent
MODULES = ["drumlin", "drumlin.errors", "drumlin._collection", "drumlin._database", "drumlin._models", "drumlin._results"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0 and outcome.failed == 0


def test_types_check_strictly(tmp_path):
    pytest.importorskip("mypy")
    user = tmp_path / "user.py"
    user.write_text(
        "import drumlin\n"
        "notes = drumlin.connect('memory://').collection('notes', create=True)\n"
        "far: float = float(notes.search([1.0, 0.0]).distances[0, 0])\n"
        "name: int = notes.search([1.0]).ids\n"
    )
    config = PACKAGE / "pyproject.toml"
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", str(tmp_path / "cache")]
    environment = {**os.environ, "MYPYPATH": str(PACKAGE)}
    whole = subprocess.run([*command, "-p", "drumlin"], capture_output=True, text=True, env=environment)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    used = subprocess.run([*command, str(user)], capture_output=True, text=True, env=environment)
    assert "user.py:4" in used.stdout and "user.py:3" not in used.stdout, used.stdout + used.stderr


def test_every_public_name_is_documented():
    missing = [
        f"{name}.{member}"
        for name in drumlin.__all__
        if inspect.isclass(getattr(drumlin, name))
        for member, value in vars(getattr(drumlin, name)).items()
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)) and not value.__doc__
    ]
    assert missing == []


def test_each_write_and_read_has_an_async_twin_with_the_same_parameters():
    for name in ("add", "upsert", "update", "delete", "search", "embed", "get", "count"):
        plain, twin = getattr(drumlin.Collection, name), getattr(drumlin.Collection, f"a{name}")
        assert inspect.signature(plain) == inspect.signature(twin), name
    assert inspect.signature(drumlin.connect).parameters == inspect.signature(drumlin.aconnect).parameters


def test_importing_the_package_imports_no_other_but_numpy():
    command = [sys.executable, "-c", "import drumlin; print(sorted(m for m in __import__('sys').modules if m in ('pyarrow', 'pandas', 'polars', 'chromadb', 'langchain_core', 'llama_index')))"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.stdout == "[]\n", f"importing drumlin imports {ended.stdout}{ended.stderr}"


@pytest.mark.skipif(sysconfig.get_config_var("Py_GIL_DISABLED") == 1, reason="the stable interface is not for these")
def test_one_wheel_serves_all_later_interpreters():
    extension = Path(drumlin._drumlin.__file__).name
    assert ".abi3." in extension or extension == "_drumlin.pyd", extension


def programs():
    """The Python programs of README and the book, which stand in the repository beside the package."""
    repository = PACKAGE.parent
    for page in ("README.md", "python/README.md", "docs/python.md"):
        path = repository / page
        blocks = path.read_text().split("```python\n")[1:] if path.exists() else []
        for number, block in enumerate(blocks):
            yield pytest.param(block.split("```")[0], id=f"{page}-{number + 1}")


@pytest.mark.parametrize("program", list(programs()))
def test_programs_of_the_book_run(program, tmp_path):
    for module in ("chromadb", "duckdb", "pandas", "pyarrow"):
        if module in program or f"drumlin.{module[:6]}" in program or f"to_{module}" in program:
            pytest.importorskip(module)
    if "./minilm" in program:
        # A small model in place of one that would have to be fetched.
        shutil.copytree(PACKAGE.parent / "data-fixtures" / "tiny-bert", tmp_path / "minilm")
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout, "it prints what it found"
