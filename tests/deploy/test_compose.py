"""docker-compose.yml: what can be seen of it without an engine."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from app.settings import ENV_PREFIX, Settings
from app.worker.loop import HAND_BACK_S
from tests.deploy.dockerfile import ROOT, read
from tests.support.redis_server import find_binary

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = ("api", "worker", "worker-gpu")


def with_values(text: str) -> str:
    """The text with what compose would put into it."""
    text = re.sub(r"(?<!\$)\$\{(\w+):\?[^}]*\}", "secret", text)
    return re.sub(r"(?<!\$)\$\{\w+:-([^}]*)\}", r"\1", text)


def has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=60).returncode == 0


@pytest.mark.skipif(not has_compose(), reason="docker compose is not installed; it needs no engine for this")
def test_compose_takes_it() -> None:
    command = ["docker", "compose", "--profile", "*", "config", "--quiet"]
    environment = {
        "PATH": "/usr/bin:/bin:/usr/local/bin",
        "REDIS_PASSWORD": "x",
        "METRICS_KEY": "y",
        "GRAFANA_PASSWORD": "z",
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_plain_start_is_redis_api_and_one_worker_on_the_cpu() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == {"redis", "api", "worker"}
    assert SERVICES["worker"]["build"] == {
        "context": ".",
        "target": "worker",
        "args": {"TORCH_INDEX": "${TORCH_INDEX:-}"},
    }
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    assert SERVICES["prometheus"]["profiles"] == SERVICES["grafana"]["profiles"] == ["monitoring"]


def test_what_is_built_are_targets_of_the_dockerfile() -> None:
    for name in OURS:
        assert SERVICES[name]["build"]["target"] in read().stages
        for argument in SERVICES[name]["build"].get("args", {}):
            assert any(argument in "".join(stage.all("ARG")) for stage in read().stages.values())


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert re.fullmatch(r"\d+g", service["mem_limit"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "build" in service or re.search(r":v?\d+\.\d+[^:]*(@sha256:[0-9a-f]{64})?$", service["image"])


def test_only_redis_keeps_anything() -> None:
    assert list(FILE["volumes"]) == ["redis-data"]
    named = {name for name, service in SERVICES.items() for v in service.get("volumes", []) if not v.startswith("./")}
    assert named == {"redis"}


def test_files_that_are_mounted_exist_and_are_not_written_to() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                source, _, mode = volume.split(":")
                assert (ROOT / source).is_file(), source
                assert mode == "ro"


@pytest.mark.parametrize("name", OURS)
def test_variables_are_settings(name: str) -> None:
    given = {variable: with_values(str(value)) for variable, value in SERVICES[name]["environment"].items()}
    values = {variable.removeprefix(ENV_PREFIX).lower(): value for variable, value in given.items()}
    assert set(values) <= set(Settings.model_fields)
    told = Settings.model_validate(values)
    assert told.redis_url == "redis://:secret@redis:6379/0"
    if name == "api":
        assert SERVICES[name]["ports"] == [f"127.0.0.1:${{API_PORT:-8000}}:{told.port}"]
    else:
        assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) > told.grace_s + HAND_BACK_S + 5


def test_password_must_be_given_and_is_nowhere() -> None:
    assert set(re.findall(r"\$\{REDIS_PASSWORD(:\?)?", TEXT)) == {":?"}
    for name in OURS:
        assert SERVICES[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
        assert "queue" in SERVICES[name]["networks"]
    assert "healthcheck" in SERVICES["redis"]


def test_prometheus_asks_ports_that_are_there() -> None:
    config = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text(encoding="utf-8"))
    asked = {
        name: found["port"]
        for job in config["scrape_configs"]
        for found in job["dns_sd_configs"]
        for name in found["names"]
    }
    assert asked == {"api": 8000, "worker": 9100, "worker-gpu": 9100}
    assert int(SERVICES["worker"]["environment"]["VLMIR_METRICS_PORT"]) == 9100
    assert config["scrape_configs"][0]["authorization"]["credentials_file"] == "/run/secrets/metrics_key"


def test_redis_of_kubernetes_is_set_up_alike() -> None:
    here = (ROOT / "docker" / "redis.conf").read_text(encoding="utf-8")
    assert (ROOT / "k8s" / "overlays" / "dev" / "redis.conf").read_text(encoding="utf-8") == here


def test_redis_starts_so_and_asks_for_the_password(tmp_path: Path, free_port: int) -> None:
    """The command of the compose file with a real server: the file, and the password by standard input."""
    word = "abc123"
    conf = tmp_path / "redis.conf"
    text = (ROOT / "docker" / "redis.conf").read_text(encoding="utf-8")
    text = text.replace("port 6379", f"port {free_port}\nbind 127.0.0.1").replace("dir /data", f"dir {tmp_path}")
    conf.write_text(text, encoding="utf-8")
    script = SERVICES["redis"]["command"][0].replace("$$", "$").replace("/etc/redis.conf", str(conf))
    script = script.replace("redis-server", find_binary(), 1)
    environment = {"REDIS_PASSWORD": word, "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(["sh", "-c", script], env=environment, stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=free_port, password=word)
        stranger = redis.Redis(port=free_port)
        until_it_answers(client)
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()
        client.close()
        stranger.close()
    finally:
        process.terminate()
        assert process.wait(60) == 0


def until_it_answers(client: redis.Redis) -> None:
    deadline_s = time.monotonic() + 60
    while not answers(client):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
