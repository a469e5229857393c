"""The list of what fit tries: with a network in --init, or with nothing but the photos."""

import dataclasses
from collections.abc import Callable, Iterator

from simclr_keras.config.classify import PLAIN_RATE
from simclr_keras.fit.candidates.distillation import Teacher, distillation
from simclr_keras.fit.candidates.linear import ROOTS, View
from simclr_keras.fit.candidates.pieces import Piece, Workshop
from simclr_keras.fit.candidates.start_network import StartNetwork
from simclr_keras.fit.candidates.trainings import ALL

# Layers of the projection head, and the last block group that is frozen (-1 for none), of fine-tunings.
FINETUNED = ((1, -1), (0, -1), (0, 2))


def list_pieces(workshop: Workshop, best: Callable[[], Teacher]) -> list[Piece]:
    """Return all pieces, the color histogram first, then the most promising for their price.

    Args:
        best: returns the best candidate of the pieces that are finished, for the distillation.
    """
    pieces = _from_start(workshop) if workshop.start else _from_nothing(workshop)
    return [
        workshop.linear_piece(View(workshop.size, colors=1.0), is_baseline=True),
        workshop.linear_piece(View(workshop.size, colors=ROOTS), is_baseline=True),
        *pieces,
        distillation(workshop, best),
    ]


def _from_start(workshop: Workshop) -> Iterator[Piece]:
    start, speed, sizes = workshop.start, workshop.start_speed, workshop.sizes
    for view in (*(View(size, start) for size in sizes), View(sizes[-1], start, is_mirrored=True)):
        yield from _with_and_without_colors(workshop, view, start.width, speed)
    for layer in start.head_layers[1:]:
        yield workshop.linear_piece(View(sizes[0], start, layer), start.width, speed)
    yield _supervised(workshop)
    if start.run is None:
        yield _whole_backbone(workshop)
    else:
        layers = [(layer, frozen) for layer, frozen in FINETUNED if layer in start.head_layers]
        layers = [(layer, frozen) for layer, frozen in layers if frozen < 0 or not start.is_backbone]
        yield from _finetuned(workshop, start, layers, sizes[0], speed)
    yield from _continued(workshop)


def _from_nothing(workshop: Workshop) -> Iterator[Piece]:
    config, size, speed = workshop.config, workshop.size, workshop.speed
    pretraining = workshop.pretraining_piece(
        "pretrained",
        f"pretraining {config.model} on all photos, without labels, {size} px",
        "photos_pretrain",
        {"model": config.model, "image_size": size},
        speed,
        epochs=(workshop.fewest_epochs, 150),
    )
    yield pretraining
    start = StartNetwork("the pretrained network", workshop.trainings.path(pretraining.name, ALL))
    width = StartNetwork(config.model).width
    yield from _of_pretraining(workshop, start, size, width, speed, pretraining.name)
    yield _supervised(workshop)
    yield from _finetuned(workshop, start, FINETUNED, size, speed, pretraining.name)


def _with_and_without_colors(workshop, view, width, speed, after=None):
    yield workshop.linear_piece(view, width, speed, after)
    # Its features are those of the piece before, and colors.
    yield workshop.linear_piece(dataclasses.replace(view, colors=ROOTS), width, after=view.name)


def _of_pretraining(workshop, start, size, width, speed, after):
    """Yield regressions on the features of a network that the piece `after` trains."""
    yield from _with_and_without_colors(workshop, View(size, start), width, speed, after)
    yield workshop.linear_piece(View(size, start, 1), width, speed, after)


def _supervised(workshop: Workshop) -> Piece:
    """Return the baseline of the same labels without any pretraining."""
    config, size = workshop.config, workshop.size
    return workshop.training_piece(
        "supervised",
        f"training {config.model} from random weights on the labels alone, {size} px",
        "supervised",
        "photos_supervised",
        {"model": config.model, "image_size": size, "batch_size": workshop.batch_size},
        workshop.speed,
        "baseline",
        epochs=(20, 60),
        images=workshop.labels_per_epoch,
        is_baseline=True,
    )


def _finetuned(workshop, start, layers, size, speed, after=None):
    """Yield fine-tunings from layers of the head, some with a part of the encoder frozen."""
    for layer, frozen in layers:
        words = f"from layer {layer} of the projection head" + ", first half of the encoder frozen" * (
            frozen > 0
        )
        settings = {
            "init": start.path,
            "head_layer": layer,
            "freeze_through": frozen,
            "image_size": size,
            "batch_size": workshop.batch_size,
        }
        yield workshop.training_piece(
            f"finetuned-layer{layer}" + "-half" * (frozen > 0) + (f"-of-{after}" if after else ""),
            f"fine-tuning {start.name} {words}, {size} px",
            "finetune",
            "photos_finetune",
            settings,
            speed,
            "training",
            epochs=(20, 60),
            images=workshop.labels_per_epoch,
            after=after,
        )


def _whole_backbone(workshop: Workshop) -> Piece:
    """Return the fine-tuning of a keras: or hub: network as a whole."""
    start, size = workshop.start, workshop.sizes[0]
    return workshop.training_piece(
        "whole",
        f"fine-tuning {start.name} as a whole, {size} px",
        "supervised",
        "photos_supervised",
        {
            "model": start.model_name,
            "backbone_weights": start.weights,
            "image_size": size,
            "batch_size": workshop.batch_size,
            "learning_rate": 8 * PLAIN_RATE,  # peak 0.005 at a batch of 32
            "weight_decay": 0.0,
        },
        workshop.start_speed,
        "training",
        epochs=(12, 30),
        images=max(len(workshop.photos.labeled), 32),
    )


def _continued(workshop: Workshop) -> Iterator[Piece]:
    """Yield the continued pretraining of the network in --init, and regressions on its features."""
    start, size, speed = workshop.start, workshop.sizes[0], workshop.start_speed
    settings = {"image_size": size, "batch_size": min(32, workshop.images)}
    if start.run is None:
        settings |= {"model": start.model_name, "backbone_weights": start.weights}
    else:
        settings |= {"init": start.path}
        architecture = start.run.architecture
        if not 0 < architecture.head_depth == architecture.whole_head_depth:
            settings |= {"init_head": "fresh"}
    title = f"continued pretraining of {start.name} on all photos, without labels, {size} px"
    piece = workshop.pretraining_piece(
        "continued", title, "photos_continue", settings, speed, epochs=(workshop.fewest_epochs, 50)
    )
    yield piece
    continued = StartNetwork(
        "the network of the continued pretraining", workshop.trainings.path(piece.name, ALL)
    )
    yield from _of_pretraining(workshop, continued, size, start.width, speed, piece.name)
