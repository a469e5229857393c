"""The network whose features fit classifies: that in --init, or one that fit pretrains."""

import dataclasses
import functools
import hashlib
import os

import numpy as np

from simclr_keras.interop.fetching.download import digest as digest_of_file
from simclr_keras.interop.open_source import open_source
from simclr_keras.models.backbone_names import backbone_record, is_backbone, is_hub
from simclr_keras.models.simclr import SimCLRModel
from simclr_keras.models.zoo import MAX_SMALL_IMAGE_SIZE, create_model
from simclr_keras.runs.open_run import OpenRun

SIZES = (160, 224, 288)  # of networks for ImageNet; larger images than they were trained on often help


@dataclasses.dataclass(frozen=True)
class StartNetwork:
    """A network of which only the features are used.

    Attributes:
        name: as the user gave it; or a name of an encoder, if there is no run.
        path: of its run directory, which may come later, or the address of its weights; None if there is no run.
        weights: of a keras: or hub: network, a file or a name; None for random weights.
    """

    name: str
    path: str | None = None
    weights: str | None = None

    @functools.cached_property
    def run(self) -> OpenRun | None:
        """Return the run. Raises InputError if it cannot be opened."""
        return open_source(self.path, flag="init", finished=True) if self.path else None

    def fingerprint(self) -> str:
        """Return a digest of the weights: another training in the same run directory has other features."""
        if self.run is None:
            is_file = os.path.isfile(self.weights or "")
            return f"{self.name} {digest_of_file(self.weights).hex() if is_file else self.weights}"
        weights, digest = self.run.weights, hashlib.blake2b(digest_size=8)
        for path, shape in sorted(weights.shapes().items()):
            if len(shape) == 1:  # enough, because a training changes all arrays
                digest.update(np.ascontiguousarray(weights.read(path)))
        return digest.hexdigest()

    @property
    def model_name(self) -> str:
        """Return the name of the encoder, as `create_model` takes it."""
        return self.run.architecture.name if self.run else self.name

    @property
    def is_backbone(self) -> bool:
        """Return whether it is a keras: or hub: network, of which each image size is a network of its own."""
        return is_backbone(self.model_name)

    @property
    def head_layers(self) -> tuple[int, ...]:
        """Return the layers of the projection head whose features may be classified; 0 is the encoder's output."""
        depth = self.run.architecture.head_depth if self.run else 0
        return tuple(range(min(depth, 2) + 1))  # the layers above are made for the contrastive loss alone

    @functools.cached_property
    def width(self) -> int:
        """Return the number of features of the encoder."""
        size = max(self.run.architecture.image_size if self.run else 224, 32)
        # Without its weights, which take long to read.
        if self.run is None:
            model = create_model(self.name, 2, proj_mode="none", image_size=size, dense_layers=())
        else:
            model = self.run.architecture.with_classifier(2, 0).build()
        return model.classifier.kernel.shape[0]

    def sizes(self, native: int, image_size: int | None) -> tuple[int, ...]:
        """Return the image sizes to try, the smallest first.

        Args:
            native: side in pixels of the photos. image_size: the only one, if the user gave it.
        """
        if self.run is not None and self.is_backbone:
            return (self.run.architecture.image_size,)
        if image_size is not None:
            return (image_size,)
        if self.run is None:
            least = 32 if is_hub(self.name) else backbone_record(self.name).min_size
            sizes = SIZES if not is_hub(self.name) else (224,)
            return tuple(size for size in sizes if size <= native) or (max(native, least),)
        own = self.run.image_size
        if own <= MAX_SMALL_IMAGE_SIZE:
            return (own,)
        larger = round(own * 4 / 3)
        return (own, larger) if larger <= native else (own,)

    def model(self, size: int, num_classes: int | None = None, head_layer: int = 0) -> SimCLRModel:
        """Return the network in float32 with its weights, and a new classifier if there are classes."""
        if self.run is None:
            return create_model(
                self.name,
                num_classes=num_classes,
                proj_mode="none",
                image_size=size,
                dense_layers=(),
                backbone_weights=self.weights,
            )
        architecture = self.run.architecture
        if num_classes is not None:
            architecture = architecture.with_classifier(num_classes, head_layer)
        model = architecture.build()
        self.run.weights.load_into(model, parts=("encoder", "projection_head"))
        return model
