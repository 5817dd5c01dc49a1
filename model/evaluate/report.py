"""The report of a model: `report.json`, and `report.html` made from it, with the pictures as files beside it.

Suites measured one after another into the same folder end up on one page, as long as configuration and weights are
the same. Nothing in it depends on the clock but the seconds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
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
        folder: Made if needed. A report of the same weights and configuration in it is continued, one of others is
            replaced.
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

    def check_fits(self, suite: str, data: Sequence[str], options: Mapping[str, Any]) -> None:
        """Refuse to let some cases join a suite whose other cases were measured otherwise.

        Args:
            suite: Name.
            data: Names of the folders of photos.
            options: Of the suite; `only` may differ.

        Raises:
            ModelError: Photos, options or machine are not those of the suite in the report.
        """
        old = self.content["suites"].get(suite)
        if old is None:
            return
        wanted = json.loads(json.dumps({**options, "only": None}))  # as read from a file: no tuples
        found = json.loads(json.dumps({**old["options"], "only": None}))
        if (old["data"], found, old["machine"]) != (list(data), wanted, self.content["machine"]):
            raise ModelError(
                f"suite {suite!r} in {self.folder} was measured with other photos or options, or on another machine, "
                "so some of its cases cannot be measured again: leave out --only, or give --report another folder"
            )

    def put(self, suite: str, section: dict[str, Any], *, merge: bool = False) -> None:
        """Set the figures of a suite and write both files.

        Args:
            suite: Name.
            section: `data`, `options`, `missing`, `rows`, `pictures`, possibly `grid`.
            merge: Replace only the cases that are in it, and keep the suite's others; False replaces the suite.

        Raises:
            ModelError: See `check_fits`.
        """
        if merge and suite in self.content["suites"]:
            self.check_fits(suite, section["data"], section["options"])
            section = _merge(self.content["suites"][suite], section)
        self.content["suites"][suite] = {**section, "machine": self.content["machine"]}
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


def _merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    before, now = old["options"].get("only"), new["options"].get("only")
    only = before  # None: all cases are there already
    if before is not None and now not in before.split(", "):
        only = f"{before}, {now}"
    return {
        **new,
        "options": {**new["options"], "only": only},
        "rows": _merge_cases(old["rows"], new["rows"]),
        "pictures": _merge_cases(old["pictures"], new["pictures"]),
    }


def _merge_cases(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Old items with those of the new cases in their place; cases that are new come last."""
    cases: dict[str, list[dict[str, Any]]] = {item["case"]: [] for item in (*old, *new)}
    renewed = {item["case"] for item in new}
    for item in (*(item for item in old if item["case"] not in renewed), *new):
        cases[item["case"]].append(item)
    return [item for items in cases.values() for item in items]


def fingerprint(restorer: Restorer) -> str:
    """Twelve hexadecimal digits that change with any weight of either stage and any field of the configuration."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(restorer.config), sort_keys=True).encode())
    for part in (restorer.guidance, restorer.network):
        for name, value in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
