"""Compare an exported file with its network; and what the writers of the formats share."""

import contextlib
import pathlib
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from simclr_keras.backend import standard_error_into
from simclr_keras.errors import InputError, TrainingError, one_line
from simclr_keras.export.endpoints import LOGITS, PROBABILITIES, signature_endpoints, with_probabilities

# Protocol buffers and FlatBuffers count their bytes in 31 bits; some are left for the graph.
MAX_BYTES = 2**31 - 2**26


def check_size(model: Any, form: str) -> None:
    """Raise InputError if one file cannot store the weights."""
    size = sum(4 * int(np.prod(variable.shape)) for variable in model.variables)
    if size > MAX_BYTES:
        raise InputError(
            f"--format={form}: a file stores less than 2 GB, and this network has {size / 2**30:.1f} GB of weights; "
            "use --format=saved_model or keras."
        )


def pick_vectors(outputs: dict[str, tf.Tensor], names: Collection[str] | None = None) -> dict[str, tf.Tensor]:
    """Return the vectors with these names among the outputs of a network and its probabilities; None for all."""
    outputs = with_probabilities(outputs)
    vectors = signature_endpoints(outputs).values()
    return {name: outputs[name] for name in vectors if names is None or name in names}


def random_images(count: int, size: int) -> np.ndarray:
    """Return the same images [count, size, size, 3] at every call, float32 in [0, 1]."""
    return np.random.default_rng(0).uniform(size=(count, size, size, 3)).astype(np.float32)


def compare(
    network: Callable, exported: Callable, batches: list[np.ndarray], tolerance: float, name: str
) -> dict:
    """Compare an exported file with its network, both functions of images to the dict of endpoints.

    Args:
        batches: arrays of images [n, h, w, 3]. tolerance: the largest allowed `difference`.

    Returns:
        dict of tolerance, difference (the largest over endpoints and batches) and images, for the card.

    Raises:
        TrainingError: an output is missing or differs by more.
    """
    worst, where = 0.0, None
    for images in batches:
        outputs = exported(images)
        for endpoint, expected in network(images).items():
            if endpoint.endswith(PROBABILITIES) and LOGITS in outputs:
                # Of its own logits: small differences of large logits are large differences of probabilities.
                expected = with_probabilities({LOGITS: outputs[LOGITS]})[PROBABILITIES]
            gap = difference(outputs.get(endpoint), np.asarray(expected))
            if gap >= worst:
                worst, where = gap, f"{endpoint} of {len(images)} images of {images.shape[1]} pixels"
    if not worst <= tolerance:
        refuse(name, f"{where} differs from the network's by {worst:.1e}, more than {tolerance:.0e}")
    return {"tolerance": tolerance, "difference": worst, "images": sum(map(len, batches))}


def difference(values: Any, expected: np.ndarray) -> float:
    """Return the largest difference in units of the largest value; infinite if one is missing or not finite."""
    if values is None or tuple(values.shape) != expected.shape:
        return np.inf
    gap = float(np.max(np.abs(np.asarray(values, np.float64) - expected), initial=0))
    return gap / max(float(np.max(np.abs(expected), initial=0)), 1e-30) if np.isfinite(gap) else np.inf


def refuse(name: str, fault: str) -> NoReturn:
    raise TrainingError(f"{name}: {fault}; it was not written.")


@contextlib.contextmanager
def remove_on_failure(path: str) -> Iterator[pathlib.Path]:
    """Yield the path, and remove the file if the block that writes and checks it fails."""
    path = pathlib.Path(path)
    try:
        yield path
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def quietly(name: str) -> Iterator[None]:
    """Suppress the output of converters, and turn their errors into one line.

    Raises:
        TrainingError: the block failed with another library's exception.
    """
    with tempfile.TemporaryFile() as output, standard_error_into(output), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (InputError, TrainingError):
            raise
        except Exception as error:
            raise TrainingError(f"{name}: this network cannot be converted: {one_line(error)}") from error
