"""docs/api.md names every path and every option."""

from __future__ import annotations

from pathlib import Path

from app.api.app import create_app
from app.api.options import RestoreParameters
from app.settings import Settings

TEXT = (Path(__file__).parents[4] / "docs" / "api.md").read_text(encoding="utf-8")


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
        content = restore["responses"][status]["content"]
        assert list(content) == ["application/problem+json"]
        assert content["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    assert restore["responses"]["202"]["content"]["application/json"]["schema"]["$ref"].endswith("JobModel")
