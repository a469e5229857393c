"""Whether a dataset is one that was seen before, in another place."""

import hashlib

import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError, one_line

SAMPLED = 32  # images whose bytes are looked at


def contents_of(splits):
    """A digest of the images themselves: the same wherever they lie, whatever is held out and which labels are seen.

    Of all ids, and of the bytes of SAMPLED images, as many files are called 0001.jpg.

    Args:
        splits: Splits, as `sources.load` gives them.

    Returns:
        str; None for a stream, which is known by its name.

    Raises:
        InputError: one of them cannot be read any more.
    """
    if not splits.train.indexed:
        return None
    whole = splits.train.union(splits.evaluation) if splits.held_out else splits.train
    ids = list(whole.ids)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    digest = hashlib.blake2b(digest_size=16)
    for row in order:
        digest.update(ids[row].encode(errors="surrogateescape") + b"\0")
    for place in np.unique(np.linspace(0, len(order) - 1, SAMPLED).astype(np.int64)):
        try:
            image = whole.fetch(tf.constant(order[place], tf.int64)).numpy()
        except tf.errors.OpError as error:
            raise InputError(
                f"{ids[order[place]]} of {whole.name} was there a moment ago ({one_line(error)}); repeat the command"
            ) from error
        digest.update(image if isinstance(image, bytes) else image.tobytes())
    return digest.hexdigest()
