"""deploy/Dockerfile without Docker: its build steps as a script in a clean directory, and what it copies, run as the
image would be: a root file system of its own that nobody may write to, a user without rights, the environment that
the file sets. What stands in for the base image is this machine's C library."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from drumlin import ROOT, Drumlin

# The user of the base image's tag `nonroot`.
UID = 65_532
# Of base-nossl-debian12: libc6, tzdata, CA certificates and a few files, in bytes.
BASE_BYTES = 16_800_000


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, those that go over several lines as one."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "deploy" / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def of_kind(kind: str) -> list[str]:
    return [rest for name, rest in instructions() if name == kind]


@dataclass(frozen=True)
class Image:
    """The root file system that the Dockerfile makes, and how it is run."""

    root: Path
    copied_bytes: int
    environment: dict[str, str]

    def enter(self) -> list[str]:
        """Before a command: in the image's root, read-only, as its user."""
        root = shlex.quote(str(self.root))
        script = (
            f"mount --bind {root} {root} && mount --rbind /proc {root}/proc && mount -o remount,bind,ro {root} && "
            f'exec chroot --userspec={UID}:{UID} {root} "$@"'
        )
        return ["unshare", "--mount", "sh", "-c", script, "sh"]


def build(folder: Path) -> Image:
    """Runs the steps. The target directory is this clone's own: the dependencies are compiled already."""
    source, root = folder / "src", folder / "root"
    ignored = [line.strip("/") for line in (ROOT / ".dockerignore").read_text().split()]
    shutil.copytree(ROOT, source, ignore=lambda at, names: {n for n in names if n in ignored and Path(at) == ROOT})
    (source / "target").symlink_to(ROOT / "target")
    for step in of_kind("RUN"):
        subprocess.run(["sh", "-ec", step], cwd=source, check=True, timeout=1_500)
    copied = 0
    for arguments in of_kind("COPY"):
        *options, origin, target = arguments.split()
        if not options:
            continue  # The sources, above.
        path = root / target.lstrip("/")
        path = path / Path(origin).name if target.endswith("/") else path
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / Path(origin).relative_to("/src"), path)
        copied += path.stat().st_size
    stand_in_for_the_base_image(root)
    environment = dict(pair.split("=", 1) for line in of_kind("ENV") for pair in line.split())
    shutil.rmtree(source)
    for parent in [root, *root.parents]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o055)
    return Image(root, copied, environment)


def stand_in_for_the_base_image(root: Path) -> None:
    """What the base image has: the C library with its loader, /tmp, /proc."""
    program = root / "usr/local/bin/drumlin"
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"(/\S+) \(0x", needed):
        if "libgcc_s" not in library:
            (root / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, root / library.lstrip("/"))
    for name in ("tmp", "proc"):
        (root / name).mkdir()
        (root / name).chmod(0o1777)


@dataclass
class Container(Drumlin):
    """A server as the image runs it."""

    image: Image | None = None

    def command(self) -> list[str]:
        assert self.image is not None
        entry = json.loads(of_kind("ENTRYPOINT")[0]) + json.loads(of_kind("CMD")[0])
        return [*self.image.enter(), *entry]

    def environment(self) -> dict[str, str]:
        assert self.image is not None
        return {"PATH": os.environ["PATH"], "PORT": str(self.port), **self.image.environment, **self.settings}

    def health_check(self) -> int:
        """The exit code of the command that the Dockerfile gives."""
        assert self.image is not None
        check = json.loads(of_kind("HEALTHCHECK")[0].split("CMD", 1)[1])
        return subprocess.run([*self.image.enter(), *check], env=self.environment(), timeout=60).returncode
