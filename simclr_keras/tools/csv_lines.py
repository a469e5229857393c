"""Tables that any name can be read back from."""

from typing import BinaryIO


class CsvLines:
    """The text file that csv.writer and csv.DictWriter want, over a binary one: UTF-8, a row ends in "\\n".

    For writers with their own line end, "\\r\\n". Up to Python 3.12 they quote a carriage return only where it is in
    that; unquoted, as in the name of a file that came from elsewhere, the table could not be read back.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, row: str) -> None:
        """Write a row that ends in "\\r\\n"."""
        self._file.write((row.removesuffix("\r\n") + "\n").encode())
