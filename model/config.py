"""Model sizes as frozen dataclasses, read from and written to JSON.

A named configuration is a file in `model/configs`; nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from model.errors import ConfigError

CONFIG_DIR = Path(__file__).parent / "configs"
JPEG_BLOCK = 8  # px: tiles, crops and views lie on the block grid of JPEG files
QUALITIES = ("fast", "balanced", "best")
T = TypeVar("T")


@dataclass(frozen=True)
class VLMConfig:
    """The vision-language model: our own small CoCa, or any open_clip model by name."""

    # "inline" = the sizes below; or "open_clip:NAME", "open_clip:NAME/TAG", "hf-hub:ORG/REPO", "local-dir:PATH"
    source: str = "inline"
    embed_dim: int = 256  # width of the joint embedding; must equal the named model's
    image_px: int = 128  # side of the square the image tower sees
    patch_px: int = 16  # side of one token's patch
    width: int = 256  # image, text and decoder width (one value: tokens pass without projection)
    head_width: int = 64  # channels per attention head
    vision_layers: int = 6
    text_layers: int = 3
    decoder_layers: int = 2  # caption decoder; 0 = a plain CLIP without captions
    context_length: int = 24  # longest caption in tokens, start and end included
    vocab_size: int = 3000  # words of the cut vocabulary, specials included
    conv_stem: bool = True  # convolutional patch embedding: learns faster from little data
    early_block: int = 1  # block whose tokens keep low-level detail for the degradation predictor
    native_views: int = 4  # crops at native resolution beside the whole photo (noise vanishes when a photo is shrunk)
    lora_rank: int = 8
    lora_alpha: int = 16


@dataclass(frozen=True)
class PredictorConfig:
    """The degradation predictor on the frozen image tower's tokens."""

    width: int = 192
    heads: int = 4
    layers: int = 2  # cross-attention rounds of the queries over the tokens
    channels: int = 24  # first convolution of the branch that sees the pixels


@dataclass(frozen=True)
class NetworkConfig:
    """The restoration network: a U-Net of NAFNet blocks, or diffusers' UNet2DConditionModel."""

    backbone: str = "nafnet"  # "nafnet" | "unet2d"
    widths: tuple[int, ...] = (48, 96, 160)  # channels per level, after the x2 pixel-unshuffle
    blocks: tuple[int, ...] = (2, 2, 3)  # blocks per level on the way down (last = middle)
    decoder_blocks: tuple[int, ...] = (2, 2)  # blocks per level on the way up, finest first
    attention_levels: tuple[int, ...] = (1, 2)  # levels with cross-attention to the context tokens
    head_width: int = 32
    context_dim: int = 128  # width of the context tokens
    visual_pool: int = 4  # patch tokens are pooled to a grid of this side
    tokens_per_embedding: int = 4  # learned tokens that e_c and the caption embedding are expanded to
    time_dim: int = 128  # width of the time and degradation embedding (FiLM)
    stem_factor: int = 2  # pixel-unshuffle factor


@dataclass(frozen=True)
class DiffusionConfig:
    """The mean-reverting bridge (IR-SDE) between the clean and the damaged photo."""

    timesteps: int = 100  # T
    schedule: str = "cosine"  # "cosine" | "linear"
    final_mean: float = 0.005  # B_T, what is left of the clean photo at T
    noise_level: float = 10.0  # lambda in 1/255
    stochastic: bool = False  # keep the noise term of a jump


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to build a model; weights are stored beside it."""

    name: str
    description: str = ""
    vlm: VLMConfig = field(default_factory=VLMConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    tile_px: int = 256  # side of the one tile size every job is cut into
    overlap_px: int = 32  # window-weighted overlap of neighbouring tiles
    steps: dict[str, int] = field(default_factory=lambda: {"fast": 1, "balanced": 2, "best": 4})  # per quality
    # per quality (not "fast"), steps for kinds that want another number than `steps` says; see `model/budget.py`
    steps_by_kind: dict[str, dict[str, int]] = field(default_factory=dict)
    # kinds that count as absent below a probability: a false alarm costs more than a miss; see `model/observe.py`
    least_probability: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        network, factor = self.network, self.network.stem_factor * 2 ** (len(self.network.widths) - 1)
        if self.tile_px % factor or self.tile_px <= 2 * self.overlap_px:
            raise ConfigError(
                f"tile_px {self.tile_px}: expected a multiple of {factor}, more than twice overlap_px {self.overlap_px}"
            )
        if self.tile_px % JPEG_BLOCK or self.overlap_px % JPEG_BLOCK:
            raise ConfigError(
                f"tile_px {self.tile_px}, overlap_px {self.overlap_px}: expected multiples of {JPEG_BLOCK}, so that "
                "tiles lie on the block grid of JPEG files"
            )
        if len(network.blocks) != len(network.widths) or len(network.decoder_blocks) != len(network.widths) - 1:
            raise ConfigError(
                f"network: {len(network.widths)} widths need as many blocks (got {len(network.blocks)}) and one "
                f"decoder entry less (got {len(network.decoder_blocks)})"
            )
        if network.backbone not in ("nafnet", "unet2d"):
            raise ConfigError(f"network.backbone {network.backbone!r}: expected 'nafnet' or 'unet2d'")
        if any(not 0 <= level < len(network.widths) for level in network.attention_levels):
            raise ConfigError(
                f"network.attention_levels {network.attention_levels}: expected levels 0 to {len(network.widths) - 1}"
            )
        self._check_steps()
        if wrong := {kind: least for kind, least in self.least_probability.items() if not 0 <= least <= 1}:
            raise ConfigError(f"least_probability: got {wrong}, expected 0..1")

    def _check_steps(self) -> None:
        most = self.diffusion.timesteps
        missing = [quality for quality in QUALITIES if quality not in self.steps]
        if missing or any(not 1 <= n <= most for n in self.steps.values()):
            raise ConfigError(f"steps {self.steps}: needs {QUALITIES}, each between 1 and {most} (timesteps)")
        for quality, budget in self.steps_by_kind.items():
            if quality not in QUALITIES[1:]:
                raise ConfigError(
                    f"steps_by_kind: got quality {quality!r}, expected {' or '.join(QUALITIES[1:])}; "
                    "'fast' takes the same number for every photo"
                )
            if any(not 1 <= n <= most for n in budget.values()):
                raise ConfigError(f"steps_by_kind.{quality} {budget}: each between 1 and {most} (timesteps)")


def list_configs() -> tuple[str, ...]:
    """Names of the configurations that ship with the package, in alphabetical order."""
    return tuple(sorted(path.stem for path in CONFIG_DIR.glob("*.json")))


def load_config(name_or_path: str | Path) -> ModelConfig:
    """Read a configuration by its name in `model/configs` or by the path of a JSON file.

    Raises:
        ConfigError: No such configuration, not JSON, unknown keys or values that do not fit.
    """
    path = Path(name_or_path)
    if path.suffix != ".json":
        path = CONFIG_DIR / f"{name_or_path}.json"
    if not path.is_file():
        raise ConfigError(
            f"configuration {str(name_or_path)!r} not found; known: {', '.join(list_configs())}; or give a .json file"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not even text
        raise ConfigError(f"{path}: not valid JSON ({error})") from error
    return _build(ModelConfig, values, "")


def config_from(values: dict[str, Any]) -> ModelConfig:
    """A configuration from what its JSON file would hold.

    Raises:
        ConfigError: Unknown keys or values that do not fit.
    """
    values = json.loads(json.dumps(values))  # tuples as lists
    return _build(ModelConfig, values, "")


def save_config(config: ModelConfig, path: Path) -> None:
    """Write a configuration as indented JSON that `load_config` reads back equal."""
    path.write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n", encoding="utf-8")


def _build(cls: type[T], values: Any, where: str) -> T:
    if not isinstance(values, dict):
        raise ConfigError(f"{where or 'configuration'}: got {type(values).__name__}, expected an object")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ConfigError(f"{where or 'configuration'}: unknown keys {unknown}; known: {sorted(hints)}")
    try:
        return cls(**{key: _convert(hints[key], value, f"{where}.{key}".lstrip(".")) for key, value in values.items()})
    except TypeError as error:
        raise ConfigError(f"{where or 'configuration'}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            raise ConfigError(f"{where}: got {value!r}, expected a list of whole numbers")
        return tuple(value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: got {value!r}, expected an object")
        return {key: _convert(typing.get_args(hint)[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: got {value!r}, expected {hint.__name__}")
    return value
