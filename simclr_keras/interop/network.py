"""Match the keys and shapes of a file with a network of the release; every key that does not fit is named."""

import collections
from types import ModuleType
from typing import NamedTuple

from simclr_keras.errors import InputError
from simclr_keras.interop.categories import Category
from simclr_keras.interop.layers import (
    CLASSIFIER,
    CONV,
    HEAD_DENSE,
    HEAD_NORM,
    NORM,
    Encoder,
    classifier_layer,
    encoder_layers,
    head_layers,
)
from simclr_keras.interop.matching import Match, by_kind_of, match
from simclr_keras.interop.tf1_checkpoint import EMA
from simclr_keras.models.zoo import parse_name

LARGE, SMALL = 224, 32  # pixels; up to 32 gets the stem for small images
SE_RATIOS = (0.0, 0.0625, 0.125, 0.25, 0.5)
MAX_PROBLEMS = 3  # in a message


class Network(NamedTuple):
    """How a file fills a model.

    Attributes:
        architecture: arguments of `create_model`.
        keys: dict of variable path within our model to key in the file.
        skipped: dict of the other keys to why they are left out.
    """

    architecture: dict
    keys: dict
    skipped: dict


def match_network(
    form: ModuleType,
    shapes: dict,
    path: str,
    name: str,
    *,
    ema: bool = False,
    head_layer: int | None = None,
    category: Category | None = None,
) -> Network:
    """Return the Network of a file.

    Args:
        form: module of the format. shapes: dict of key to shape. path: of the file, for messages.
        name: of the model, such as r50_1x_sk0.
        head_layer: layer of the projection head under the classifier, or None.

    Raises:
        InputError: one line: a key is missing, doubled, unexpected or of another shape; or the classifier's layer is
            unknown, or is not `head_layer`.
    """
    sort = form.sort_keys(shapes, ema)
    if ema and not any(entry.key.startswith(EMA) for entry in sort.entries):
        raise InputError(
            f"{path} holds no moving average, which TF1 checkpoints may have under {EMA}; leave ema out."
        )
    if not any(entry.kind == CONV for entry in sort.entries) or len(sort.unknown) > len(shapes) / 2:
        first = f"{sort.unknown[0]} is none of SimCLR's variables" if sort.unknown else "it has no network"
        raise InputError(f"{path} is a {form.NAME} of some other model: {first}; give one of the release.")
    encoder, base = _match_encoder(form, sort.entries, shapes, name)
    layers, out, head = _match_head(form, sort.entries, shapes, encoder.features)
    widths = [*[encoder.features] * max(layers, 1), *([out] if layers else [])]
    classes, possible_layers, top = _match_classifier(form, sort.entries, shapes, widths)
    unknown = [f"unexpected {key} {list(shapes[key])}" for key in sort.unknown]
    problems = [*base.problems, *head.problems, *top.problems, *unknown]
    if problems:
        more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise InputError(
            f"{path} does not fit {name}: {'; '.join(problems[:MAX_PROBLEMS])}{more}. If it is another network, give "
            "its name (--name, name=)."
        )
    mode = "none" if not layers else "linear" if sort.linear_head else "nonlinear"
    architecture = {
        "name": encoder.name,
        "num_classes": classes,
        "proj_mode": mode,
        **({"proj_layers": layers, "proj_dim": out} if layers else {}),
        "proj_hidden_dim": None,
        "image_size": SMALL if encoder.small_images else LARGE,
        "se_ratio": encoder.se_ratio,
        "head_layer": _head_layer(path, classes, possible_layers, widths, head_layer, category),
        # The published pretrained networks were never trained through it.
        "stop_gradient": bool(category and category.probe),
    }
    return Network(architecture, base.keys | head.keys | top.keys, sort.skipped)


def _match_encoder(form, entries, shapes, name) -> tuple[Encoder, Match]:
    """Match the encoder that `name` gives, with the stem and the squeeze-excitation ratio that fit best."""
    kinds = by_kind_of(entries)
    own = [*kinds[CONV], *kinds[NORM]]
    ratios = SE_RATIOS if any(entry.role == "bias" for entry in kinds[CONV]) else SE_RATIOS[:1]
    encoders = [Encoder(*parse_name(name), ratio, small) for small in (False, True) for ratio in ratios]
    matches = [(encoder, match(form, own, shapes, encoder_layers(encoder))) for encoder in encoders]
    return min(matches, key=lambda pair: len(pair[1].problems))


def _match_head(form, entries, shapes, features) -> tuple[int, int, Match]:
    """Match the projection head with the number of layers that fits best: (layers, output width, Match)."""
    kinds = by_kind_of(entries)
    own = [*kinds[HEAD_DENSE], *kinds[HEAD_NORM]]
    matches = []
    for layers in range(len({entry.place for entry in own}), -1, -1):
        out = _most_common(shapes[entry.key][-1:] for entry in own if entry.place == layers - 1) or 128
        # The release's hidden layers are as wide as the representation.
        matches.append((layers, out, match(form, own, shapes, head_layers(features, layers, features, out))))
    return min(matches, key=lambda triple: len(triple[-1].problems))


def _match_classifier(form, entries, shapes, widths) -> tuple[int | None, tuple, Match]:
    """Match the classifier: (classes or None, layers with the width of its input, Match).

    `widths` are those of the representation, then of the projection head's layers.
    """
    own = by_kind_of(entries)[CLASSIFIER]
    if not own:
        return None, (), match(form, [], shapes, ())
    by_role = {entry.role: shapes[entry.key] for entry in own}
    kernel = by_role.get("kernel", ())
    inputs = kernel[0] if len(kernel) == 2 and kernel[0] in widths else widths[0]
    classes = _most_common(shape[-1:] for shape in by_role.values()) or 1
    result = match(form, own, shapes, (classifier_layer(inputs, classes),))
    if len({shape[-1] for shape in by_role.values() if shape}) > 1:  # either of the two may be wrong
        both = " and ".join(f"{entry.key} {list(shapes[entry.key])}" for entry in own)
        result = result._replace(problems=[f"{both} do not go together"])
    return classes, tuple(layer for layer, width in enumerate(widths) if width == inputs), result


def _most_common(sizes) -> int | None:
    counts = collections.Counter(size[0] for size in sizes if size)
    return counts.most_common(1)[0][0] if counts else None


def _head_layer(path, classes, possible_layers, widths, head_layer, category) -> int:
    """Return the layer under the classifier."""
    if head_layer is not None:
        if classes is None:
            raise InputError(f"head_layer={head_layer}, but {path} has no classifier; leave head_layer out.")
        if not 0 <= head_layer < len(widths):
            layers = f"layers 0 to {len(widths) - 1}" if len(widths) > 1 else "layer 0 alone"
            raise InputError(
                f"head_layer={head_layer} is beyond the projection head of {path}, which has {layers}."
            )
        if head_layer not in possible_layers:
            raise InputError(
                f"head_layer={head_layer} is {widths[head_layer]} wide in {path}, but its classifier takes "
                f"{widths[possible_layers[0]]}; give head_layer={_either(possible_layers)}."
            )
        return head_layer
    if classes is None:
        return 0
    if len(possible_layers) == 1:
        return possible_layers[0]
    if category and category.head_layer in possible_layers:
        return category.head_layer
    raise InputError(
        f"the classifier in {path} may sit on layer {_either(possible_layers)} of the projection head, which are all "
        f"{widths[0]} wide: give head_layer=1 for a network fine-tuned on 1 % or 10 % of the labels, head_layer=0 for "
        "any other of the release; or a name such as finetuned_1pct/r50_1x_sk0."
    )


def _either(layers):
    *first, last = map(str, layers)
    return f"{', '.join(first)} or {last}" if first else last
