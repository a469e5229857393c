"""Sets of keys and shapes as the release's files hold them, in its three formats, and the networks that they match."""

from simclr_keras.interop import tf1_checkpoint, tf2_checkpoint, tf2_saved_model
from simclr_keras.interop.network import match_network
from tests.interop.release_files import golden_keys, names_of, saved_names, tf1_tree

FORMS = {"tf1": tf1_checkpoint, "tf2": tf2_checkpoint, "saved": tf2_saved_model}


def shapes_of(form, case, start=0):
    """Dict of key to shape of a good file."""
    if form == "tf1":
        return tf1_tree(names_of(case), ema=names_of(case))
    if form == "saved":
        return saved_names(names_of(case), start=start, plain=bool(start))
    return {key: tuple(shape) for key, shape, _ in golden_keys()[case]["keys"]}


def match(form, shapes, name="r18_1x_sk0", **arguments):
    return match_network(FORMS[form], shapes, "the file", name, head_layer=0, **arguments)


def is_models(key):
    """Whether a key is a variable of the network, not something of training."""
    marks = ("Momentum", "OPTIMIZER_SLOT", "ema_model", "memory", "global_step", "save_counter", "_CHECK")
    return not any(mark in key for mark in marks)
