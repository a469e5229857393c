"""From the keys and shapes of a file to the network they are of; whatever does not fit is refused by its name."""

from typing import NamedTuple

from simclr_keras.errors import InputError
from simclr_keras.interop.infer import infer_classifier, infer_encoder, infer_head
from simclr_keras.interop.layers import CONV
from simclr_keras.interop.tf1_checkpoint import EMA
from simclr_keras.models.zoo import parse_name

LARGE, SMALL = 224, 32  # pixels; up to 32 gets the stem for small images
_TOLD = 3  # problems in a message


class Network(NamedTuple):
    """What a file holds.

    Attributes:
        architecture: arguments of `create_model`.
        keys: dict of variable path within our model to key in the file.
        skipped: dict of the other keys to why they are left out.
    """

    architecture: dict
    keys: dict
    skipped: dict


def find_network(form, shapes, where, *, name=None, ema=False, head_layer=None, category=None, likely=None):
    """Returns the Network of a file.

    Args:
        form: module of the format. shapes: dict of key to shape. where: of the file, for messages.
        name: of a model that it must be, or None.
        ema: whether the moving average is wanted.
        head_layer: layer of the projection head under the classifier; None to infer it.
        category: Category of the file, or None.
        likely: name of a model, for what shapes cannot tell.

    Raises:
        InputError: one line: a key is missing, doubled, unexpected or of another shape; the name disagrees; or where
            the classifier sits cannot be told, or is not where `head_layer` says.
    """
    sort = form.sort_keys(shapes, ema)
    if ema and not any(entry.key.startswith(EMA) for entry in sort.entries):
        raise InputError(
            f"{where} holds no moving average, which TF1 checkpoints may have under {EMA}; leave ema out."
        )
    if not any(entry.kind == CONV for entry in sort.entries) or len(sort.unknown) > len(shapes) / 2:
        first = f"{sort.unknown[0]} is none of SimCLR's variables" if sort.unknown else "it has no network"
        raise InputError(f"{where} is a {form.NAME} of some other model: {first}; give one of the release.")
    prefer = name or likely
    encoder, base = infer_encoder(form, sort.entries, shapes, parse_name(prefer)[2] if prefer else None)
    layers, hidden, out, head = infer_head(form, sort.entries, shapes, encoder.features)
    widths = [encoder.features, *[hidden] * (layers - 1), *([out] if layers else [])]
    classes, fitting, top = infer_classifier(form, sort.entries, shapes, widths)
    problems = [f"unexpected {key} {list(shapes[key])}" for key in sort.unknown]
    problems = [*base.problems, *head.problems, *top.problems, *problems]
    if problems:
        more = f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        raise InputError(
            f"{where} is not the release's {encoder.name}, which comes nearest: {'; '.join(problems[:_TOLD])}{more}."
        )
    if name is not None and parse_name(name) != (encoder.depth, encoder.width, encoder.selective_kernel):
        raise InputError(
            f"{where} holds {encoder.name}, not name={name}; leave name out, or give another path."
        )
    mode = "none" if not layers else "linear" if sort.linear_head else "nonlinear"
    architecture = {
        "name": encoder.name,
        "num_classes": classes,
        "proj_mode": mode,
        **({"proj_layers": layers, "proj_dim": out} if layers else {}),
        "proj_hidden_dim": None if layers < 2 or hidden == encoder.features else hidden,
        "image_size": SMALL if encoder.small_images else LARGE,
        "se_ratio": encoder.se_ratio,
        "head_layer": _head_layer(where, classes, fitting, widths, head_layer, category),
        # The published pretrained networks were never trained through it.
        "stop_gradient": bool(category and category.probe),
    }
    return Network(architecture, base.keys | head.keys | top.keys, sort.skipped)


def _head_layer(where, classes, fitting, widths, asked, category):
    """The layer under the classifier."""
    if asked is not None:
        if classes is None:
            raise InputError(f"head_layer={asked}, but {where} has no classifier; leave head_layer out.")
        if not 0 <= asked < len(widths):
            layers = f"layers 0 to {len(widths) - 1}" if len(widths) > 1 else "layer 0 alone"
            raise InputError(
                f"head_layer={asked} is beyond the projection head of {where}, which has {layers}."
            )
        if asked not in fitting:
            raise InputError(
                f"head_layer={asked} is {widths[asked]} wide in {where}, but its classifier takes "
                f"{widths[fitting[0]]}; give head_layer={_either(fitting)}."
            )
        return asked
    if classes is None:
        return 0
    if len(fitting) == 1:
        return fitting[0]
    if category and category.head_layer in fitting:
        return category.head_layer
    raise InputError(
        f"the classifier in {where} may sit on layer {_either(fitting)} of the projection head, which are all "
        f"{widths[0]} wide: give head_layer=1 for a network fine-tuned on 1 % or 10 % of the labels, head_layer=0 for "
        "any other of the release."
    )


def _either(layers):
    *first, last = map(str, layers)
    return f"{', '.join(first)} or {last}" if first else last
