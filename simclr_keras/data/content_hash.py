"""The hash of an image's content, and the choices that depend on it: what is held out, which labels come first.

Every stage, label file and copy of the data sees the same content, so all make the same choices.
"""

import hashlib
from collections.abc import Iterable

import numpy as np


def hash_of(content: bytes, shape: tuple[int, ...] = ()) -> int:
    """Return the hash of an image file's bytes, or of the pixels of an array of this shape: 1 .. 2**64 - 1."""
    digest = hashlib.blake2b(content, digest_size=8, person=",".join(map(str, shape)).encode())
    return int.from_bytes(digest.digest(), "little") or 1  # 0 stands for "unknown" in the manifest


def hashes_of(contents: Iterable[bytes]) -> np.ndarray:
    """Return the hashes of n image files, uint64 [n]."""
    return np.fromiter((hash_of(content) for content in contents), np.uint64)


def is_held_out(hashes: np.ndarray, fraction: float) -> np.ndarray:
    """Return which images are held out, bool [n]: those whose hash, as a number in [0, 1), is below `fraction`."""
    return hashes < np.uint64(fraction * 2.0**64)


def group_hashes(hashes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the hash of each image's group, uint64 [n]; an image without others keeps its own.

    Args:
        hashes: uint64 [n] of the images. groups: int [n], from 0.
    """
    sizes = np.bincount(groups)
    smallest = np.full(len(sizes), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, groups, hashes)
    # Not the smallest itself, or large groups would be held out more often.
    return np.where(sizes > 1, ranks(smallest, 0), smallest)[groups]


def ranks(hashes: np.ndarray, seed: int) -> np.ndarray:
    """Return the numbers by which a seed orders images, uint64 [n]: the hashes of (seed, content)."""
    key = int(seed).to_bytes(8, "little")
    return hashes_of(key + content.tobytes() for content in hashes.astype("<u8"))


def fingerprint_of(hashes: np.ndarray, labels: np.ndarray | None) -> str:
    """Return a digest of the content and labels of n images in their order."""
    digest = hashlib.blake2b(hashes.astype("<u8").tobytes(), digest_size=16)
    if labels is not None:
        digest.update(labels.astype("<i4").tobytes())
    return digest.hexdigest()
