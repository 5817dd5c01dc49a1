"""Fixtures of the model's tests: one torch thread, one tiny restorer per test session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from model.config import ModelConfig, load_config
from model.pipeline import Restorer


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tests share the machine; several threads would only make their tiny tensors slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    """The configuration with random weights."""
    return load_config("tiny")


@pytest.fixture(scope="session")
def restorer() -> Restorer:
    """A tiny restorer that all tests share; nobody changes its weights."""
    return Restorer.load("tiny")
