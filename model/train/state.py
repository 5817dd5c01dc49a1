"""Training state on disk: weights, optimiser moments, EMA and counters, as safetensors and JSON (no pickle)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from model.errors import CheckpointError


class ExponentialMovingAverage:
    """Averaged copy of what training changes in a module, with a warm-up so that early averages are not stale.

    That is its trainable parameters and the statistics it gathers (BatchNorm): averaged weights give other activations
    than the present ones, and do not go with their statistics.

    Args:
        module: The module to follow.
        decay: Weight of the old average once warmed up.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {name: value.detach().clone() for name, value in _changing(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards the module's present parameters."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in _changing(module).items():
            self.shadow[name].lerp_(value.detach(), 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> dict[str, torch.Tensor]:
        """Put the average into the module; returns what was there, for `restore`."""
        backup = {}
        for name, value in _changing(module).items():
            backup[name] = value.detach().clone()
            value.copy_(self.shadow[name])
        return backup


@torch.no_grad()
def restore_parameters(module: nn.Module, backup: dict[str, torch.Tensor]) -> None:
    """Undo `ExponentialMovingAverage.copy_to`."""
    for name, value in _changing(module).items():
        value.copy_(backup[name])


def save_state(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: ExponentialMovingAverage,
    counters: dict[str, float],
) -> None:
    """Write everything a run needs to go on; the file is replaced atomically."""
    tensors = {f"module.{name}": value.detach().cpu().contiguous() for name, value in module.named_parameters()}
    tensors |= {f"buffer.{name}": value.detach().cpu().contiguous() for name, value in _buffers(module).items()}
    tensors |= {f"ema.{name}": value.cpu().contiguous() for name, value in ema.shadow.items()}
    names = {id(value): name for name, value in module.named_parameters()}
    for parameter, moments in optimizer.state.items():
        for key, value in moments.items():
            tensors[f"optimizer.{key}.{names[id(parameter)]}"] = torch.as_tensor(value).cpu().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    save_file(tensors, temporary, metadata={"counters": json.dumps(counters)})
    temporary.replace(path)


def load_state(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, ema: ExponentialMovingAverage
) -> dict[str, float]:
    """Read what `save_state` wrote into the same kind of objects; returns the counters.

    Raises:
        CheckpointError: The file is damaged or belongs to another configuration.
    """
    parameters, buffers = dict(module.named_parameters()), _buffers(module)
    try:
        with safe_open(path, framework="pt") as archive:
            counters: dict[str, float] = json.loads((archive.metadata() or {})["counters"])
            tensors: dict[str, Any] = {key: archive.get_tensor(key) for key in archive.keys()}  # noqa: SIM118 (no iterator)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: cannot read the training state ({error}); start again in a new folder"
        ) from error
    # states written before statistics were averaged lack those averages, which begin with the statistics then
    needed = {f"module.{name}" for name in parameters} | {f"ema.{name}" for name in ema.shadow if name in parameters}
    if not needed <= set(tensors):
        raise CheckpointError(
            f"{path}: lacks {min(needed - set(tensors))}, so it belongs to another configuration; "
            "start again in a new folder"
        )
    with torch.no_grad():
        for key, value in tensors.items():
            group, _, name = key.partition(".")
            moment, _, parameter = name.partition(".") if group == "optimizer" else ("", "", name)
            if group in ("buffer", "ema") and parameter in buffers and value.shape == buffers[parameter].shape:
                (buffers if group == "buffer" else ema.shadow)[parameter].copy_(value)
                continue
            if parameter not in parameters or (moment != "step" and value.shape != parameters[parameter].shape):
                raise CheckpointError(
                    f"{path}: holds {key} of shape {tuple(value.shape)}, which this configuration does not have"
                )
            if group == "module":
                parameters[parameter].copy_(value)
            elif group == "ema":
                ema.shadow[parameter].copy_(value)
            else:
                device = "cpu" if moment == "step" else parameters[parameter].device
                optimizer.state[parameters[parameter]][moment] = value.to(device)
        for name in ema.shadow.keys() & buffers.keys():
            if f"ema.{name}" not in tensors:
                ema.shadow[name].copy_(buffers[name])
    return counters


def _changing(module: nn.Module) -> dict[str, torch.Tensor]:
    """What training changes: trainable parameters, and persistent buffers that are not counters."""
    found: dict[str, torch.Tensor] = {name: value for name, value in module.named_parameters() if value.requires_grad}
    return found | {name: value for name, value in _buffers(module).items() if value.is_floating_point()}


def _buffers(module: nn.Module) -> dict[str, torch.Tensor]:
    """Persistent buffers, such as the running statistics of a normalisation."""
    return {
        name: value for name, value in module.state_dict(keep_vars=True).items() if not isinstance(value, nn.Parameter)
    }
