"""A PyTorch file as our architecture and weights."""

import dataclasses
from typing import Any

import numpy as np

from simclr_keras.errors import InputError
from simclr_keras.files import expand_home
from simclr_keras.interop.network import LARGE, SMALL
from simclr_keras.interop.torch_files.match import TorchNetwork, match_arrays
from simclr_keras.interop.torch_files.read import METADATA, read_arrays
from simclr_keras.runs.architecture import TORCH_LIKE, Architecture
from simclr_keras.runs.records import RecordError

# Of ImageNet: torchvision's networks, MoCo, DINO and most others were trained on images normalized by these.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class TorchFile:
    """Weights of a PyTorch file.

    Attributes:
        architecture: with the max-pool and the normalization of the file.
        left_out: number of the file's arrays that are not taken, by what they are.
    """

    architecture: Architecture
    left_out: dict[str, int]
    _network: TorchNetwork

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every variable by its path within a SimCLRModel."""
        return {array.ours: array.shape for array in self._network.variables}

    def read(self, path: str) -> np.ndarray:
        """Return the array of a variable by its path within a SimCLRModel."""
        return next(a for a in self._network.variables if a.ours == path).to_ours(self._network.arrays)

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines on the arrays that were left out and on the normalization."""
        counts = ", ".join(f"{count} of {kind}" for kind, count in sorted(self.left_out.items()))
        notes = (f"left out {counts}",) if counts else ()
        architecture = self.architecture
        if architecture.pixel_mean is None:
            return notes
        return (*notes, f"images become (pixels - {architecture.pixel_mean}) / {architecture.pixel_std}")


def open_torch(path: str) -> TorchFile:
    """Return the ResNet in a file of PyTorch's arrays, see `read_arrays`.

    Files written by simclr export_torch show in their metadata what the arrays do not: max-pool, mean and std, image
    size. For all others, these are PyTorch's max-pool, ImageNet's mean and std, and 224 pixels (32 with a 3x3 stem).

    Raises:
        InputError: one line: see `read_arrays` and `match_arrays`; or the metadata is damaged.
    """
    path = expand_home(path)
    arrays, about = read_arrays(path)
    network = match_arrays(arrays, path)
    encoder = network.encoder
    values: dict[str, Any] = {
        "name": encoder.name,
        "image_size": SMALL if encoder.small_images else LARGE,
        "max_pool_padding": "torch",
        "pixel_mean": [*MEAN],
        "pixel_std": [*STD],
        **{name: value for name, value in about.items() if name in ("image_size", *TORCH_LIKE)},
        "num_classes": network.num_classes,
        "proj_mode": "none",
        "se_ratio": encoder.se_ratio,
    }
    try:
        architecture = Architecture.from_json({name: v for name, v in values.items() if v is not None})
    except RecordError as error:
        raise InputError(
            f"{path} has a damaged entry {METADATA} in its metadata ({error}); write it again."
        ) from error
    return TorchFile(architecture, network.left_out, network)
