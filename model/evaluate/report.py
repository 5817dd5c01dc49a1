"""The report of a model: `report.json`, and `report.html` made from it, with the pictures as files beside it.

Suites measured one after another into the same folder end up on one page, as long as model and weights are the same.
Nothing in it depends on the clock but the seconds.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import torch

from model.errors import ModelError
from model.evaluate.pages import render_page
from model.pipeline import Restorer

FORMAT = 1
JSON_NAME, HTML_NAME = "report.json", "report.html"


class Report:
    """A report folder.

    Args:
        folder: Made if needed. A report of the same weights in it is continued, one of others is replaced.
        restorer: Whose figures these are.
    """

    def __init__(self, folder: Path, restorer: Restorer) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        identity = {
            "name": restorer.name,
            "parameters": restorer.parameters_count,
            "weights": fingerprint(restorer),
        }
        self.content: dict[str, Any] = {"format": FORMAT, "model": identity, "suites": {}}
        old = self._read()
        self.is_continued = old.get("format") == FORMAT and old.get("model") == identity
        if self.is_continued:
            self.content["suites"] = old["suites"]
        self.content["machine"] = {
            "processor": platform.machine(),
            "device": restorer.device.type,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }

    def put(self, suite: str, section: dict[str, Any]) -> None:
        """Set the figures of a suite, in place of older ones, and write both files."""
        self.content["suites"][suite] = section
        text = json.dumps(self.content, indent=2, ensure_ascii=False, allow_nan=False)
        (self.folder / JSON_NAME).write_text(text + "\n", encoding="utf-8")
        (self.folder / HTML_NAME).write_text(render_page(self.content), encoding="utf-8")

    def _read(self) -> dict[str, Any]:
        path = self.folder / JSON_NAME
        if not path.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelError(f"{path}: not a report ({error}); delete it, or give --report another folder") from error
        return found if isinstance(found, dict) else {}


def fingerprint(restorer: Restorer) -> str:
    """Twelve hexadecimal digits that change with any weight of either stage."""
    digest = hashlib.sha256()
    for part in (restorer.guidance, restorer.network):
        for name, value in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
