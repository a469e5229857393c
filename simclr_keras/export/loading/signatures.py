"""The inputs and outputs of the signatures and the `__call__` of a SavedModel."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf


class Endpoint(NamedTuple):
    key: str  # of the output: final_avg_pool for the endpoint encoder
    shape: tf.TensorShape
    compute: Callable  # images -> tensor


def signature_endpoints(signatures: dict) -> dict[str, Endpoint]:
    """Return dict of name to Endpoint; signatures with one output come first."""
    single, several = {}, {}
    for name, signature in signatures.items():
        specs = signature.structured_outputs
        specs = specs if isinstance(specs, dict) else {}
        specs = {key: spec for key, spec in specs.items() if spec.dtype.is_floating}
        for key, spec in specs.items():
            endpoint = Endpoint(key, spec.shape, functools.partial(_run_signature, signature, key))
            if len(specs) == 1:
                single[name] = endpoint
            else:
                several.setdefault(key, endpoint)
    taken = {*single, *(endpoint.key for endpoint in single.values())}
    return single | {key: endpoint for key, endpoint in several.items() if key not in taken}


def _run_signature(signature, key, images):
    keyword, spec = image_input(signature)
    return signature(**{keyword: tf.cast(images, spec.dtype)})[key]


def image_input(signature: Any) -> tuple[str, tf.TensorSpec] | None:
    """Return (keyword, TensorSpec) if the only input of a signature is a batch of float images, else None."""
    try:
        ((keyword, spec),) = signature.structured_input_signature[1].items()
    except (TypeError, ValueError, AttributeError):
        return None
    return (keyword, spec) if is_images(spec) else None


def is_images(spec: tf.TensorSpec) -> bool:
    rank = spec.shape.rank
    return spec.dtype.is_floating and (rank is None or (rank == 4 and spec.shape[3] in (None, 3)))


def first_argument(trace: Any) -> tf.TensorSpec | None:
    """Return the TensorSpec of the first argument of a traced `__call__`, or None if it is something else."""
    arguments, named = trace.structured_input_signature
    specs = arguments[:1] or [spec for spec in named.values() if isinstance(spec, tf.TensorSpec)]
    return specs[0] if len(specs) == 1 and isinstance(specs[0], tf.TensorSpec) else None


def common_size(shapes: list) -> int | None:
    """Return the side of the images if all shapes agree on one, else None."""
    sizes = {tuple(shape[1:3]) if shape.rank else (None, None) for shape in shapes}
    height, width = sizes.pop() if len(sizes) == 1 else (None, None)
    return height if height == width else None
