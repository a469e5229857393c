"""The names that an export gives to the outputs of a network."""

from collections.abc import Iterable

from simclr_keras.errors import InputError, some

ENCODER, LOGITS, SERVING = "encoder", "logits", "serving_default"
REPRESENTATION = "final_avg_pool"
IMAGES, IMAGE_BYTES = "images", "image_bytes"
FROM_BYTES = "_from_bytes"


def signature_endpoints(outputs: Iterable[str]) -> dict[str, str]:
    """Return the vectors among a network's outputs, by the names of their signatures.

    Args:
        outputs: names of all endpoints.

    Returns:
        dict of signature to endpoint: encoder (final_avg_pool), proj_head_0 .., logits if there is a classifier.
    """
    heads = sorted(
        (name for name in outputs if name.startswith("proj_head_")), key=lambda name: int(name[10:])
    )
    vectors = {ENCODER: REPRESENTATION, **{name: name for name in heads}}
    return vectors | ({LOGITS: LOGITS} if LOGITS in outputs else {})


def select_endpoints(vectors: dict[str, str], names: Iterable[str] | None, source: str) -> dict[str, str]:
    """Return the signatures with these names.

    Args:
        vectors: dict of signature to endpoint.
        names: of signatures; None for all.
        source: the network, for the message.

    Raises:
        InputError: one of them does not exist.
    """
    if names is None:
        return vectors
    unknown = [name for name in names if name not in vectors]
    if unknown or not names:
        missing = f"{source} has no endpoint {some(unknown)}" if any(unknown) else "--endpoints is empty"
        raise InputError(f"{missing}; give one or more of {', '.join(vectors)}.")
    return {name: vectors[name] for name in vectors if name in names}
