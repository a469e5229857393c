"""Which columns of a CSV file are file names, labels and splits: by the names in its header, or by their order."""

import dataclasses
from collections.abc import Callable, Sequence

from simclr_keras.data.files.image_file import EXTENSIONS
from simclr_keras.errors import InputError, one_line, some

# In any case. Of several columns of file names, the first in this order whose names are those of images.
_FILE_HEADINGS = (
    *("filename", "file_name", "filepath", "file_path", "file", "path", "image_path", "image_name", "image"),
    *("image_id", "id", "name"),
)
_LABEL_HEADINGS = {"label", "labels", "class", "classes", "class_name", "category", "target"}
_SPLIT_HEADINGS = {"split", "subset", "set", "partition"}
# In lower case; pandas and spreadsheets write True and TRUE.
_ONE_HOT = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}

Row = tuple[int, list[str]]


@dataclasses.dataclass
class Columns:
    """Attributes:
    file, label, split: numbers of columns, None for no such column.
    one_hot: names of classes by the numbers of their columns, instead of `label`.
    has_header: whether the first row names the columns.
    form: what is unusual about the columns, in words, for the user.
    """

    file: int = 0
    label: int | None = 1
    split: int | None = None
    one_hot: dict[int, str] = dataclasses.field(default_factory=dict)
    has_header: bool = False
    form: list[str] = dataclasses.field(default_factory=list)

    def label_of(self, path: str, line: int, cells: list[str]) -> str:
        """Return the label of a row.

        Raises:
            InputError: a one-hot row contains several classes.
        """
        if self.label is not None:
            return cells[self.label]
        names = [name for column, name in self.one_hot.items() if _ONE_HOT[cells[column].lower()]]
        if len(names) > 1:
            raise InputError(
                f"{path} line {line} has several classes ({some(names)}): a one-hot row contains a single 1"
            )
        return names[0] if names else ""


def find_columns(path: str, rows: Sequence[Row], is_image: Callable[[str], bool]) -> Columns:
    """Return the Columns of a CSV file, from the rows of `read_table`.

    Two columns may stand without a header: file name, then label. More columns need a header.

    Raises:
        InputError: the header is missing, or names no column of file names or labels, or several of labels.
    """
    if not rows:
        return Columns()
    first = rows[0][1]
    headings = {cell.lower() for cell in first}
    lacks_labels = "split" in headings and not headings.isdisjoint(_FILE_HEADINGS)
    return _of_two(rows, is_image) if len(first) == 2 and not lacks_labels else _of_more(path, rows, is_image)


def _of_two(rows, is_image):
    line, first = rows[0]
    headings = [cell.lower() for cell in first]
    is_reversed = (
        headings[1] in _FILE_HEADINGS and headings[0] not in _FILE_HEADINGS and not is_image(first[0])
    )
    if is_reversed and (headings[0] in _LABEL_HEADINGS or (len(rows) > 1 and is_image(rows[1][1][1]))):
        return Columns(1, 0, has_header=True, form=_words(first, 1, 0))
    name, label = first
    is_usual = headings[0] in _FILE_HEADINGS
    is_usual_header = is_usual and headings[1] in _LABEL_HEADINGS
    if (is_image(name) and not is_usual_header) or name.lower().endswith(EXTENSIONS):
        return Columns()
    if any(label == cells[1] for _, cells in rows[1:]):
        return Columns()
    if headings[1] in _LABEL_HEADINGS:
        return Columns(has_header=True)
    if "/" in name:
        return Columns()
    words = [] if is_usual else [f"line {line} is the header: {one_line(','.join(first), 100)}"]
    return Columns(has_header=True, form=words)


def _of_more(path, rows, is_image):
    line, first = rows[0]
    headings = [cell.lower() for cell in first]
    files = [headings.index(heading) for heading in _FILE_HEADINGS if heading in headings]
    if not files:
        raise InputError(
            f"{path} line {line} has {len(first)} columns, so it must be a header that names them, such as "
            f"filename,label,split. Received: {_named(first)}"
        )
    file = next((i for i in files if len(rows) > 1 and is_image(rows[1][1][i])), files[0])
    splits = [i for i, heading in enumerate(headings) if heading in _SPLIT_HEADINGS]
    split = splits[0] if splits else None
    labels = [i for i, heading in enumerate(headings) if heading in _LABEL_HEADINGS]
    rest = [i for i in range(len(first)) if i not in (*files, *splits) and first[i]]
    if len(labels) > 1:
        raise InputError(
            f"{path} has several columns of labels: {_named([first[i] for i in labels])}; keep one of them"
        )
    if not labels and len(rest) == 1:
        labels = rest
    if labels:
        return Columns(file, labels[0], split, {}, True, _words(first, file, labels[0], split))
    if len(rest) > 1 and all(cells[i].lower() in _ONE_HOT for _, cells in rows[1:] for i in rest):
        one_hot = {i: first[i] for i in rest}
        return Columns(file, None, split, one_hot, True, _words(first, file, None, split, one_hot))
    raise InputError(
        f"{path} has no column of labels: name it label, class or target, or give one column of 0 and 1 per class. "
        f"Received: columns {_named(first)}"
    )


def _words(headings, file, label, split=None, one_hot=()):
    words = [f"file names from {one_line(headings[file], 40)}"]
    if label is not None:
        words.append(f"labels from {one_line(headings[label], 40)}")
    else:
        words.append(f"one-hot labels from {_named([headings[i] for i in one_hot])}")
    if split is not None:
        words.append(f"splits from {one_line(headings[split], 40)}")
    used = {file, label, split, *one_hot}
    if unused := [heading for i, heading in enumerate(headings) if i not in used]:
        words.append(f"other columns: {_named(unused)}")
    return words


def _named(headings):
    return some([one_line(heading or "(without a name)", 40) for heading in headings], 8)
