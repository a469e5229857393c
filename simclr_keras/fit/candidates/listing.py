"""The list of what fit tries: with a network in --init, or with nothing but the photos."""

import dataclasses
from collections.abc import Callable, Iterator

from simclr_keras.config.classify import PLAIN_RATE
from simclr_keras.fit.candidates.distillation import Teacher, distillation
from simclr_keras.fit.candidates.linear import COLOR_BINS, ROOTS, View
from simclr_keras.fit.candidates.pieces import Piece, Workshop
from simclr_keras.fit.candidates.start_network import of_run
from simclr_keras.fit.candidates.trainings import ALL
from simclr_keras.models.zoo import create_model

COLORS = COLOR_BINS**3


def color_piece(workshop: Workshop) -> Piece:
    """Return the baseline that needs no network."""
    view = View(workshop.size, colors=1.0)
    return workshop.linear_piece(
        f"logistic regression on the color histogram, {view.size} px",
        view,
        view.name,
        None,
        COLORS,
        is_baseline=True,
    )


def list_pieces(workshop: Workshop, best: Callable[[], Teacher]) -> list[Piece]:
    """Return all pieces, the color histogram first, then the most promising for their price.

    Args:
        best: returns the best candidate of the pieces that are finished, for the distillation.
    """
    pieces = _from_start(workshop) if workshop.start else _from_nothing(workshop)
    roots = View(workshop.size, colors=ROOTS)
    return [
        color_piece(workshop),
        workshop.linear_piece(_title(roots), roots, roots.name, None, COLORS),
        *pieces,
        distillation(workshop, best),
    ]


def _from_start(workshop: Workshop) -> Iterator[Piece]:
    start, speed, sizes = workshop.start, workshop.start_speed, workshop.sizes
    width = start.width
    for size in sizes:
        yield from _with_and_without_colors(workshop, View(size, start), speed)
    best = View(sizes[-1], start, is_mirrored=True)
    yield from _with_and_without_colors(workshop, best, speed, passes=2)
    for layer in start.head_layers[1:]:
        yield _linear(workshop, View(sizes[0], start, layer), width, speed)
    yield _supervised(workshop)
    if start.is_backbone and start.run is None:
        yield from _whole_backbone(workshop)
    elif start.run is not None:
        yield from _finetuned(workshop, start.name, start.name, None, sizes[0], speed)
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
    yield from _of_pretraining(
        workshop, pretraining.name, "the pretrained network", size, speed, _width(config.model)
    )
    yield _supervised(workshop)
    run = workshop.trainings.path(pretraining.name, ALL)
    yield from _finetuned(workshop, run, "the pretrained network", pretraining.name, size, speed)


def _with_and_without_colors(workshop, view, speed, passes=1):
    width, colored = view.start.width, dataclasses.replace(view, colors=ROOTS)
    yield _linear(workshop, view, width, speed, passes)
    # Its features are those of the piece before, and colors.
    yield _linear(workshop, colored, width + COLORS, None, after=view.name)


def _linear(workshop, view, width, speed, passes=1, after=None):
    return workshop.linear_piece(
        _title(view), view, view.name, speed, width, after, size=view.size, passes=passes
    )


def _title(view):
    return f"logistic regression on {view.title}"


def _of_pretraining(workshop, pretraining, what, size, speed, width):
    """Yield regressions on the features of a network that the piece `pretraining` trains."""
    run = workshop.trainings.path(pretraining, ALL)

    def view(layer, colors) -> Callable[[], View]:
        return lambda: View(size, of_run(run, name=pretraining), layer, colors=ROOTS * colors)

    for layer, colors in ((0, False), (0, True), (1, False)):
        parts = [what] + ["the roots of the color histogram"] * colors
        layer_words = f", layer {layer} of its projection head" if layer else ""
        yield workshop.linear_piece(
            f"logistic regression on {' + '.join(parts)}{layer_words}, {size} px",
            view(layer, colors),
            f"{pretraining}-layer{layer}" + "-colors" * colors,
            None if colors else speed,
            width + COLORS * colors,
            after=f"{pretraining}-layer{layer}" if colors else pretraining,
            size=size,
        )


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


def _finetuned(workshop, init, what, after, size, speed):
    """Yield fine-tunings from several layers of the head, and with a part of the encoder frozen."""
    backbone = workshop.start is not None and workshop.start.is_backbone
    for layer, frozen in ((1, -1), (0, -1), (0, 2)):
        if (frozen > 0 and backbone) or (workshop.start and layer not in workshop.start.head_layers):
            continue
        words = f"from layer {layer} of the projection head" + ", first half of the encoder frozen" * (
            frozen > 0
        )
        settings = {
            "init": init,
            "head_layer": layer,
            "freeze_through": frozen,
            "image_size": size,
            "batch_size": workshop.batch_size,
        }
        yield workshop.training_piece(
            f"finetuned-layer{layer}" + "-half" * (frozen > 0),
            f"fine-tuning {what} {words}, {size} px",
            "finetune",
            "photos_finetune",
            settings,
            speed,
            "training",
            epochs=(20, 60),
            images=workshop.labels_per_epoch,
            after=after,
        )


def _whole_backbone(workshop: Workshop) -> Iterator[Piece]:
    """Yield the fine-tuning of a keras: or hub: network as a whole."""
    start, size = workshop.start, workshop.sizes[0]
    yield workshop.training_piece(
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
        settings |= {"init": start.run.path}
        if (
            start.run.architecture.head_depth < start.run.architecture.whole_head_depth
            or not start.head_layers[1:]
        ):
            settings |= {"init_head": "fresh"}
    title = f"continued pretraining of {start.name} on all photos, without labels, {size} px"
    piece = workshop.pretraining_piece(
        "continued", title, "photos_continue", settings, speed, epochs=(workshop.fewest_epochs, 50)
    )
    yield piece
    what = "the network of the continued pretraining"
    yield from _of_pretraining(workshop, piece.name, what, size, speed, start.width)


def _width(model: str) -> int:
    """Return the number of features of a network with random weights."""
    return int(create_model(model, 2, proj_mode="none", image_size=32).classifier.kernel.shape[0])
