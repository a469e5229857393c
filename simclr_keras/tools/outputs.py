"""Files that a command writes: whole or not at all."""

import os
import tempfile

from simclr_keras.errors import TrainingError, one_line


def replace(path, write):
    """Puts a new file at a path, or leaves the old one.

    Args:
        path: local path. write: function of an open binary file.

    Raises:
        TrainingError: it cannot be written.
    """
    folder, name = os.path.split(os.path.abspath(path))
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp gives rights to the owner alone
        os.replace(temporary, path)
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written ({one_line(error)}); free space or mend its rights, then repeat the command."
        ) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.remove(temporary)


def replace_bytes(path, data):
    """As `replace`, with the content as bytes."""
    replace(path, lambda file: file.write(data))


class CsvLines:
    """The text file that csv.writer and csv.DictWriter want, over a binary one: UTF-8, a row ends in "\\n".

    For writers with their own line end, "\\r\\n". Up to Python 3.12 they quote a carriage return only where it is in
    that; unquoted, as in the name of a file that came from elsewhere, the table could not be read back.

    Args:
        file: binary file.
    """

    def __init__(self, file):
        self._file = file

    def write(self, row):
        self._file.write((row.removesuffix("\r\n") + "\n").encode())
