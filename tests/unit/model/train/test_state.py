"""Averages that start quickly, and training states that come back whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from model.errors import CheckpointError
from model.train.state import ExponentialMovingAverage, load_state, restore_parameters, save_state


def build(width: int = 3, seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer, ExponentialMovingAverage]:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))
    return module, torch.optim.AdamW(module.parameters(), lr=0.1), ExponentialMovingAverage(module, 0.9)


def walk(module: nn.Module, optimizer: torch.optim.Optimizer, ema: ExponentialMovingAverage, steps: range) -> None:
    for step in steps:
        x = torch.randn(8, 2, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        torch.autograd.backward((module(x) - x.sum(1, keepdim=True)).square().mean())
        optimizer.step()
        ema.update(module, step)


def test_average_follows_quickly_at_first_and_slowly_later() -> None:
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.zero_()
    ema = ExponentialMovingAverage(module, 0.99)
    module.weight.data.fill_(1.0)
    ema.update(module, 0)
    assert float(ema.shadow["weight"]) == pytest.approx(0.9)  # weight of the old one: 1 / 10
    module.weight.data.fill_(0.0)
    ema.update(module, 10)
    assert float(ema.shadow["weight"]) == pytest.approx(0.9 * 11 / 20)
    before = float(ema.shadow["weight"])
    ema.update(module, 100_000)
    assert float(ema.shadow["weight"]) == pytest.approx(0.99 * before)


def test_average_goes_in_and_out_of_a_module() -> None:
    module, optimizer, ema = build()
    walk(module, optimizer, ema, range(5))
    raw = {name: value.detach().clone() for name, value in module.named_parameters()}
    backup = ema.copy_to(module)
    for name, value in module.named_parameters():
        assert torch.equal(value, ema.shadow[name])
        assert not torch.equal(value, raw[name])
    restore_parameters(module, backup)
    assert all(torch.equal(value, raw[name]) for name, value in module.named_parameters())


def test_statistics_are_averaged_with_the_weights() -> None:
    module, optimizer, ema = build()
    walk(module, optimizer, ema, range(5))
    live = {name: value.clone() for name, value in module.named_buffers()}
    backup = ema.copy_to(module)
    for name in ("1.running_mean", "1.running_var"):
        assert torch.equal(module.state_dict()[name], ema.shadow[name])
        assert not torch.equal(ema.shadow[name], live[name])
    assert "1.num_batches_tracked" not in ema.shadow
    restore_parameters(module, backup)
    for name, value in module.named_buffers():
        assert torch.equal(value, live[name])


def test_states_from_before_statistics_were_averaged_go_on(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    first, again = build(), build(seed=1)
    walk(*first, range(4))
    save_state(path, *first, {"step": 4})
    with safe_open(path, framework="pt") as archive:
        metadata, names = archive.metadata(), [key for key in archive.keys() if "ema.1.running" not in key]  # noqa: SIM118
        kept = {name: archive.get_tensor(name) for name in names}
    save_file(kept, path, metadata=metadata)
    load_state(path, *again)
    for name in ("1.running_mean", "1.running_var"):
        assert torch.equal(again[2].shadow[name], first[0].state_dict()[name])
    walk(*again, range(4, 6))


def test_frozen_weights_are_not_averaged() -> None:
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    assert set(ExponentialMovingAverage(module, 0.9).shadow) == {"weight"}


def test_a_state_that_comes_back_goes_on_alike(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    first, again = build(), build(seed=1)
    walk(*first, range(4))
    save_state(path, *first, {"step": 4, "elapsed_s": 1.5})
    assert load_state(path, *again) == {"step": 4, "elapsed_s": 1.5}
    walk(*first, range(4, 8))
    walk(*again, range(4, 8))
    for name, value in first[0].state_dict().items():
        torch.testing.assert_close(again[0].state_dict()[name], value, rtol=0, atol=0)
    for name, value in first[2].shadow.items():
        assert torch.equal(again[2].shadow[name], value)


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    parts = build()
    walk(*parts, range(2))
    save_state(path, *parts, {"step": 2})
    path.with_suffix(".partial").mkdir()  # nothing can be written there
    with pytest.raises(Exception, match=r"[Dd]irectory"):
        save_state(path, *parts, {"step": 3})
    assert load_state(path, *build()) == {"step": 2}


def test_what_an_interrupted_write_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    parts = build()
    path.with_suffix(".partial").write_bytes(b"half a file")
    save_state(path, *parts, {"step": 0})
    assert load_state(path, *build()) == {"step": 0}
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]


@pytest.mark.parametrize("keep", [0, 5, 200, -10])
def test_damaged_states_are_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "state.safetensors"
    parts = build()
    walk(*parts, range(2))
    save_state(path, *parts, {"step": 2})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="cannot read the training state"):
        load_state(path, *build())


@pytest.mark.parametrize("width", [2, 5])
def test_states_of_another_configuration_are_refused(tmp_path: Path, width: int) -> None:
    path = tmp_path / "state.safetensors"
    parts = build()
    walk(*parts, range(2))
    save_state(path, *parts, {"step": 2})
    with pytest.raises(CheckpointError, match="which this configuration does not have"):
        load_state(path, *build(width))


def test_states_with_tensors_missing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, *build(), {"step": 0})
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    larger = module, torch.optim.AdamW(module.parameters()), ExponentialMovingAverage(module, 0.9)
    with pytest.raises(CheckpointError, match=r"lacks \w+\.2\."):
        load_state(path, *larger)
