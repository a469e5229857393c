"""Whether a dataset is one that was seen before, in another place, and whether it is still the one it was."""

import hashlib

import numpy as np
import tensorflow as tf

from simclr_keras.errors import InputError, one_line

SAMPLED = 32  # files of a folder whose bytes are looked at


def contents_of(splits):
    """Digests of the images themselves: the same wherever they lie, whatever is held out and which labels are seen.

    Of an archive all pixels count. Of a folder all names do, and the bytes of SAMPLED files, as many are called
    0001.jpg.

    Args:
        splits: Splits, as `load_dataset` gives them.

    Returns:
        dict of contents, of the images to train on and those held out of them, and evaluation_contents, of those of
        an evaluation split of the data's own. None instead of a digest where there is no such split, and for data
        that is known by its name, as that of TensorFlow Datasets is.

    Raises:
        InputError: a file cannot be read any more.
    """
    if splits.train.name.partition(":")[0] not in ("npz", "folder"):
        return {"contents": None, "evaluation_contents": None}
    train = splits.train.union(splits.evaluation) if splits.held_out else splits.train
    own = None if splits.held_out else splits.evaluation
    return {"contents": _digest(train), "evaluation_contents": None if own is None else _digest(own)}


def _digest(source):
    ids = list(source.ids)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    digest = hashlib.blake2b(digest_size=16)
    for row in order:
        digest.update(ids[row].encode(errors="surrogateescape") + b"\0")
    if source.encoded:
        order = [
            order[place] for place in np.unique(np.linspace(0, len(order) - 1, SAMPLED).astype(np.int64))
        ]
    for row in order:
        try:
            digest.update(source.content(row))
        except tf.errors.OpError as error:
            raise InputError(
                f"{ids[row]} of {source.name} was there a moment ago ({one_line(error)}); repeat the command"
            ) from error
    return digest.hexdigest()
