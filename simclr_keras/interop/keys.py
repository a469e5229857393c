"""The records into which the readers of the three formats sort the keys of a file."""

from typing import NamedTuple

from simclr_keras.interop.layers import CONV, HEAD_DENSE, HEAD_NORM, NORM, NORM_ROLES


class Entry(NamedTuple):
    """A variable of the network.

    Attributes:
        kind: of its layer, see layers.py.
        place: which layer of that kind: a number by which they are ordered, or an object path.
        role: "kernel", "bias", "gamma", "beta", "moving_mean" or "moving_variance".
        key: its name in the file.
        group: block group in its name (0 for the stem), None if its name has none.
        within: numbers of the scopes in its name, outermost first, which rise along the network; None for a scope
            that its name does not have.
    """

    kind: str
    place: int | str
    role: str
    key: str
    group: int | None = None
    within: tuple = ()


class Sorted(NamedTuple):
    """All keys of a file.

    Attributes:
        entries: list of Entry. skipped: dict of key to why it is left out. unknown: the remaining keys.
        linear_head: whether the projection head is the release's linear one.
    """

    entries: list
    skipped: dict
    unknown: list
    linear_head: bool = False


STRAY = -1  # place of an entry of another kind of projection head than the rest
ROLES = r"(kernel|bias|gamma|beta|moving_mean|moving_variance)"
_OF_KIND = {CONV: ("kernel", "bias"), NORM: NORM_ROLES, HEAD_DENSE: ("kernel",), HEAD_NORM: NORM_ROLES}


def fits(kind: str, role: str) -> bool:
    """Return whether a layer of that kind, of the encoder or the projection head, may have a variable of that role."""
    return role in _OF_KIND[kind]


def of_one_head(sorted_keys: Sorted) -> Sorted:
    """Return the Sorted with the kind of its projection head: linear (l_0) or nonlinear (nl_0, nl_1, ...).

    If there are keys of both kinds, the smaller part gets the place STRAY.
    """
    head = [entry for entry in sorted_keys.entries if entry.kind in (HEAD_DENSE, HEAD_NORM)]
    in_linear = {entry.key for entry in head if "/l_0/" in entry.key}
    linear = 2 * len(in_linear) > len(head)
    stray = {entry.key for entry in head if (entry.key in in_linear) != linear}
    entries = [entry._replace(place=STRAY) if entry.key in stray else entry for entry in sorted_keys.entries]
    return sorted_keys._replace(entries=entries, linear_head=linear)


def same_shape(key: str, base: str, shapes: dict) -> bool:
    """Return whether a file has the key that another is derived from, with the same shape."""
    return base in shapes and tuple(shapes[base]) == tuple(shapes[key])


def number(suffix: str | None) -> int:
    """Return a suffix as a number; the release leaves out suffix 0."""
    return int(suffix or 0)
