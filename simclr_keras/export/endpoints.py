"""The names that an export gives to the outputs of a network."""

from collections.abc import Iterable

import tensorflow as tf

from simclr_keras.errors import InputError, some

ENCODER, SERVING = "encoder", "serving_default"
OF_CLASSES = LOGITS, PROBABILITIES = "logits", "probabilities"
REPRESENTATION = "final_avg_pool"
IMAGES, IMAGE_BYTES = "images", "image_bytes"
FROM_BYTES = "_from_bytes"


def signature_endpoints(outputs: Iterable[str]) -> dict[str, str]:
    """Return the vectors among a network's outputs as a dict of signature to endpoint.

    Signatures are encoder (final_avg_pool), proj_head_0 .., logits and probabilities, if there are such outputs.
    """
    heads = sorted(
        (name for name in outputs if name.startswith("proj_head_")), key=lambda name: int(name[10:])
    )
    vectors = {ENCODER: REPRESENTATION, **{name: name for name in heads}}
    return vectors | {name: name for name in OF_CLASSES if name in outputs}


def with_probabilities(outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return the outputs of a network and, if it has logits, their softmax: float32 [n, classes]."""
    if LOGITS not in outputs:
        return outputs
    return {**outputs, PROBABILITIES: tf.nn.softmax(tf.cast(outputs[LOGITS], tf.float32))}


def select_endpoints(vectors: dict[str, str], names: Iterable[str] | None, source: str) -> dict[str, str]:
    """Return the signatures with these names out of a dict of signature to endpoint; all without names.

    An InputError names the source and its signatures if one does not exist.
    """
    if names is None:
        return vectors
    unknown = [name for name in names if name not in vectors]
    if unknown or not names:
        missing = f"{source} has no endpoint {some(unknown)}" if any(unknown) else "--endpoints is empty"
        raise InputError(f"{missing}; give one or more of {', '.join(vectors)}.")
    return {name: vectors[name] for name in vectors if name in names}
