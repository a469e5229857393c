"""What the readers of the three formats make of the keys in a file."""

from typing import NamedTuple

from simclr_keras.interop.layers import CONV, HEAD_DENSE, HEAD_NORM, NORM


class Entry(NamedTuple):
    """A variable of the network.

    Attributes:
        kind: of its layer, see layers.py.
        place: which layer of that kind: a number by which they are ordered, or an object path.
        role: "kernel", "bias", "gamma", "beta", "moving_mean" or "moving_variance".
        key: its name in the file.
        group: block group that its name tells (0 for the stem), None where it tells none.
        within: numbers of what its name says it lies in, outermost first, which rise along the network; None for one
            that it does not lie in.
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
        entries: list of Entry. skipped: dict of key to why it is left out. unknown: keys that nothing is known of.
        linear_head: whether the projection head is the release's linear one.
    """

    entries: list
    skipped: dict
    unknown: list
    linear_head: bool = False


STRAY = -1  # place of what belongs to another kind of projection head than the rest
ROLES = r"(kernel|bias|gamma|beta|moving_mean|moving_variance)"
_OF_KIND = {CONV: ("kernel", "bias"), NORM: ("gamma", "beta", "moving_mean", "moving_variance")}


def fits(kind, role):
    """Whether an encoder's layer of that kind may have a variable of that role."""
    return role in _OF_KIND[kind]


def of_one_head(found):
    """The Sorted with the kind of its projection head, which is either linear (l_0) or not (nl_0, nl_1, ...).

    Of a mixture the smaller part is taken for the fault: its entries get the place STRAY.
    """
    head = [entry for entry in found.entries if entry.kind in (HEAD_DENSE, HEAD_NORM)]
    in_linear = [entry for entry in head if is_linear(entry.key)]
    linear = 2 * len(in_linear) > len(head)
    stray = {entry.key for entry in head if is_linear(entry.key) != linear}
    entries = [entry._replace(place=STRAY) if entry.key in stray else entry for entry in found.entries]
    return found._replace(entries=entries, linear_head=linear)


def is_linear(key):
    """Whether a head's key, in the formats that name its layers, is of the linear one."""
    return "/l_0/" in key


def same_shape(key, base, shapes):
    """Whether a file holds what a key is derived from, and of its shape."""
    return base in shapes and tuple(shapes[base]) == tuple(shapes[key])


def number(suffix):
    """The release leaves out suffix 0."""
    return int(suffix or 0)
