"""What the writers of other formats share: quiet conversion, and the comparison of a file with its network."""

import contextlib
import importlib
import pathlib
import tempfile
import warnings

import numpy as np
import tensorflow as tf

from simclr_keras.backend import standard_error_into
from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.export.endpoints import IMAGES, signature_endpoints
from simclr_keras.export.formats.check import difference

# Protocol buffers and FlatBuffers count their bytes in 31 bits; some are left for what is no weight.
MOST_BYTES = 2**31 - 2**26


def require(form, modules):
    """Imports what a format needs.

    Args:
        form: of --format, and of the extra that brings it. modules: names of Python modules.

    Raises:
        InputError: one of them is not installed, or does not start.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            package = module.split(".")[0].replace("_", "-")
            raise InputError(
                f"--format={form} needs {package} ({one_line(error, 120)}): install this package with its extra, as "
                f'pip install ".[{form}]" does in its folder.'
            ) from error


def check_size(model, form):
    """Raises InputError where one file cannot hold the weights."""
    size = sum(4 * int(np.prod(variable.shape)) for variable in model.variables)
    if size > MOST_BYTES:
        raise InputError(
            f"--format={form}: a file holds less than 2 GB, and this network has {size / 2**30:.1f} GB of weights; "
            "use --format=saved_model or keras."
        )


def vectors_of(model, size):
    """The network in inference mode, as a tf.function of images [n, size, size, 3] to the dict of its vectors.

    Args:
        model: built float32 SimCLRModel. size: in pixels; None for any.
    """
    spec = tf.TensorSpec([None, size, size, 3], tf.float32, name=IMAGES)
    return tf.function(lambda images: pick_vectors(model, images), input_signature=[spec], autograph=False)


def pick_vectors(model, images):
    found = model(images, training=False)
    return {name: found[name] for name in signature_endpoints(found).values()}


def random_images(count, size):
    """The same images [count, size, size, 3] every time, float32 in [0, 1]."""
    return np.random.default_rng(0).uniform(size=(count, size, size, 3)).astype(np.float32)


def compare(source, run, batches, tolerance, what):
    """Holds a file against its network.

    Args:
        source, run: functions of images to the dict of endpoints: of the network, and of the file.
        batches: arrays of images [n, h, w, 3]. tolerance: the largest difference allowed, see `check.difference`.
        what: the file, for the message.

    Returns:
        dict of tolerance, difference (the largest over endpoints and batches) and images, for the card.

    Raises:
        TrainingError: an output is missing or differs by more.
    """
    worst, where = 0.0, None
    for images in batches:
        found = run(images)
        for name, expected in source(images).items():
            gap = difference(found.get(name), np.asarray(expected))
            if gap >= worst:
                worst, where = gap, f"{name} of {len(images)} images of {images.shape[1]} pixels"
    if not worst <= tolerance:
        refuse(what, f"{where} is {worst:.1e} from the network's, more than {tolerance:.0e}")
    return {"tolerance": tolerance, "difference": worst, "images": sum(map(len, batches))}


def refuse(what, fault):
    raise TrainingError(f"{what}: {fault}; it is not kept.")


@contextlib.contextmanager
def kept_if_good(path):
    """Gives the path as a pathlib.Path, and removes the file if the block, which writes and checks it, fails."""
    path = pathlib.Path(path)
    try:
        yield path
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def quietly(what):
    """Holds back the chatter of converters, and makes one line of their failures.

    Raises:
        TrainingError: the block failed by another library's exception.
    """
    with tempfile.TemporaryFile() as held, standard_error_into(held), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (InputError, TrainingError):
            raise
        except Exception as error:
            raise TrainingError(f"{what} cannot be made of this network: {one_line(error)}") from error
