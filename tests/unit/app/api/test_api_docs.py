"""docs/api.md names every public error code, every path and every option."""

from __future__ import annotations

import re
from pathlib import Path

from app.api.app import create_app
from app.api.options import RestoreParameters
from app.client import RemoteError, ServiceUnreachableError, WaitTimeoutError
from app.errors import DeviceUnavailableError, EmbeddedRedisError, ServiceError
from app.settings import Settings

TEXT = (Path(__file__).parents[4] / "docs" / "api.md").read_text(encoding="utf-8")
NEVER_SENT = (DeviceUnavailableError, EmbeddedRedisError, RemoteError, ServiceUnreachableError, WaitTimeoutError)


def kinds(base: type[ServiceError]) -> list[type[ServiceError]]:
    return [base, *(found for kind in base.__subclasses__() for found in kinds(kind))]


def test_every_error_code_is_documented_with_its_status() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", TEXT, re.MULTILINE))
    for kind in kinds(ServiceError):
        if kind.__module__ != "app.errors" and kind.__module__ != "app.api.problems":
            continue
        if kind in NEVER_SENT:
            continue
        if kind.code in rows:
            assert int(rows[kind.code]) == kind.status, kind
        else:
            assert f"`{kind.code}`" in TEXT, f"{kind.code} is missing in docs/api.md"


def test_every_path_and_option_is_documented() -> None:
    app = create_app(Settings(redis_url="redis://127.0.0.1:1"))
    schema = app.openapi()
    for path, methods in schema["paths"].items():
        for method in methods:
            line = f"{method.upper()} {path.replace('{job_id}', '{id}').replace('{batch_id}', '{id}')}"
            assert line in TEXT or path == "/restore", f"{line} is missing in docs/api.md"
    for option in RestoreParameters.model_fields:
        assert f"| `{option}` |" in TEXT
    restore = schema["paths"]["/restore"]["post"]
    assert {"multipart/form-data", "image/*", "application/octet-stream"} <= set(restore["requestBody"]["content"])
    assert {"quality", "steps", "seed", "caption", "format", "model", "Prefer"} <= {
        item["name"] for item in restore["parameters"]
    }
    for status in ("400", "413", "415", "422", "503"):
        assert restore["responses"][status]["content"] == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    assert restore["responses"]["202"]["content"]["application/json"]["schema"]["$ref"].endswith("JobModel")
