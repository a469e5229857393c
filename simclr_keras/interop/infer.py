"""Which network a file holds, from its shapes: the one of all that it could be that leaves the fewest things over."""

import collections
import functools
import itertools

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
from simclr_keras.interop.matching import by_kind_of, count_layers, match
from simclr_keras.models.resnet import BLOCKS

DEPTHS = tuple(BLOCKS)


def infer_encoder(form, entries, shapes, prefer_sk=None):
    """Returns (Encoder, Match) of the encoder's entries.

    Basic blocks behind the stem for small images have the same weights with and without selective kernels, which there
    are no more than another shortcut: then `prefer_sk` decides, else there are none.

    Args:
        form, entries, shapes: as in `match`.
        prefer_sk: bool, or None where nothing is known.
    """
    kinds = by_kind_of(entries)
    convs, norms = kinds[CONV], kinds[NORM]
    counts = tuple(len({entry.place for entry in own}) for own in (convs, norms))
    gated = any(entry.role == "bias" for entry in convs)
    best = None
    for width in _widths(shapes, convs, norms):
        for depth, sk, small in _nearest(counts, gated, bool(prefer_sk)):
            for ratio in _se_ratios(shapes, convs, depth) if gated else (0.0,):
                encoder = Encoder(depth, width, sk, ratio, small)
                found = match(form, [*convs, *norms], shapes, encoder_layers(encoder))
                if best is None or len(found.problems) < len(best[1].problems):
                    best = encoder, found
    return best


@functools.lru_cache(maxsize=4096)
def _nearest(counts, gated, prefer_sk):
    """(depth, selective kernels, small images?) of the encoders with about as many layers, likely ones first."""
    far = {}
    for small, sk, depth in itertools.product((False, True), (prefer_sk, not prefer_sk), DEPTHS):
        layers = count_layers(encoder_layers(Encoder(depth, 1.0, sk, 0.25 if gated else 0.0, small)))
        far[depth, sk, small] = sum(abs(a - b) for a, b in zip(layers, counts))
    nearest = min(far.values())
    return [encoder for encoder, distance in far.items() if distance <= nearest + 1]


def _widths(shapes, convs, norms):
    """Widths that the stem or the widest layers speak for, the likely ones first."""
    found = []
    channels = collections.Counter(shapes[entry.key][0] for entry in norms if len(shapes[entry.key]) == 1)
    # A size that one key alone has may be a fault.
    widest = max((size for size, count in channels.items() if count > 1), default=0)
    for entry in convs:
        shape = shapes[entry.key]
        if len(shape) == 4 and shape[2] == 3:
            found += [shape[3] / 64, shape[3] / 32]
    found += [widest / 2048, widest / 512]
    widths = [width for width in dict.fromkeys(found) if width > 0]
    return widths or [1.0]


def _se_ratios(shapes, convs, depth):
    """Ratios that the narrow layer of the widest gate may come from."""
    gates = {entry.place for entry in convs if entry.role == "bias"}
    found = [shapes[entry.key] for entry in convs if entry.place in gates and entry.role == "kernel"]
    narrow = [shape[2:] for shape in found if len(shape) == 4 and shape[3] < shape[2]]
    channels, reduced = max(narrow, default=(4, 1))
    filters = channels // 4 if depth >= 50 else channels
    usual = [ratio for ratio in (0.0625, 0.125, 0.25, 0.5) if int(filters * ratio) == reduced]
    return usual[:1] or [reduced / filters]


def infer_head(form, entries, shapes, features):
    """Returns (layers, hidden width, output width, Match) of the projection head's entries.

    Args:
        form, entries, shapes: as in `match`. features: width of the representation.
    """
    kinds = by_kind_of(entries)
    own = [*kinds[HEAD_DENSE], *kinds[HEAD_NORM]]
    places = sorted({entry.place for entry in own})
    best = None
    for count in sorted({0, len(places), *(place + 1 for place in places[-2:])}, reverse=True):
        if count > 2 * len(places):
            continue
        hidden = _most(shapes[entry.key][-1:] for entry in own if entry.place < count - 1) or features
        out = _most(shapes[entry.key][-1:] for entry in own if entry.place == count - 1) or 128
        found = match(form, own, shapes, head_layers(features, count, hidden, out))
        if best is None or len(found.problems) < len(best[-1].problems):
            best = count, hidden, out, found
    return best


def infer_classifier(form, entries, shapes, widths):
    """Returns (classes, layers it may sit on, Match) of the classifier's entries; (None, (), Match) of none.

    Args:
        form, entries, shapes: as in `match`. widths: of the layers it may sit on: the representation, then the
            projection head's.
    """
    own = by_kind_of(entries)[CLASSIFIER]
    if not own:
        return None, (), match(form, [], shapes, ())
    held = {entry.role: shapes[entry.key] for entry in own}
    kernel = held.get("kernel", ())
    inputs = kernel[0] if len(kernel) == 2 and kernel[0] in widths else widths[0]
    classes = _most(shape[-1:] for shape in held.values()) or 1
    found = match(form, own, shapes, (classifier_layer(inputs, classes),))
    if len({shape[-1] for shape in held.values() if shape}) > 1:  # which of the two is wrong cannot be told
        both = " and ".join(f"{entry.key} {list(shapes[entry.key])}" for entry in own)
        found = found._replace(problems=[f"{both} do not go together"])
    return classes, tuple(layer for layer, width in enumerate(widths) if width == inputs), found


def _most(sizes):
    counts = collections.Counter(size[0] for size in sizes if size)
    return counts.most_common(1)[0][0] if counts else None
