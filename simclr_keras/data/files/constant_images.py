"""Images that are almost one color: blank ones, or values in a small part of their range, which look black."""

import numpy as np

from simclr_keras.errors import one_line, some
from simclr_keras.formatting import counted

# An image of 12 bits in a 16-bit file has at most 16 of the 256 levels.
FEWEST_LEVELS = 16
_SIDE = 64  # of a first look at every so many-th pixel, which is enough for nearly all images


def are_nearly_constant(images: np.ndarray) -> np.ndarray:
    """Return which images differ by less than 16 levels in every channel, bool [n]; images: uint8 [n, h, w, c]."""
    step_down, step_right = (max(1, side // _SIDE) for side in images.shape[1:3])
    constant = _spread(images[:, ::step_down, ::step_right]) < FEWEST_LEVELS
    for row in np.flatnonzero(constant):
        constant[row] = _spread(images[row : row + 1])[0] < FEWEST_LEVELS
    return constant


def note_of_constant(count: int, total: int, name: str, examples: list[str]) -> str:
    """Return the note about `count` nearly constant images of `total`. name: of the dataset. examples: their names."""
    named = some([one_line(example, 100) for example in examples[:4]], 3)
    return (
        f"{counted(count, 'image')} of {total:,} in {name} use fewer than {FEWEST_LEVELS} of 256 levels: {named}; "
        "check that they are not blank, and that 16-bit files fill their range"
    )


def _spread(images):
    return (images.max(axis=(1, 2)).astype(np.int32) - images.min(axis=(1, 2))).max(axis=1)
