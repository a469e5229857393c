"""The logits of any SavedModel that has some, whatever it calls them."""

import tensorflow as tf

from simclr_keras.errors import InputError, some
from simclr_keras.export.loading import exported as loading
from simclr_keras.export.loading import reusable

NAMES = ("logits", "logits_sup")  # the latter in the SavedModels of the SimCLR release
RIGHT = "give the export of a fine-tuned, supervised or distilled run"


class Logits:
    """A loaded SavedModel as a function of float images [n, h, w, 3] in [0, 1] to a dict with its logits, in float32.

    They are those of its signature `logits`; else what its `__call__` gives: logits or logits_sup of a dict, or one
    tensor. It runs where the module does, in inference mode.

    Args:
        module: loaded SavedModel. folder: it is in. handle, flag: as the user gave it, for messages.

    Attributes:
        fixed_size: side in pixels of the images it takes; None where it takes any.

    Raises:
        InputError: it has no logits.
    """

    def __init__(self, module, folder, handle, flag):
        self._module = module  # its variables live as long as it does
        self._ask, shape = _by_signature(module, folder, handle, flag) or _by_call(module, handle, flag)
        self.fixed_size = shape[1] if shape.rank == 4 and shape[1] == shape[2] else None

    def __call__(self, images, training=False):
        return {"logits": tf.cast(self._ask(images), tf.float32)}


def _by_signature(module, folder, handle, flag):
    """(function of images to logits, shape of the images) of a signature; None where there is none with logits."""
    try:
        exported = loading.Exported(handle, folder, module, None, flag)
    except InputError:
        return None
    names = {*exported.endpoints, *exported.endpoints.values()}
    found = next((name for name in NAMES if name in names), None)
    if found is None:
        return None
    size = exported.fixed_size
    return lambda images: exported(images, found), tf.TensorShape([None, size, size, 3])


def _by_call(module, handle, flag):
    """The same of its `__call__`.

    Raises:
        InputError: it gives no logits.
    """
    try:
        network = reusable.Reusable(module, f"--{flag}={handle}")
        if len(tf.nest.flatten(network.inputs)) != 1:
            raise InputError("it takes more than images")
        outputs = network.outputs()
    except InputError as error:
        named = some(list(module.signatures)) or "none"
        raise InputError(
            f"--{flag}={handle} has no logits to learn from: its signatures are {named}, and it cannot be called with "
            f"images; {RIGHT}."
        ) from error
    key = None
    if isinstance(outputs, dict):
        key = next((name for name in NAMES if name in outputs), None)
        if key is None:
            raise InputError(
                f"--{flag}={handle} has no logits to learn from: it gives {some(sorted(outputs))}; {RIGHT}."
            )
    spec = network.inputs

    def ask(images):
        found = network(tf.cast(images, spec.dtype), training=False)
        return found if key is None else found[key]

    return ask, spec.shape
