"""The kinds of published networks: their folder names, training stages and published accuracies."""

import dataclasses
import re

from simclr_keras.errors import InputError
from simclr_keras.models.zoo import PUBLISHED, parse_name

LICENSE = "Apache-2.0"
_TABLE_1, _TABLE_3 = "arXiv 2006.10029, Table 1", "arXiv 2006.10029, Table 3"
# Table 3, distilled with 1 % and with 10 % of the labels.
_DISTILLED = {"r50_1x_sk0": (73.9, 77.5), "r50_2x_sk1": (75.9, 80.2), "r152_3x_sk1": (76.6, 80.9)}


@dataclasses.dataclass(frozen=True)
class Category:
    """A folder of the release.

    Attributes:
        name: of the folder.
        mode: the stage that trains such networks.
        recipe: ours with the paper's settings.
        head_layer: layer of the projection head under its classifiers.
        labels: of ImageNet it has learned from.
        probe: whether the classifier has left the network alone.
        step: at which training ended, in the names of the TF1 checkpoints; None if unknown.
        figure: field of a ModelRecord with the published top-1, or "distilled".
    """

    name: str
    mode: str
    recipe: str
    head_layer: int
    labels: int
    figure: str
    step: int | None = None
    probe: bool = False

    def top1(self, model: str) -> tuple[float | None, str | None]:
        """Return (published top-1 in [0, 1], its source) of a model; (None, None) if unpublished."""
        if self.figure == "distilled":
            figures = _DISTILLED.get(model, (None, None))
            percent, source = figures[self.name == "distill_10pct"], _TABLE_3
        else:
            percent, source = getattr(PUBLISHED.get(model), self.figure, None), _TABLE_1
        return (None, None) if percent is None else (round(percent / 100, 4), source)


_ALL, _ONE, _TEN = 1_281_167, 12_811, 128_116
CATEGORIES = {
    category.name: category
    for category in (
        Category("pretrained", "pretrain", "imagenet_pretrain", 0, _ALL, "linear", 250_228, probe=True),
        Category("finetuned_1pct", "finetune", "finetune_1pct", 1, _ONE, "finetune_1pct", 751),
        Category("finetuned_10pct", "finetune", "finetune_10pct", 1, _TEN, "finetune_10pct", 3754),
        Category("finetuned_100pct", "finetune", "finetune_100pct", 0, _ALL, "finetune_100pct", 37_535),
        Category("supervised", "supervised", "supervised", 0, _ALL, "supervised", 28_151),
        Category("distill_1pct", "distill", "distill_small", 0, _ONE, "distilled"),
        Category("distill_10pct", "distill", "distill_small", 0, _TEN, "distilled"),
    )
}
# Not within other words, such as unsupervised or self-supervised.
_NAMED = re.compile(rf"(?<![A-Za-z_-])({'|'.join(CATEGORIES)})(?![A-Za-z0-9])")
_STEP = re.compile(r"model\.ckpt-(\d+)$")
_MODEL = re.compile(r"(?<![A-Za-z0-9])(r\d+_\d+(?:\.\d+)?x_sk[01])(?![A-Za-z0-9])")


def category_of(path: str, head_layer: int | None = None) -> Category | None:
    """Return the Category in a path, or that of the step of a TF1 checkpoint; None if there is neither.

    Args:
        path: of the checkpoint.
        head_layer: layer under the classifier, or None. It decides if folder and step disagree.

    Raises:
        InputError: folder and step disagree, and `head_layer` does not decide. Folders may be called "pretrained" or
            "supervised" for other reasons, and a classifier on the wrong layer gives wrong answers.
    """
    words, step = _NAMED.findall(str(path)), _STEP.search(str(path))
    by_folder = CATEGORIES[words[-1]] if words else None
    ends = {category.step: category for category in CATEGORIES.values() if category.step}
    by_step = ends.get(int(step[1])) if step else None
    if by_folder is None or by_step is None:
        return by_folder or by_step
    if (by_folder.mode, by_folder.head_layer) == (by_step.mode, by_step.head_layer):
        return by_folder
    matching = [category for category in (by_folder, by_step) if category.head_layer == head_layer]
    if len(matching) == 1:
        return matching[0]
    layers = f", or head_layer={by_folder.head_layer} or {by_step.head_layer}"
    raise InputError(
        f"{path} is {by_folder.name} by its folder, but {by_step.name} by its step {by_step.step}: give --name (name=) "
        f"{by_folder.name} or {by_step.name}{layers if by_folder.head_layer != by_step.head_layer else ''}."
    )


def model_in(path: str) -> str | None:
    """Return the last model name in a path, such as r50_1x_sk0; None if there is none."""
    named = _MODEL.findall(str(path))
    return named[-1] if named else None


def read_name(name: str | None) -> tuple[Category | None, str | None]:
    """Return (Category or None, name of a model or None) from "r50_1x_sk0", "finetuned_1pct" or both with a slash.

    Raises:
        InputError: it is none of these.
    """
    if name is None:
        return None, None
    first, _, second = str(name).rpartition("/")
    if second in CATEGORIES and not first:
        return CATEGORIES[second], None
    if first and first not in CATEGORIES:
        raise InputError(f"name={name}: {first!r} is none of {', '.join(CATEGORIES)}.")
    parse_name(second)
    return CATEGORIES.get(first), second
