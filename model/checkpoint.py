"""Model folders: config.json, vocabulary.json, one safetensors file per part, and a manifest with sha256 sums.

Half precision on disk, float32 in memory; large files are sharded. Only safetensors and JSON are ever read.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from model.config import ModelConfig, load_config, save_config
from model.errors import CheckpointError
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
        return [_sha256(shard) for shard in self._shards(part)]

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
            self.save_part(config, "vlm", vlm.clip)
            words = json.dumps(list(vlm.tokenizer.words))
            (self.path / "vocabulary.json").write_text(words, encoding="utf-8")

    def load_vlm(self, config: ModelConfig) -> VisionLanguageModel:
        """Build the vision-language model and fill it from the folder, or from its published weights."""
        words: tuple[str, ...] = ()
        if config.vlm.source == "inline":
            try:
                words = tuple(json.loads((self.path / "vocabulary.json").read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError) as error:
                raise CheckpointError(f"{self.path}/vocabulary.json: cannot be read ({error})") from error
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
        self._write_manifest()

    def load_part(self, part: str, module: nn.Module, *, only: str | None = None) -> None:
        """Fill a module from the folder, strictly.

        Raises:
            CheckpointError: Files are missing, damaged (sha256), or hold other tensors than the module.
        """
        shards = self._shards(part)
        if not shards:
            command = "predictor" if part == "lora" else part  # which also trains the adapters
            raise CheckpointError(
                f"{self.path}: no {part}.safetensors; run `vlmir train {command}` or choose another model"
            )
        manifest = self._manifest()
        tensors: dict[str, torch.Tensor] = {}
        for shard in shards:
            expected = manifest.get(shard.name)
            if expected is not None and _sha256(shard) != expected:
                raise CheckpointError(
                    f"{shard}: sha256 differs from manifest.json; the file is damaged, fetch it again"
                )
            try:
                tensors |= load_file(shard)
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{shard}: not a readable safetensors file ({error})") from error
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

    def _manifest(self) -> dict[str, Any]:
        path = self.path / "manifest.json"
        if not path.is_file():
            return {}
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CheckpointError(f"{path}: not valid JSON ({error})") from error
        if not isinstance(manifest, dict):
            raise CheckpointError(f"{path}: got {type(manifest).__name__}, expected an object of sha256 sums")
        return manifest

    def _write_manifest(self) -> None:
        sums = {path.name: _sha256(path) for path in sorted(self.path.glob("*.safetensors"))}
        (self.path / "manifest.json").write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
