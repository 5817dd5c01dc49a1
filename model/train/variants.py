"""Quality per arithmetic: restoration networks of different shape, each trained for the same time on the same photos.

Stage one, photos and captions are shared; only `network` and `diffusion` of the configuration differ.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.config import ModelConfig, config_from, load_config, save_config
from model.diffusion.network import RestorationNetwork
from model.diffusion.sample_inputs import draw_inputs
from model.errors import ConfigError
from model.train.loop import RunOptions, run_training
from model.train.restorer import RestorerTask

_PARTS = ("network", "diffusion")
_TIMED_TILES = 2  # per forward: the fewest that the service runs
_ROUNDS = 5


@dataclass(frozen=True)
class Outcome:
    """What one variant costs and what it learnt.

    Attributes:
        name: Of the variant.
        parameters: Of the restoration network.
        gigaflop: Of one tile's forward.
        tile_ms: Median time of one tile's forward on this machine, milliseconds.
        steps: Training steps that fitted into the time.
        figures: Held-out PSNR by case, dB.
    """

    name: str
    parameters: int
    gigaflop: float
    tile_ms: float
    steps: int
    figures: dict[str, float]


def read_variants(path: Path, base: ModelConfig, folder: Path) -> dict[str, ModelConfig]:
    """Configurations from a JSON object of name to changed fields, such as `{"wide": {"network": {...}}}`.

    Args:
        path: The JSON file.
        base: Whose other fields every variant takes.
        folder: Where each variant's whole configuration is written, in a folder of its name.

    Raises:
        ConfigError: Not such an object, unknown fields, fields that stage one depends on, or an earlier run of that
            name had another shape.
    """
    try:
        changes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: cannot be read as JSON ({error}); give an object of name to changed fields"
        ) from error
    if not isinstance(changes, dict) or not changes:
        raise ConfigError(f"{path}: got {type(changes).__name__}, expected an object of name to changed fields")
    found = {}
    for name, change in changes.items():
        if not isinstance(change, dict) or not set(change) <= set(_PARTS):
            raise ConfigError(f"{path}: variant {name!r}: expected an object with {' and '.join(_PARTS)} only")
        if any(not isinstance(fields, dict) for fields in change.values()):
            raise ConfigError(f"{path}: variant {name!r}: expected objects of changed fields in {', '.join(change)}")
        values: dict[str, Any] = asdict(base)
        for part, fields in change.items():
            values[part] = {**values[part], **fields}
        config = config_from(values)
        if config.network.visual_pool != base.network.visual_pool:
            raise ConfigError(
                f"{path}: variant {name!r}: visual_pool is shared, it must stay {base.network.visual_pool}"
            )
        target = folder / name / "config.json"
        if target.is_file() and load_config(target) != config:
            raise ConfigError(f"{target}: an earlier run of {name!r} was of another shape; give another name or folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        save_config(config, target)
        found[name] = config
    return found


def compare(
    variants: dict[str, ModelConfig], make_task: Callable[[ModelConfig], RestorerTask], options: RunOptions
) -> Iterator[Outcome]:
    """Train one variant after the other; an interrupted comparison goes on where it stopped.

    Args:
        variants: Configurations by name.
        make_task: Gives the task of a configuration, on shared photos and captions.
        options: Of every run; each writes below `options.out / name`.
    """
    for name, config in variants.items():
        torch.manual_seed(options.seed)
        task = make_task(config)
        figures = run_training(task, replace(options, out=options.out / name))
        steps = _count_steps(options.out / name / "training" / task.name / "metrics.csv")
        network = task.network.eval()
        yield Outcome(
            name=name,
            parameters=sum(value.numel() for value in network.parameters()),
            gigaflop=_gigaflop(network, config),
            tile_ms=_tile_ms(network, config),
            steps=steps,
            figures=figures,
        )


def table(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table, one row per variant."""
    cases = list(outcomes[0].figures) if outcomes else []
    names = [case.removeprefix("psnr_") for case in cases]
    head = ["variant", "parameters, M", "GFLOP/tile", "ms/tile", "steps", *names]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in outcomes:
        cells = [row.name, f"{row.parameters / 1e6:.2f}", f"{row.gigaflop:.2f}", f"{row.tile_ms:.0f}", str(row.steps)]
        lines.append("| " + " | ".join([*cells, *(f"{row.figures[case]:.2f}" for case in cases)]) + " |")
    return "\n".join(lines)


@torch.inference_mode()
def _gigaflop(network: RestorationNetwork, config: ModelConfig) -> float:
    with FlopCounterMode(display=False) as counter:
        network(*draw_inputs(config, 1, _device(network)))
    return counter.get_total_flops() / 1e9


@torch.inference_mode()
def _tile_ms(network: RestorationNetwork, config: ModelConfig) -> float:
    inputs, spent = draw_inputs(config, _TIMED_TILES, _device(network)), []
    for _ in range(_ROUNDS + 1):
        started = time.perf_counter()
        float(network(*inputs).sum())  # waits for a GPU too
        spent.append(time.perf_counter() - started)
    return statistics.median(spent[1:]) / _TIMED_TILES * 1000


def _count_steps(path: Path) -> int:
    return int(path.read_text(encoding="utf-8").splitlines()[-1].split(",")[0])


def _device(network: RestorationNetwork) -> torch.device:
    return next(network.parameters()).device
