"""Packages that only evaluation uses: imported when needed, with an error that says how to get them."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch

from model.errors import ModelError


class MissingPackageError(ModelError):
    """A package of the extra `eval` is not installed."""


def import_package(name: str, package: str, what_for: str) -> Any:
    """Import an optional module.

    Args:
        name: Of the module.
        package: Its name for pip, or an extra such as `vlmir[eval]`.
        what_for: What cannot be done without it.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        raise MissingPackageError(f"{what_for}: {name} is not installed; pip install '{package}'") from None


def is_installed(name: str) -> bool:
    """Whether a top-level module can be imported."""
    return importlib.util.find_spec(name) is not None


def import_cv2() -> Any:
    """OpenCV, held to as many threads as torch, so that seconds can be compared."""
    cv2 = import_package("cv2", "vlmir[eval]", "classical baselines")
    cv2.setNumThreads(torch.get_num_threads())
    return cv2
