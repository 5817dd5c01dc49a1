"""Captured graphs on a real GPU: they give what the network itself gives, for every batch size and again and again."""

from __future__ import annotations

import pytest
import torch

from model.config import load_config
from model.forward import TileForward
from model.pipeline import Restorer
from tests.unit.model.test_forward import random_batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_replayed_graphs_give_what_the_network_gives() -> None:
    restorer = Restorer.random(load_config("tiny"), device="cuda")
    eager = TileForward(restorer.network, restorer.device, graphs=False)
    for size, seed in ((2, 0), (4, 1), (2, 2), (8, 3), (4, 4)):
        batch = random_batch(restorer, size, seed)
        torch.testing.assert_close(restorer.forward(batch), eager(batch), rtol=0, atol=1 / 255)


def test_graphs_come_back_after_their_memory_was_given_back() -> None:
    restorer = Restorer.random(load_config("tiny"), device="cuda")
    batch = random_batch(restorer, 2, 0)
    first = restorer.forward(batch).clone()
    restorer.forward.forget_graphs()
    torch.testing.assert_close(restorer.forward(batch), first, rtol=0, atol=1 / 255)
