"""Opens what was exported, here or elsewhere: a SavedModel folder or a TF-Hub handle, through its signatures."""

import json
import re

import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.export.export_folder import CARD, FORMAT
from simclr_keras.export.formats.saved_model import CLASS_NAMES
from simclr_keras.export.loading.locate import find

_HUB_V1 = "tfhub_module.pb"


class Exported:
    """A loaded SavedModel, of this package or of any other, seen through its signatures that take images.

    Call it with images and the name of an endpoint.

    Attributes:
        handle: as it was given. path: the folder it was loaded from.
        module: what `tf.saved_model.load` gives.
        endpoints: dict of the name of an endpoint to the key of its output. An endpoint is called after its signature;
            of a signature with several outputs, after the output.
        maps: dict of the endpoints that have no signature, the feature maps of our own exports, to their shapes.
        image_size: side in pixels of the images it was trained on; None where there is no telling.
        fixed_size: the same where it takes no others, else None.
        class_names: tuple of the names of its classes, or None.
        card: dict that card.json holds, or None.
    """

    def __init__(self, handle, path, module, card, flag):
        self.handle, self.path, self.module, self.card = handle, path, module, card
        self._signatures = {
            name: found for name, found in module.signatures.items() if _input(found) is not None
        }
        self._at = _places(self._signatures)
        self.endpoints = {name: key for name, (_, key) in self._at.items()}
        if not self.endpoints:
            raise InputError(_without_endpoints(handle, flag, module))
        self.maps = {} if card is None else _maps(module, {*self.endpoints, *self.endpoints.values()})
        self.fixed_size = self._fixed_size()
        self.image_size = (card or {}).get("image_size") or self.fixed_size
        self.class_names = read_class_names(path, card, flag)

    def __call__(self, images, endpoint):
        """One endpoint of a batch of images.

        Args:
            images: float [n, height, width, 3], pixels in [0, 1].
            endpoint: name of one, see `endpoints` and `maps`; the key of its output will do too.

        Returns:
            float32 tensor [n, ...].

        Raises:
            InputError: there is no such endpoint, or the images are not float.
        """
        images = tf.convert_to_tensor(images)
        if not images.dtype.is_floating:
            raise InputError(
                f"images must be float, with pixels in [0, 1]: divide 8-bit ones by 255. Received: {images.dtype.name}"
            )
        if endpoint in self.maps:
            return tf.cast(getattr(self.module, endpoint)(images), tf.float32)
        name, key = self._at[self.find(endpoint)]
        signature = self._signatures[name]
        keyword, spec = _input(signature)
        return tf.cast(signature(**{keyword: tf.cast(images, spec.dtype)})[key], tf.float32)

    def find(self, endpoint):
        """The name in `endpoints` of an endpoint, given that or the key of its output.

        Raises:
            InputError: there is none; names those that there are.
        """
        if endpoint in self.endpoints:
            return endpoint
        for name, key in self.endpoints.items():
            if key == endpoint:
                return name
        raise InputError(f"{self.handle} has no endpoint {endpoint}; it has {', '.join(self.endpoints)}.")

    def shape(self, endpoint):
        """The shape of an endpoint, a tf.TensorShape, as its signature tells it."""
        if endpoint in self.maps:
            return self.maps[endpoint]
        name, key = self._at[self.find(endpoint)]
        return self._signatures[name].structured_outputs[key].shape

    def _fixed_size(self):
        shapes = [_input(signature)[1].shape for signature in self._signatures.values()]
        sides = {tuple(shape[1:3]) if shape.rank else (None, None) for shape in shapes}
        height, width = sides.pop() if len(sides) == 1 else (None, None)
        return height if height == width else None


def open_export(handle, flag="model"):
    """Loads a SavedModel.

    Args:
        handle: folder of a SavedModel, local or any that tf.io.gfile knows, or a TF-Hub handle (https://...).
        flag: name of the one that gave it, for messages.

    Returns:
        Exported.

    Raises:
        InputError: there is nothing, it is no SavedModel, it cannot be loaded, its card is damaged, or none of its
            signatures takes images.
    """
    path = find(str(handle).rstrip("/"), f"--{flag}")
    card = read_card(path, flag)
    try:
        # As hub.load does, without that package: where TPUs are it would bring another TensorFlow.
        tags = [] if tf.io.gfile.exists(f"{path}/{_HUB_V1}") else None
        module = tf.saved_model.load(path, tags=tags)
    except Exception as error:  # whatever a damaged graph leads TensorFlow to
        raise InputError(
            f"--{flag}={handle} cannot be loaded ({one_line(error)}); export it anew, or give another."
        ) from error
    return Exported(str(handle), path, module, card, flag)


def read_card(path, flag="model"):
    """Returns the dict in an export's card.json; None where there is none, or it is no card of ours.

    Raises:
        InputError: it is damaged.
    """
    file = f"{path}/{CARD}"
    if not tf.io.gfile.exists(file):
        return None
    try:
        with tf.io.gfile.GFile(file, "rb") as opened:
            card = json.loads(opened.read())
        if not isinstance(card, dict) or card.get("format") != FORMAT:
            return None
        size, names = card.get("image_size"), card.get("class_names")
        if size is not None and (type(size) is not int or size < 1):
            raise ValueError(f"image_size is {size!r}")
        if names is not None and not (
            isinstance(names, list) and all(isinstance(name, str) for name in names)
        ):
            raise ValueError("class_names is no list of names")
    except (ValueError, RecursionError, tf.errors.OpError) as error:
        raise InputError(
            f"{file} is damaged ({one_line(error)}); export it anew, or give another --{flag}."
        ) from error
    return card


def _input(signature):
    """(keyword, TensorSpec) of a signature's input if that is one batch of float images, else None."""
    try:
        _, keywords = signature.structured_input_signature
        ((keyword, spec),) = keywords.items()
    except (TypeError, ValueError, AttributeError):
        return None
    rank = spec.shape.rank
    images = rank is None or (rank == 4 and spec.shape[3] in (None, 3))
    return (keyword, spec) if spec.dtype.is_floating and images else None


def _places(signatures):
    """Dict of endpoint to (signature, output key); first come the signatures of one output."""
    outputs = {name: _tensors(signature) for name, signature in signatures.items()}
    places = {name: (name, keys[0]) for name, keys in outputs.items() if len(keys) == 1}
    taken = {*places, *(key for _, key in places.values())}
    for name, keys in outputs.items():
        for key in keys if len(keys) > 1 else ():
            if key not in taken:
                places[key] = (name, key)
                taken.add(key)
    return places


def _tensors(signature):
    found = signature.structured_outputs
    return [key for key, spec in found.items() if spec.dtype.is_floating] if isinstance(found, dict) else []


def _maps(module, known):
    traces = getattr(module.__call__ if callable(module) else None, "concrete_functions", None) or [None]
    outputs = getattr(traces[0], "structured_outputs", None)
    found = outputs.items() if isinstance(outputs, dict) else ()
    return {
        name: spec.shape
        for name, spec in found
        if name not in known and callable(getattr(module, name, None))
    }


def read_class_names(path, card, flag="model"):
    """Returns the tuple of class names on an export's card (a dict, or None), else in its asset; None without either.

    Raises:
        InputError: the asset is damaged.
    """
    if card is not None and card.get("class_names") is not None:
        return tuple(card["class_names"])
    asset = f"{path}/assets/{CLASS_NAMES}"
    if not tf.io.gfile.exists(asset):
        return None
    try:
        with tf.io.gfile.GFile(asset, "rb") as file:
            lines = file.read().decode()
    except (UnicodeDecodeError, tf.errors.OpError) as error:
        raise InputError(f"{asset} is damaged ({one_line(error)}); give another --{flag}.") from error
    return tuple(re.split(r"\r?\n", lines.rstrip("\r\n")))


def _without_endpoints(handle, flag, module):
    if module.signatures:
        return (
            f"--{flag}={handle} has no signature that takes float images [n, height, width, 3]; it has "
            f"{', '.join(module.signatures)}. Give an export of an image model."
        )
    return (
        f"--{flag}={handle} has no signatures, so that nothing says what it takes and gives; export it with export.py, "
        "or bring in weights released for SimCLR with python -m simclr_keras.tools.import_published."
    )
