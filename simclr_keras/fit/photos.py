"""The photos of fit: labels, near duplicates, and the test images, which no training and no choice sees."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from simclr_keras.config.fit import FitConfig
from simclr_keras.data.content_hash import fingerprint_of, ranks
from simclr_keras.data.files.image_file import is_utf8
from simclr_keras.data.files.listing import list_images
from simclr_keras.data.sources.layout import EVALUATION_FOLDERS
from simclr_keras.data.sources.load_dataset import open_dataset
from simclr_keras.errors import InputError, some
from simclr_keras.evaluation.near_duplicates import group_images
from simclr_keras.evaluation.simple_features import thumbnails_of
from simclr_keras.fit.hold_out import choose_test
from simclr_keras.formatting import counted
from simclr_keras.runs.ancestors import saw_labels
from simclr_keras.runs.records import AncestorEntry
from simclr_keras.runs.run_files import RunFiles
from simclr_keras.runs.seen_images import seen_rows
from simclr_keras.tools.images.open_images import Images


@dataclasses.dataclass(frozen=True)
class Photos:
    """All usable photos in a fixed order.

    Attributes:
        images: Images of n photos. ids: their n names.
        others: names of images in the folder that are unreadable, or left out by the user's own splits; sorted.
        labels: int32 [n], -1 for unlabeled. class_names: a name per label value.
        groups: int64 [n]; near duplicates, and photos of one scene, have one number.
        threshold: similarity above which two photos are alike, see `group_images`.
        is_test: bool [n]. has_own_test: whether the data brought its test images.
        is_left_out: bool [n], photos that are neither test images nor trained on, because they are alike to some.
        notes: for the user. doubts: why figures on the test images may be too high, in words.
    """

    images: Images
    ids: tuple[str, ...]
    others: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    groups: np.ndarray
    threshold: float
    is_test: np.ndarray
    has_own_test: bool
    is_left_out: np.ndarray
    notes: tuple[str, ...]
    doubts: tuple[str, ...] = ()

    @property
    def test(self) -> np.ndarray:
        """Return the rows of the test images."""
        return np.flatnonzero(self.is_test)

    @property
    def labeled(self) -> np.ndarray:
        """Return the rows of the labeled photos that are not test images."""
        return np.flatnonzero((self.labels >= 0) & ~self.is_test & ~self.is_left_out)

    @property
    def unlabeled(self) -> np.ndarray:
        """Return the rows of the unlabeled photos that are trained on."""
        return np.flatnonzero((self.labels < 0) & ~self.is_test & ~self.is_left_out)

    @property
    def hashes(self) -> np.ndarray:
        """Return the content hashes, uint64 [n]."""
        return np.concatenate([part.content_hashes for part in self.images.parts])

    def fingerprint(self) -> str:
        """Return a digest of content, labels and test images."""
        return fingerprint_of(self.hashes, np.where(self.is_test, -2 - self.labels, self.labels))


def open_photos(config: FitConfig, say: Callable = print, ancestors: Sequence[AncestorEntry] = ()) -> Photos:
    """Open the photos of a FitConfig, find near duplicates, and hold out the test images.

    Args:
        config: FitConfig. say: prints a line.
        ancestors: the runs that the network in --init comes from. Images they did not see become test images first.

    Raises:
        InputError: there are no photos or too few labels, or the network in --init was trained on labels of them.
    """
    splits = open_dataset(config.dataset, labels=config.labels)
    tops = {name.partition("/")[0].lower() for name in splits.train.ids} & {*EVALUATION_FOLDERS}
    if splits.evaluation is None and tops:
        raise InputError(
            f"{config.dataset}: the photos in {min(tops)}/ would be trained on like all others: put the others into "
            "train/ beside it, or give a column split in --labels; or rename it."
        )
    parts = (splits.train,) if splits.evaluation is None else (splits.train, splits.evaluation)
    if not any(part.has_labels for part in parts):
        raise InputError(
            f"{config.dataset} has no labels, and fit needs some: give --labels=labels.csv, or class sub-folders."
        )
    labels = np.concatenate([np.full(len(p), -1) if p.labels is None else p.labels for p in parts])
    # Without classes that have no readable photo, which trainings would not know of.
    present = np.unique(labels[labels >= 0])
    class_names = tuple(splits.class_names[label] for label in present)
    labels = np.where(labels >= 0, np.searchsorted(present, labels), -1)
    _check_labels(config, labels, class_names)
    _check_init(config, splits.train, ancestors)
    images = Images(config.dataset, parts, class_names)
    ids = tuple(images.ids)
    say(
        f"photos   {len(ids):,}, of which {int(np.sum(labels >= 0)):,} are labeled; looking for near duplicates"
    )
    groups, threshold = group_images(np.concatenate([thumbnails_of(part) for part in parts]))
    has_own = splits.evaluation is not None
    seen = [seen_rows(part, ancestors) for part in parts]
    is_seen, unknown = np.concatenate([rows for rows, _ in seen]), seen[0][1]
    if has_own:
        is_test = np.arange(len(ids)) >= len(parts[0])
    else:
        order = ranks(splits.train.content_hashes, config.seed) >> np.uint64(1)
        order |= is_seen.astype(np.uint64) << np.uint64(63)
        is_test = choose_test(labels, groups, order, config.test_fraction)
        if not is_test.any():
            raise InputError(
                f"{config.dataset} has too few different labeled photos to hold out test images: label more, at least "
                "3 of some class that are no near duplicates of each other."
            )
    is_left_out = np.isin(groups, groups[is_test]) & ~is_test
    _check_labels(
        config, np.where(is_test | is_left_out, -1, labels), class_names, " that are no test images"
    )
    alone = {*labels[is_test & (labels >= 0)]} - {*labels[~is_test & ~is_left_out]}
    if alone:
        raise InputError(
            f"all labeled photos of {some([class_names[label] for label in sorted(alone)])} are test images, or alike "
            "to some: label more photos of it, or remove these labels."
        )
    return Photos(
        images,
        ids,
        _others(config, ids),
        labels.astype(np.int32),
        class_names,
        groups,
        threshold,
        is_test,
        has_own,
        is_left_out,
        splits.notes,
        tuple(_doubts(config, int(np.sum(is_seen & is_test)), unknown, has_own)),
    )


def _doubts(config, seen_test_images, unknown_runs, has_own_test):
    """Yield why figures on the test images may be too high."""
    if seen_test_images:
        smaller = "" if has_own_test else "give a smaller --test_fraction, or "
        yield (
            f"--init={config.init} was trained on {counted(seen_test_images, 'test image')}, so figures may be too "
            f"high; to avoid this, {smaller}start from a run that was trained without them"
        )
    if unknown_runs:
        yield f"the training images of {some(unknown_runs, 3)} are unknown: test images may be among them"


def _others(config, ids):
    listing = list_images(config.dataset.removeprefix("folder:"))
    return tuple(sorted({*filter(is_utf8, listing.images)} - {*ids}))  # other names are never read


def describe(photos: Photos):
    """Yield the lines about the data that are printed, and stand on the page."""
    yield from photos.notes
    yield from (f"warning: {doubt}" for doubt in photos.doubts)
    sizes = np.bincount(photos.groups)
    several = sizes[sizes > 1]
    if len(several):
        yield (
            f"{int(several.sum()):,} photos are alike (similarity above {photos.threshold:g}): "
            f"{counted(len(several), 'group')} of 2 to {several.max()} photos, each on one side of every split"
        )
    names = photos.class_names
    how = "the data's own test images" if photos.has_own_test else "held out before anything else"
    yield (
        f"{counted(len(photos.test), 'test image')}, {how}; {len(photos.labeled):,} labeled and "
        f"{len(photos.unlabeled):,} unlabeled photos of {counted(len(names), 'class')} to learn from"
    )
    if photos.is_left_out.any():
        yield f"{counted(int(photos.is_left_out.sum()), 'photo')} left out as alike to test images"
    in_test = np.bincount(photos.labels[photos.test], minlength=len(names))
    if missing := [name for name, count in zip(names, in_test) if not count]:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        yield f"without test images, because there are too few different ones: {shown}"


def _check_init(config, source, ancestors):
    """Raise InputError if --init was trained on labels of these photos: it would be judged by what it has learned."""
    rows, _ = seen_rows(source, [entry for entry in ancestors if _has_own_labels(entry)])
    if source.labels is not None and (count := int(np.sum(rows & (source.labels >= 0)))):
        raise InputError(
            f"--init={config.init} was trained on the labels of {counted(count, 'photo')} of {config.dataset}, so "
            "cross-validation cannot judge it: give the run that it started from, or one of other photos."
        )


def _has_own_labels(entry):
    """Return whether a run was trained on labels of its own: a student may have those of its teacher alone."""
    if entry["mode"] != "distill":
        return saw_labels([entry])
    with contextlib.suppress(InputError, ValueError):
        record = RunFiles(entry["run"], flag=None).read_config()
        return record is not None and record.settings.get("alpha") != 1
    return False


def _check_labels(config, labels, class_names, which=""):
    counts = np.bincount(labels[labels >= 0], minlength=len(class_names))
    if np.count_nonzero(counts) < 2:
        raise InputError(
            f"{config.labels or config.dataset} labels photos{which} of "
            f"{counted(int(np.count_nonzero(counts)), 'class')}: "
            "give labels of at least 2 classes."
        )
