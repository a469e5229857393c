"""The files of the release by name: from its bucket, a mirror or a local folder, through a cache that is checked."""

import contextlib
import functools
import json
import os
import pathlib
import sys
from collections.abc import Iterator

from simclr_keras.errors import InputError, one_line
from simclr_keras.files import expand_home, write_file
from simclr_keras.interop.fetching.addresses import cache_folder
from simclr_keras.interop.fetching.download import PARTIAL, MissingFileError, digest, download
from simclr_keras.locks import ProcessLock

# The bucket of the release's TF2 SavedModels, gs://simclr-checkpoints-tf2, by its public address.
BUCKET = "https://storage.googleapis.com/simclr-checkpoints-tf2/simclrv2"
MIRROR = "SIMCLR_KERAS_MIRROR"  # another address, or a local folder, with the same tree below it
GRAPH, INDEX = "saved_model.pb", "variables/variables.index"
MAX_SHARDS = 16  # files that a SavedModel's arrays may be divided into
TABLE = pathlib.Path(__file__).with_name("digests.json")  # of the package; written by `simclr verify`
STAMP = "digests.json"  # in the cache, beside a folder of files: written once they are whole


def fetch_published(name: str) -> str:
    """Return the local folder of a published CATEGORY/MODEL, downloaded unless it is there already.

    Every file is compared with the server's checksum on arrival, with the package's table of digests if the network
    is in it, and with its digest at the download whenever it is taken from the cache. Two processes download once.

    Raises:
        InputError: one line: the server or the cache cannot be used, or a file is damaged.
        TrainingError: the disk is full, or the like.
    """
    mirror = os.environ.get(MIRROR) or BUCKET
    if not mirror.startswith(("https://", "http://")):
        return _in_folder(mirror, name)
    base = os.path.join(cache_folder(), name)
    folder, stamp = os.path.join(base, "saved_model"), os.path.join(base, STAMP)
    if not os.path.exists(stamp):
        with _unwritable_is_bad_input(base):
            os.makedirs(os.path.join(folder, "variables"), exist_ok=True)
        with _locked(base, name):
            if not os.path.exists(stamp):  # another process may have fetched it meanwhile
                _fetch(f"{mirror.rstrip('/')}/{name}/saved_model", folder)
                digests = digests_of(folder)
                _check(folder, digests, _table().get(name, {}))
                write_file(stamp, json.dumps(digests, indent=2) + "\n")
                return folder
    _check(folder, digests_of(folder), _read(stamp))
    return folder


def digests_of(folder: str) -> dict[str, str]:
    """Return the SHA-256 of the files of a SavedModel that are read here, by their path within its folder."""
    variables = os.path.join(folder, "variables")
    files = sorted(os.listdir(variables)) if os.path.isdir(variables) else []
    arrays = [f"variables/{file}" for file in files if ".data-" in file and not file.endswith(PARTIAL)]
    paths = {file: os.path.join(folder, file) for file in (GRAPH, *arrays, INDEX)}
    return {file: digest(path).hex() for file, path in paths.items() if os.path.exists(path)}


def add_to_table(name: str) -> None:
    """Add the digests of a network's files, which must be in the cache or the mirror folder, to the package's table.

    Raises:
        TrainingError: the table cannot be written.
    """
    folder = fetch_published(name)
    content = {**_table(), name: digests_of(folder)}
    write_file(str(TABLE), json.dumps(dict(sorted(content.items())), indent=2) + "\n")
    _table.cache_clear()


def _in_folder(mirror: str, name: str) -> str:
    folder = os.path.join(expand_home(mirror).rstrip("/"), name, "saved_model")
    if not os.path.isdir(os.path.join(folder, "variables")):
        raise InputError(
            f"{MIRROR}={mirror} has no {name}/saved_model; copy it there, or give an address (https://...)."
        )
    if name in _table():
        _check(folder, digests_of(folder), _table()[name])
    return folder


def _fetch(address: str, folder: str) -> None:
    """Download the files of a SavedModel that are not in a folder yet. How many files of arrays there are is tried."""

    def fetch(file):
        path = os.path.join(folder, file)
        if not os.path.exists(path):
            download(f"{address}/{file}", path)

    for file in (GRAPH, INDEX):
        fetch(file)
    for shards in range(1, MAX_SHARDS + 1):
        try:
            for shard in range(shards):
                fetch(f"variables/variables.data-{shard:05}-of-{shards:05}")
            return
        except MissingFileError:
            if shards == MAX_SHARDS:
                raise


def _check(folder: str, digests: dict[str, str], expected: dict[str, str]) -> None:
    """Raise InputError, with the name of the file, if one is missing or has another digest than expected."""
    for file in sorted(expected):
        if digests.get(file) != expected[file]:
            what = "is damaged: its SHA-256 is not the recorded one" if file in digests else "is missing"
            raise InputError(
                f"{os.path.join(folder, file)} {what}; delete {os.path.dirname(folder)} and repeat the command to "
                "fetch it again."
            )


@functools.cache
def _table() -> dict[str, dict[str, str]]:
    """Return the package's table: network to file to SHA-256. Empty until somebody has made it."""
    return json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}


def _read(stamp: str) -> dict[str, str]:
    try:
        values = json.loads(pathlib.Path(stamp).read_text(encoding="utf-8"))
        return {str(file): str(value) for file, value in values.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"{stamp} is damaged ({one_line(error, 100)}); delete {os.path.dirname(stamp)} and repeat the command to "
            "fetch it again."
        ) from error


@contextlib.contextmanager
def _locked(base: str, name: str) -> Iterator[None]:
    """Keep other processes from downloading the same network; wait if one does."""
    lock = ProcessLock(f"{base}.lock")
    with _unwritable_is_bad_input(base):
        if not lock.acquire():
            print(f"another process is downloading {name}; waiting for it", file=sys.stderr)
            lock.acquire(seconds=-1)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _unwritable_is_bad_input(folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the cache {folder} cannot be written ({one_line(error)}); set SIMCLR_KERAS_CACHE to a folder you may "
            "write to."
        ) from error
