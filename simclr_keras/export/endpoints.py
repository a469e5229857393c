"""Leaf: the names an export gives to what a network puts out."""

from simclr_keras.errors import InputError, some

ENCODER, LOGITS, SERVING = "encoder", "logits", "serving_default"
REPRESENTATION = "final_avg_pool"
IMAGES, IMAGE_BYTES = "images", "image_bytes"
FROM_BYTES = "_from_bytes"


def signature_endpoints(outputs):
    """The vectors among a network's outputs, by the names of their signatures.

    Args:
        outputs: names of all endpoints.

    Returns:
        dict of signature to endpoint: encoder (final_avg_pool), proj_head_0 .., logits where there is a classifier.
    """
    heads = sorted(
        (name for name in outputs if name.startswith("proj_head_")), key=lambda name: int(name[10:])
    )
    vectors = {ENCODER: REPRESENTATION, **{name: name for name in heads}}
    return vectors | ({LOGITS: LOGITS} if LOGITS in outputs else {})


def chosen(vectors, names, source):
    """The signatures that are asked for.

    Args:
        vectors: dict of signature to endpoint.
        names: of signatures; None for all.
        source: what has them, for the message.

    Raises:
        InputError: one of them does not exist there.
    """
    if names is None:
        return vectors
    unknown = [name for name in names if name not in vectors]
    if unknown or not names:
        asked = f"{some(unknown)}; it has" if unknown else "something of it; it has"
        raise InputError(f"{source} has no endpoint {asked} {', '.join(vectors)}.")
    return {name: vectors[name] for name in vectors if name in names}
