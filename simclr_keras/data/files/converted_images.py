"""PNG copies of the images that Pillow decodes, made once, so that TensorFlow reads them at every step."""

import contextlib
import io
import os

import numpy as np

from simclr_keras.errors import TrainingError
from simclr_keras.files import write_file


class ConvertedImages:
    """The PNG copies of the images of one folder, named after the content hash of the original.

    A copy is written as a whole, and its content follows from its name. So processes can share the folder, an
    interruption leaves no half copy, and the folder may be deleted: the next check makes the copies again.

    Args:
        folder: local folder of the copies, made with the first of them; or None if there is no cache folder.
    """

    def __init__(self, folder: str | None):
        self.folder = folder

    def path(self, content_hash: int) -> str:
        """Return the path of the copy of the image with this hash."""
        return os.path.join(self.folder or "", _name(content_hash))

    def are_missing(self, hashes: np.ndarray) -> np.ndarray:
        """Return which images have no copy, bool [n]. hashes: of their content, uint64 [n]."""
        names = set()
        with contextlib.suppress(OSError):
            names.update(os.listdir(self.folder or ""))
        return np.array([_name(content_hash) not in names for content_hash in hashes], bool)

    def write(self, content_hash: int, pixels: np.ndarray) -> None:
        """Write the copy of an image. pixels: uint8 [h, w, 3].

        Raises:
            TrainingError: there is no cache folder, or it cannot be written.
        """
        from PIL import Image

        copy = io.BytesIO()
        Image.fromarray(pixels).save(copy, "PNG", compress_level=1)  # 9 takes ten times longer for few bytes
        try:
            if self.folder is None:
                raise OSError("there is no home folder")
            os.makedirs(self.folder, exist_ok=True)
            write_file(self.path(content_hash), copy.getvalue())
        except (OSError, TrainingError) as error:
            raise TrainingError(
                f"images of other formats are converted to PNG, but the copies cannot be written ({error}); "
                "set XDG_CACHE_HOME to a folder with free space that you may write to"
            ) from error


def _name(content_hash):
    return f"{int(content_hash):016x}.png"
