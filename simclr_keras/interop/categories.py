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
        figure: field of a ModelRecord with the published top-1, or "distilled".
    """

    name: str
    mode: str
    recipe: str
    head_layer: int
    labels: int
    figure: str
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
        Category("pretrained", "pretrain", "imagenet_pretrain", 0, _ALL, "linear", probe=True),
        Category("finetuned_1pct", "finetune", "finetune_1pct", 1, _ONE, "finetune_1pct"),
        Category("finetuned_10pct", "finetune", "finetune_10pct", 1, _TEN, "finetune_10pct"),
        Category("finetuned_100pct", "finetune", "finetune_100pct", 0, _ALL, "finetune_100pct"),
        Category("supervised", "supervised", "supervised", 0, _ALL, "supervised"),
        Category("distill_1pct", "distill", "distill_small", 0, _ONE, "distilled"),
        Category("distill_10pct", "distill", "distill_small", 0, _TEN, "distilled"),
    )
}
_PATH = re.compile(rf"(?:^|/)(?:({'|'.join(CATEGORIES)})/)?(r\d+_\d+(?:\.\d+)?x_sk[01])(?=/|$)")


def read_path(path: str) -> tuple[Category | None, str | None]:
    """Return the (Category, model name) of .../finetuned_1pct/r50_1x_sk0/...; None for each that is missing."""
    names = _PATH.findall(str(path))
    category, model = names[-1] if names else ("", None)
    return CATEGORIES.get(category), model


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
