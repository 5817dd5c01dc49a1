"""LPIPS and FID, where their backbones are on this machine. Nothing is ever downloaded; what is missing is named.

LPIPS needs a torchvision backbone, FID the Inception network of torch-fidelity; both keep their files in the
`checkpoints` folder of `torch.hub.get_dir()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.evaluate.optional import import_package, is_installed

# In the order of preference: papers on restoration use AlexNet. Name for torchmetrics: file of torchvision.
LPIPS_FILES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
FID_FILE = "weights-inception-2015-12-05-6726825d.pth"


class Perceptual:
    """The perceptual metrics that this machine can compute.

    Attributes:
        missing: Metric to reason, of those it cannot.
        backbone: Of LPIPS ("alex", "vgg", "squeeze"); None without one.
    """

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}
        self.backbone: str | None = None
        self._lpips = self._find_lpips()
        self._inception = self._find_inception()

    @property
    def has_fid(self) -> bool:
        """Whether `features` can be called."""
        return self._inception is not None

    @torch.inference_mode()
    def score(self, estimate: torch.Tensor, clean: torch.Tensor) -> dict[str, float]:
        """LPIPS of one photo (1, 3, H, W); empty without a backbone."""
        if self._lpips is None:
            return {}
        return {"lpips": float(self._lpips(estimate.clamp(0, 1), clean))}

    @torch.inference_mode()
    def features(self, image: torch.Tensor) -> np.ndarray:
        """Inception features (2048,) of one photo, for `frechet_distance`."""
        if self._inception is None:
            raise RuntimeError("no Inception network; look at `has_fid` first")
        pixels = (image.clamp(0, 1) * 255).round().byte()
        found: np.ndarray = self._inception(pixels)[0][0].double().numpy()
        return found

    def _find_lpips(self) -> Any:
        if not is_installed("torchmetrics"):
            self.missing["LPIPS"] = "torchmetrics is not installed: pip install 'vlmir[eval]'"
            return None
        name = next((name for name, file in LPIPS_FILES.items() if _path(file).is_file()), None)
        if name is None:
            files = ", ".join(LPIPS_FILES.values())
            self.missing["LPIPS"] = f"no backbone of torchvision ({files}) in {_folder()}; put one there"
            return None
        if not self._can_read("LPIPS", LPIPS_FILES[name]):
            return None
        module = import_package("torchmetrics.image.lpip", "vlmir[eval]", "LPIPS")
        self.backbone = name
        return module.LearnedPerceptualImagePatchSimilarity(net_type=name, normalize=True).eval()

    def _find_inception(self) -> Any:
        if not is_installed("torch_fidelity"):
            self.missing["FID"] = "torch-fidelity is not installed: pip install 'vlmir[eval]'"
            return None
        if not _path(FID_FILE).is_file():
            self.missing["FID"] = f"no Inception network ({FID_FILE}) in {_folder()}; put it there"
            return None
        if not self._can_read("FID", FID_FILE):
            return None
        package = import_package("torch_fidelity.feature_extractor_inceptionv3", "vlmir[eval]", "FID")
        extractor = package.FeatureExtractorInceptionV3
        return extractor("inception", ["2048"], feature_extractor_weights_path=str(_path(FID_FILE)))

    def _can_read(self, metric: str, file: str) -> bool:
        """Both packages unpickle whatever the file holds, so it must hold nothing but tensors."""
        try:
            torch.load(_path(file), map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001 - any damage to the file has the same remedy
            self.missing[metric] = f"{_path(file)} is no file of weights ({type(error).__name__}); fetch it again"
            return False
        return True


def frechet_distance(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """Fréchet distance of the normal distributions fitted to two sets of features (N, D), N >= 2.

    Through singular values of the centred features, which is exact and much faster than a matrix root of D x D
    when there are fewer photos than features: trace((C_a C_b)^(1/2)) is the sum of the singular values of
    A B^T / sqrt((N_a - 1)(N_b - 1)), A and B the centred features.
    """
    a, b = np.stack(found), np.stack(wanted)
    if min(len(a), len(b)) < 2:
        raise ValueError(f"got {len(a)} and {len(b)} photos, expected two or more of each")
    shift = a.mean(0) - b.mean(0)
    a, b = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b))
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(max(0.0, shift @ shift + (a * a).sum() + (b * b).sum() - 2 * root))


def _folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _path(file: str) -> Path:
    return _folder() / file
