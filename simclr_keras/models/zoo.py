"""The named models r{depth}_{width}x_sk{0,1}, their published results, keras:NAME, hub:PRESET; create_model."""

import dataclasses
import difflib
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from simclr_keras.errors import InputError
from simclr_keras.models.backbone_names import (
    BACKBONES,
    HUB_PREFIX,
    PREFIX,
    backbone_record,
    check_backbone,
    is_backbone,
    is_hub,
)

if TYPE_CHECKING:
    from simclr_keras.models.simclr import SimCLRModel

PAPER = "https://arxiv.org/abs/2006.10029"
MIN_IMAGE_SIZE = 8
MAX_SMALL_IMAGE_SIZE = 32
DTYPES = ("float32", "mixed_bfloat16", "mixed_float16", "float64")
DEPTHS = (18, 34, 50, 101, 152, 200)
RESNET_NAME = re.compile(r"r(\d+)_(\d+(?:\.\d+)?)x_sk([01])")


@dataclasses.dataclass(frozen=True)
class ModelRecord:
    """A variant and its published results. Accuracies are ImageNet top-1 in percent (Table 1); None if unpublished.

    Attributes:
        name: r{depth}_{width}x_sk{0,1}.
        params: parameters of the encoder, moving statistics included, in millions.
        finetune_1pct, finetune_10pct, finetune_100pct: fine-tuned on that share of the labels.
        linear: linear evaluation on all labels.
        supervised: trained with all labels from scratch.
        image_size: height and width of the images in pixels.
        pixel_range: what the images must be scaled to. There is no mean or standard deviation step.
        source: where the figures come from.
        license: of the published weights.
    """

    name: str
    params: int | None = None
    finetune_1pct: float | None = None
    finetune_10pct: float | None = None
    finetune_100pct: float | None = None
    linear: float | None = None
    supervised: float | None = None
    image_size: int = 224
    pixel_range: tuple[float, float] = (0.0, 1.0)
    source: str | None = None
    license: str | None = None


def _published(*figures):
    return ModelRecord(*figures, source=f"{PAPER}, Table 1", license="Apache-2.0")


PUBLISHED = {
    record.name: record
    for record in (
        #           name       params  1 %  10 % 100 % linear supervised
        _published("r50_1x_sk0", 24, 57.9, 68.4, 76.3, 71.7, 76.6),
        _published("r50_1x_sk1", 35, 64.5, 72.1, 78.7, 74.6, 78.5),
        _published("r50_2x_sk0", 94, 66.3, 73.9, 79.1, 75.6, 77.8),
        _published("r50_2x_sk1", 140, 70.6, 77.0, 81.3, 77.7, 79.3),
        _published("r101_1x_sk0", 43, 62.1, 71.4, 78.2, 73.6, 78.0),
        _published("r101_1x_sk1", 65, 68.3, 75.1, 80.6, 76.3, 79.6),
        _published("r101_2x_sk0", 170, 69.1, 75.8, 80.7, 77.0, 78.9),
        _published("r101_2x_sk1", 257, 73.2, 78.8, 82.4, 79.0, 80.1),
        _published("r152_1x_sk0", 58, 64.0, 73.0, 79.3, 74.5, 78.3),
        _published("r152_1x_sk1", 89, 70.0, 76.5, 81.3, 77.2, 79.9),
        _published("r152_2x_sk0", 233, 70.2, 76.6, 81.1, 77.4, 79.1),
        _published("r152_2x_sk1", 354, 74.2, 79.4, 82.9, 79.4, 80.4),
        _published("r152_3x_sk1", 795, 74.9, 80.1, 83.1, 79.8, 80.5),
    )
}


def list_models() -> list[str]:
    """Return the names of variants: the 13 published ones first, then other depths and widths.

    Widths listed are 1, 2 and 3; any other positive width is valid too, such as r18_0.25x_sk0.

    >>> from simclr_keras import list_models
    >>> list_models()[:2]
    ['r50_1x_sk0', 'r50_1x_sk1']
    """
    names = [f"r{depth}_{width}x_sk{sk}" for depth in DEPTHS for width in (1, 2, 3) for sk in (0, 1)]
    return [*PUBLISHED, *(name for name in names if name not in PUBLISHED)]


def model_record(name: str) -> ModelRecord:
    """Return the ModelRecord of a model; its accuracies are None if it is not published.

    Accuracies are ImageNet top-1 in percent, 0 to 100. Source: SimCLRv2, arXiv 2006.10029, Table 1.

    >>> from simclr_keras import model_record
    >>> model_record("r50_1x_sk0").finetune_1pct
    57.9

    Args:
        name: r{depth}_{width}x_sk{0,1}, keras:NAME or hub:PRESET.

    Raises:
        InputError: there is no such model.
    """
    check_name(name)
    return PUBLISHED.get(name) or ModelRecord(name)


def check_name(name: str) -> None:
    """Accept the names that `create_model` knows: r{depth}_{width}x_sk{0,1}, keras:NAME and hub:PRESET.

    Raises:
        InputError: there is no such model; the message names the nearest one.
    """
    if is_hub(name):
        if name == HUB_PREFIX:
            raise InputError(
                f"Unknown model; give a preset of keras-hub, hub:PRESET. Received: name={name!r}"
            )
    elif is_backbone(name):
        backbone_record(name)
    elif name in BACKBONES:
        raise InputError(f"Unknown model; did you mean {PREFIX}{name}? Received: name={name!r}")
    else:
        parse_name(name)


def is_wide_or_selective(name: str) -> bool:
    """Return whether a name is that of a ResNet wider than 1x or with selective kernels."""
    match = RESNET_NAME.fullmatch(name)
    return match is not None and (float(match[2]) > 1 or match[3] == "1")


def parse_name(name: str) -> tuple[int, float, bool]:
    """Return (depth, width, whether it has selective kernels) of a variant's name.

    Raises:
        InputError: there is no such variant; the message names the nearest one.
    """
    match = RESNET_NAME.fullmatch(str(name))
    if match:
        depth, width, selective_kernel = int(match[1]), float(match[2]), match[3] == "1"
        if depth in DEPTHS and width > 0:
            return depth, width, selective_kernel
    # "resnet18" means the depth 18.
    number = re.search(r"\d+", str(name))
    meant = (
        f"r{number[0]}_1x_sk0" if number and int(number[0]) in DEPTHS and "_" not in str(name) else str(name)
    )
    nearest = difflib.get_close_matches(meant, list_models(), n=1, cutoff=0.0)[0]
    depths = ", ".join(map(str, DEPTHS))
    raise InputError(
        f"Unknown model; names read r{{depth}}_{{width}}x_sk{{0 or 1}} with depth {depths} "
        f"and a width above 0. Did you mean {nearest}? Received: name={name!r}"
    )


def create_model(
    name: str,
    num_classes: int | None = None,
    proj_layers: int = 3,
    proj_dim: int = 128,
    proj_mode: str = "nonlinear",
    proj_hidden_dim: int | None = None,
    image_size: int = 224,
    se_ratio: float = 0.0,
    head_layer: int = 0,
    stop_gradient: bool = False,
    classifier_init: str = "normal",
    dtype: str = "float32",
    kept_head_layers: int | None = None,
    backbone_weights: str | os.PathLike | None = None,
    backbone_trainable: bool = True,
    dense_layers: Sequence[int] = (256,),
    max_pool_padding: str = "same",
    pixel_mean: Sequence[float] | None = None,
    pixel_std: Sequence[float] | None = None,
) -> "SimCLRModel":
    """Return the named model as a built SimCLRModel with fresh weights.

    The model maps float [0, 1] images [n, h, w, 3] to a dict of endpoints, see `SimCLRModel`. Source: SimCLRv2,
    arXiv 2006.10029, section 2 and appendix B.

    >>> import numpy as np
    >>> from simclr_keras import create_model
    >>> model = create_model("r18_0.125x_sk0", num_classes=10, image_size=8)
    >>> endpoints = model(np.zeros([2, 8, 8, 3], "float32"), training=False)
    >>> endpoints["final_avg_pool"].shape, endpoints["logits"].shape
    (TensorShape([2, 64]), TensorShape([2, 10]))

    Args:
        name: r{depth}_{width}x_sk{0,1}, see list_models; or keras:NAME, such as keras:VGG16, for any network of
            keras.applications as the encoder; or hub:PRESET for a backbone of keras-hub.
        num_classes: classes of the linear classifier (logits); None for none.
        proj_layers: layers of the projection head, 0 or more (3 in SimCLRv2).
        proj_dim: width of the embedding.
        proj_mode: "nonlinear", "linear" or "none".
        proj_hidden_dim: width of the head's hidden layers; None for that of the representation, as published.
        image_size: height and width of the images in pixels, at least 8; up to 32 gets the stem for small
            images (3x3, no pool). The model then takes images of any size, best of this one. A Keras backbone may
            need larger ones, and takes this size alone.
        se_ratio: squeeze-excitation ratio in [0, 1]; 0 for none, which is all that Keras backbones take.
        head_layer: the classifier sits on proj_head_{head_layer}; 0 is the representation.
        stop_gradient: True makes the classifier an online probe, whose loss leaves the network alone.
        classifier_init: "normal" (standard deviation 0.01) or "zeros".
        dtype: "float32", "mixed_bfloat16", "mixed_float16" or "float64". Heads are float32 at least.
        kept_head_layers: only the first so many layers of the projection head exist; None for all.
        backbone_weights: of a Keras backbone: None for random ones, "imagenet" (keras:, downloaded once), "preset"
            (hub:) or the path of a .weights.h5, .keras or .h5 file; see load_backbone_weights.
        backbone_trainable: whether a Keras backbone trains; if not, it is in inference mode and the dense layers train.
        dense_layers: widths of the dense layers between a Keras backbone and its representation.
        max_pool_padding, pixel_mean, pixel_std: of a ResNet, see `ResNet`: for weights from PyTorch.

    Raises:
        InputError: an argument is out of its range.
    """
    check_name(name)
    if image_size < MIN_IMAGE_SIZE:
        raise InputError(
            f"image_size must be at least {MIN_IMAGE_SIZE} pixels. Received: image_size={image_size}"
        )
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}. Received: dtype={dtype!r}")
    # Late, so that names and errors cost no import of TensorFlow.
    from simclr_keras.models.simclr import SimCLRModel

    if is_backbone(name):
        check_backbone(name, image_size, backbone_weights, se_ratio)
        from simclr_keras.models.foreign.backbones import KerasBackbone

        application = name.removeprefix(PREFIX)
        encoder = KerasBackbone(application, image_size, dense_layers, backbone_trainable, dtype=dtype)
        encoder.initial_weights = backbone_weights
    else:
        if backbone_weights is not None or not backbone_trainable:
            raise InputError(
                f"backbone_weights and backbone_trainable are for models named {PREFIX}NAME or {HUB_PREFIX}PRESET. "
                f"Received: name={name!r}, "
                f"backbone_weights={backbone_weights!r}, backbone_trainable={backbone_trainable}"
            )
        from simclr_keras.models.resnet import ResNet

        depth, width, selective_kernel = parse_name(name)
        small_images = image_size <= MAX_SMALL_IMAGE_SIZE
        torch_like = {"max_pool_padding": max_pool_padding, "pixel_mean": pixel_mean, "pixel_std": pixel_std}
        encoder = ResNet(depth, width, selective_kernel, se_ratio, small_images, **torch_like, dtype=dtype)
    model = SimCLRModel(
        encoder,
        num_classes=num_classes,
        proj_layers=proj_layers,
        proj_mode=proj_mode,
        proj_dim=proj_dim,
        proj_hidden_dim=proj_hidden_dim,
        head_layer=head_layer,
        stop_gradient=stop_gradient,
        classifier_init=classifier_init,
        kept_head_layers=kept_head_layers,
        dtype=dtype,
    )
    model.build((None, image_size, image_size, 3))
    return model
