"""Download one file over HTTP: resumed if it was broken off, and compared with the server's checksum."""

import base64
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from email.message import Message

from simclr_keras.errors import InputError, one_line
from simclr_keras.files import cannot_write

PARTIAL = ".partial"  # ending of a file that is not whole yet
TIMEOUT = 60.0  # seconds without a byte
WAIT = 1.0  # seconds before a connection that brought nothing is tried again
ATTEMPTS = 3  # in a row that bring nothing
CHUNK = 1 << 20  # bytes
# A bucket that may not be listed answers 403 for a file that does not exist.
MISSING = (403, 404)
_NOT_SATISFIABLE = 416  # the range begins at the end of the file, or behind it


class MissingFileError(InputError):
    """Report that the server has no such file."""


def download(address: str, path: str) -> None:
    """Write the file at an http(s) address to a path, whole or not at all.

    What a killed or broken download leaves at PATH.partial is continued by the next one. A progress bar is shown on
    terminals.

    Raises:
        MissingFileError: the server has no such file.
        InputError: the server cannot be reached, the connection broke off for good, or the content is not that of
            the server's checksum.
        TrainingError: the disk is full, or the like.
    """
    partial, began, idle = path + PARTIAL, _size(path + PARTIAL), 0
    while True:
        before = _size(partial)
        try:
            headers = _receive(address, partial)
            break
        except urllib.error.HTTPError as error:
            if error.code in MISSING:
                raise MissingFileError(
                    f"{address} does not exist or is not public ({error.code}); {_otherwise(path)}"
                ) from error
            if error.code == _NOT_SATISFIABLE and before:
                os.remove(partial)
                continue
            failure: Exception = error
        except (OSError, http.client.HTTPException) as error:
            failure = error
        received = _size(partial)
        idle = 0 if received > before else idle + 1
        if received == began or idle == ATTEMPTS:
            kept = f", {received:,} bytes are kept and the same command continues" if received else ""
            raise InputError(
                f"{address} cannot be downloaded ({one_line(failure)}{kept}); {_otherwise(path)}"
            ) from failure
        time.sleep(WAIT * idle)
    _check_md5(address, partial, headers)
    os.replace(partial, path)


def digest(path: str, algorithm: str = "sha256") -> bytes:
    """Return the digest of a local file. algorithm: a name that hashlib knows."""
    result = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            result.update(chunk)
    return result.digest()


def _receive(address: str, partial: str) -> Message:
    """Append the rest of a file to `partial` and return the headers; OSError if the connection breaks off."""
    from tqdm import tqdm

    start = _size(partial)
    request = urllib.request.Request(address, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != http.client.PARTIAL_CONTENT:
            start = 0  # the server sends all of it
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        label = address.rpartition("/")[2]
        with (
            _opened(partial, "ab" if start else "wb") as file,
            tqdm(desc=label, total=total, initial=start, unit="B", unit_scale=True, disable=None) as bar,
        ):
            while chunk := response.read(CHUNK):
                _write(file, chunk)
                bar.update(len(chunk))
        if total is not None and _size(partial) != total:
            raise ConnectionError(f"the connection broke off at {_size(partial):,} of {total:,} bytes")
        headers: Message = response.headers
        return headers


def _check_md5(address: str, partial: str, headers: Message) -> None:
    """Compare a file with x-goog-hash of Google Cloud Storage, if the server sends it; else nothing can be compared."""
    values = ",".join(headers.get_all("x-goog-hash", [])).split(",")
    expected = [value.strip().removeprefix("md5=") for value in values if value.strip().startswith("md5=")]
    if not expected:
        return
    if base64.b64encode(digest(partial, "md5")).decode() != expected[0]:
        os.remove(partial)
        raise InputError(
            f"{address} arrived damaged: its MD5 is not that of x-goog-hash; repeat the command to fetch it again."
        )


def _opened(path: str, mode: str):
    try:
        return open(path, mode)
    except OSError as error:
        raise cannot_write(path, error) from error


def _write(file, chunk: bytes) -> None:
    try:
        file.write(chunk)
        file.flush()  # a killed download keeps what has arrived
    except OSError as error:
        raise cannot_write(file.name, error) from error


def _otherwise(path: str) -> str:
    return (
        f"check the network, or copy the file to {path}, or set SIMCLR_KERAS_MIRROR to a mirror or a folder."
    )


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0
