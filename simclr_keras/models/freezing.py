"""Freeze a part of a model: no gradient, no decay, and batch normalization in inference mode."""

from typing import TYPE_CHECKING

import keras

from simclr_keras.errors import InputError
from simclr_keras.models.batch_norm import batch_norm_layers

if TYPE_CHECKING:
    from simclr_keras.models.simclr import SimCLRModel

NOTHING = -1
ENCODER = 4


def freeze(model: "SimCLRModel", after_block: int, heads: bool = False) -> None:
    """Freeze a SimCLRModel up to a block group; the layers behind it train. Undo earlier calls.

    Frozen layers have no trainable variables, so that neither a gradient nor decay reaches them, and their batch
    normalization uses its moving statistics and leaves them as they are, also with training=True. To be called before
    `compile`, whose optimizers hold what trains then. The saved model knows nothing of it.

    Args:
        model: a built SimCLRModel.
        after_block: -1 freezes nothing, 0 the stem, 1 to 3 the stem and the block groups 1 to after_block, 4 the whole
            encoder. An encoder without block groups (keras: and hub: backbones, Keras models) takes -1 and 4 alone.
        heads: whether the projection head is frozen too, so that the classifier alone trains; with 4 only.

    Raises:
        InputError: an argument is out of its range, or nothing would be left to train.
    """
    groups = getattr(model.encoder, "block_groups", None)
    _check(model, after_block, heads, groups)
    # Keras passes a value on to the layers within only if it changes something.
    model.trainable = False
    model.trainable = True
    model.encoder.trainable = after_block != ENCODER
    model.projection_head.trainable = not heads
    if 0 <= after_block < ENCODER:
        for part in (model.encoder.stem, *groups[:after_block]):
            part.trainable = False


def freeze_batch_norm(*parts: keras.layers.Layer) -> None:
    """Freeze all batch normalization within some layers: statistics, scale and offset stay; other weights train.

    For trained weights and few steps, whose batches would replace the statistics (docs/photos.md has a measurement). To
    be called on built layers, before `compile` and after `freeze`, which undoes it. A saved model is not frozen.
    Layers without batch normalization stay as they are.

    >>> from simclr_keras import create_model
    >>> from simclr_keras.models.freezing import freeze_batch_norm
    >>> model = create_model("r18_0.125x_sk0", image_size=8, num_classes=3)
    >>> freeze_batch_norm(model.encoder)
    >>> len(model.encoder.trainable_variables), len(model.encoder.non_trainable_variables)
    (21, 84)
    """
    for part in parts:
        for layer in batch_norm_layers(part):
            layer.trainable = False


def count_frozen(model: keras.Model) -> int:
    """Return the number of layers of batch normalization that are frozen."""
    return sum(not layer.trainable for layer in batch_norm_layers(model))


def _check(model, after_block, heads, groups):
    places = range(NOTHING, ENCODER + 1) if groups is not None else (NOTHING, ENCODER)
    if after_block not in places:
        choices = "-1 (nothing frozen), 0 (the stem), 1, 2, 3 (block groups) or 4 (the encoder)"
        if groups is None:
            choices = "-1 (nothing frozen) or 4 (the encoder) for an encoder without block groups"
        raise InputError(f"freeze_through must be {choices}. Received: freeze_through={after_block}")
    if heads and after_block != ENCODER:
        raise InputError(
            "The projection head is frozen only along with the whole encoder, freeze_through=4. "
            f"Received: freeze_through={after_block}"
        )
    if after_block == ENCODER and model.classifier is None and (heads or not model.projection_head.depth):
        raise InputError(
            "Nothing would be left to train: the model has no classifier. Freeze less, or give num_classes. "
            f"Received: freeze_through={after_block}"
        )
