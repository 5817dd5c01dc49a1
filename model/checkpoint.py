"""Model folders: config.json, vocabulary.json, one safetensors file per part, and a manifest with sha256 sums.

Half precision on disk, float32 in memory; large files are sharded. Only safetensors and JSON are ever read.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from model.config import ModelConfig, load_config, save_config
from model.errors import CheckpointError
from model.manifest import Manifest, sha256_of, write_manifest
from model.vlm.vision_language import VisionLanguageModel

WEIGHTS_DIR = Path(__file__).parent / "weights"
SHARD_BYTES = 15 * 2**20


class ModelFolder:
    """Reads and writes the parts of one model.

    Args:
        path: The folder; made when something is saved.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def has(self, part: str) -> bool:
        """Whether the weights of a part ("vlm", "lora", "predictor", "restorer") are there."""
        return bool(self._shards(part))

    def digests(self, part: str) -> list[str]:
        """Sums (sha256) of the files of a part, which tell whether two folders hold the same weights."""
        return [sha256_of(shard) for shard in self._shards(part)]

    def load_config(self) -> ModelConfig:
        """The folder's configuration."""
        if not (self.path / "config.json").is_file():
            raise CheckpointError(f"{self.path}: no config.json; a model folder is written by `vlmir train`")
        return load_config(self.path / "config.json")

    def save_vlm(self, config: ModelConfig, vlm: VisionLanguageModel) -> None:
        """Write the vision-language model; a published one is referred to by name and not copied."""
        self.path.mkdir(parents=True, exist_ok=True)
        save_config(config, self.path / "config.json")
        if config.vlm.source == "inline":
            words = json.dumps(list(vlm.tokenizer.words))
            (self.path / "vocabulary.json").write_text(words, encoding="utf-8")
            self.save_part(config, "vlm", vlm.clip)  # with the sum of the vocabulary

    def load_vlm(self, config: ModelConfig) -> VisionLanguageModel:
        """Build the vision-language model and fill it from the folder, or from its published weights."""
        words: tuple[str, ...] = ()
        if config.vlm.source == "inline":
            words = self._load_words()
        vlm = VisionLanguageModel(config.vlm, words, pretrained=not self.has("vlm"))
        if self.has("vlm"):
            self.load_part("vlm", vlm.clip)
        elif config.vlm.source == "inline":
            raise CheckpointError(f"{self.path}: no vlm.safetensors; run `vlmir train vlm` first")
        return vlm

    def save_part(self, config: ModelConfig, part: str, module: nn.Module, *, only: str | None = None) -> None:
        """Write one part in half precision, in shards of at most 15 MiB, and bring the manifest up to date.

        Args:
            config: Written beside the weights.
            part: File stem.
            module: Whose tensors are written.
            only: Keep tensors whose name holds this text (adapters alone); None keeps all.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        save_config(config, self.path / "config.json")
        tensors = {
            name: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous().clone()
            for name, value in module.state_dict().items()
            if only is None or only in name
        }
        for old in self._shards(part):
            old.unlink()
        shards: list[dict[str, torch.Tensor]] = [{}]
        size = 0
        for name, value in tensors.items():
            if size and size + value.nbytes > SHARD_BYTES:
                shards.append({})
                size = 0
            shards[-1][name] = value
            size += value.nbytes
        for index, shard in enumerate(shards):
            name = (
                f"{part}.safetensors"
                if len(shards) == 1
                else f"{part}-{index + 1:05d}-of-{len(shards):05d}.safetensors"
            )
            save_file(shard, self.path / name)
        write_manifest(self.path)

    def load_part(self, part: str, module: nn.Module, *, only: str | None = None) -> None:
        """Fill a module from the folder, strictly.

        Raises:
            CheckpointError: Files are missing, damaged (see `model.manifest`), or hold other tensors than the module.
        """
        shards = self._shards(part)
        if not shards:
            command = "predictor" if part == "lora" else part  # which also trains the adapters
            raise CheckpointError(
                f"{self.path}: no {part}.safetensors; run `vlmir train {command}` or choose another model"
            )
        Manifest(self.path).check(part, shards)
        tensors: dict[str, torch.Tensor] = {}
        for shard in shards:
            tensors |= _read_tensors(shard)
        wanted = {name: value for name, value in module.state_dict().items() if only is None or only in name}
        wrong = sorted(set(wanted) ^ set(tensors)) or [
            name for name, value in wanted.items() if value.shape != tensors[name].shape
        ]
        if wrong:
            raise CheckpointError(
                f"{self.path}/{part}: {len(wrong)} tensors do not fit the configuration, first {wrong[0]!r}; "
                "the weights belong to another config.json"
            )
        module.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()},
            strict=only is None,
        )

    def _shards(self, part: str) -> list[Path]:
        single = self.path / f"{part}.safetensors"
        return [single] if single.is_file() else sorted(self.path.glob(f"{part}-?????-of-?????.safetensors"))

    def _load_words(self) -> tuple[str, ...]:
        path = self.path / "vocabulary.json"
        try:
            words = tuple(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{path}: cannot be read ({error})") from error
        Manifest(self.path).check("vocabulary", [path])
        return words


def _read_tensors(shard: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(shard)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{shard}: not a readable safetensors file ({error})") from error
