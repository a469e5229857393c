"""folder:PATH with labels.csv: names or numbers, and rows that must fit the images one to one."""

import csv
import io

import pytest

from simclr_keras.errors import InputError
from tests.data.pictures import flat, load, png


def _csv(root, text, count=3):
    flat(root, count)
    path = root / "labels.csv"
    path.write_text(text)
    return {"folder": root, "labels": str(path)}


def _labels(splits):
    """Of every image by its id."""
    return dict(zip(splits.train.ids, splits.train.labels.tolist()))


def test_csv_names_with_a_header(tmp_path):
    splits = load(**_csv(tmp_path, "filename,label\n2.png,dog\n0.png,cat\n\n1.png,dog\n"))
    assert splits.class_names == ("cat", "dog")
    assert _labels(splits) == {"0.png": 0, "1.png": 1, "2.png": 1}


def test_csv_integers_without_a_header_and_empty_labels(tmp_path):
    text = "\ufeff./0.png, 2\r\n1.png,\r\n2.png,0\r\n3.png,2\r\n"
    splits = load(**_csv(tmp_path, text, 4))
    assert splits.class_names == ("0", "1", "2")
    assert _labels(splits) == {"0.png": 2, "1.png": -1, "2.png": 0, "3.png": 2}


def test_csv_with_a_header_or_without(tmp_path):
    """A first row is data if it names an image, or has the label of another row."""
    expected = {"0.png": 0, "1.png": 1, "2.png": 0}
    rows = "0,a\n1.png,b\n2,a\n"
    offenders = [
        text
        for text in (
            rows,
            f"id,breed\n{rows}",
            f"Datei,Klasse\n{rows}",
            f"image,label\n{rows}",
            rows.replace("\n", "\r"),
        )
        if _labels(load(**_csv(tmp_path, text))) != expected
    ]
    assert not offenders
    assert load(**_csv(tmp_path, "0,class\n1,b\n2,b\n")).class_names == ("b", "class")
    bare = "file names without extension"
    for header, form in (
        ("id,breed", bare),
        ("Datei,Klasse", f"line 1 is the header: Datei,Klasse; {bare}"),
        ("images/id,label", bare),
    ):
        notes = load(**_csv(tmp_path, f"{header}\n{rows}")).notes
        assert f"{tmp_path / 'labels.csv'} is read as: {form}" in notes


FORMS = {  # separator, columns of file names, labels and splits, and the notes
    ",": ("image,label\nx/0.png,cat\nx/1.png,dog\nx/2.png,cat\n", "image", "label", None),
    ";": (
        "class;path\ncat;x/0.png\ndog;x/1.png\ncat;x/2.png\n",
        "path",
        "class",
        "separated by semicolons; file names from path; labels from class",
    ),
    "\t": (
        "target\tfile\ncat, black\tx/0.png\ndog\tx/1.png\ndog\tx/2.png\n",
        "file",
        "target",
        "separated by tabs; file names from file; labels from target",
    ),
    "; ": (
        '\ufeff;width;filename;label\n0;9;x/0.png;"a;b"\n1;9;x/1.png;b\n2;9;x/2.png;b\n',
        "filename",
        "label",
        "separated by semicolons; file names from filename; labels from label; other columns: (without a name), width",
    ),
    ", ": (
        "id,image_path,breed\n10,x/0.png,pug\n11,x/1.png,husky\n12,x/2.png,husky\n",
        "image_path",
        "breed",
        "file names from image_path; labels from breed; other columns: id",
    ),
    ",,": (
        "breed,image_id\npug,x/0.png\nhusky,x/1.png\nhusky,x/2.png\n",
        "image_id",
        "breed",
        "file names from image_id; labels from breed",
    ),
}


def test_named_columns_equal_the_csv_modules(tmp_path):
    for i in range(3):
        png(tmp_path / "photos" / "x" / f"{i}.png", i)
    path = tmp_path / "labels.csv"
    for separator, (text, file, label, form) in FORMS.items():
        path.write_text(text, encoding="utf-8")
        splits = load(tmp_path / "photos", labels=str(path))
        rows = csv.DictReader(io.StringIO(text.lstrip("\ufeff")), delimiter=separator[0])
        expected = {row[file]: row[label] for row in rows}
        names = {name: splits.class_names[value] for name, value in _labels(splits).items()}
        assert names == expected, text
        assert splits.notes == (() if form is None else (f"{path} is read as: {form}",)), text


def test_names_with_the_folder_in_front_or_without_extension(tmp_path):
    for name in ("x/0.png", "x/1.png", "photos/2.png"):
        png(tmp_path / "photos" / name)
    path, photos = tmp_path / "labels.csv", tmp_path / "photos"
    expected = {"x/0.png": 0, "x/1.png": 1, "photos/2.png": 1}
    front, bare = "file names with photos/ in front", "file names without extension"
    for names, words in (
        (("photos/x/0.png", "photos/x/1.png", "photos/photos/2.png"), front),
        (("data/photos/x/0.png", "./photos/x/1.png", "photos/2.png"), front),
        (("C:\\photos\\x\\0.png", f"{photos}/x/1.png", "photos/2.png"), front),
        (("x/0", "x/1", "photos/2"), bare),
        (("photos/x/0", "x/1.png", "photos/2.png"), bare),
    ):
        path.write_text("".join(f"{name},{label}\n" for name, label in zip(names, "abb")))
        splits = load(photos, labels=str(path))
        assert _labels(splits) == expected, names
        assert splits.notes == (f"{path} is read as: {words}",)


def test_names_in_another_case(tmp_path):
    for i, name in enumerate(("Cat/A.PNG", "cat/b.png", "cat/B.PNG")):
        png(tmp_path / "photos" / name, i)
    path, photos = tmp_path / "labels.csv", tmp_path / "photos"
    path.write_text("cat/a.png,x\ncat/b.png,y\ncat/B.PNG,x\n")
    splits = load(photos, labels=str(path))
    assert _labels(splits) == {"Cat/A.PNG": 0, "cat/b.png": 1, "cat/B.PNG": 0}
    assert splits.notes == (f"{path} is read as: file names in another case",)
    path.write_text("cat/a.png,x\nCAT/B.png,y\n")
    with pytest.raises(InputError, match=r"line 2: CAT/B.png is the name of several images.*in its case"):
        load(photos, labels=str(path))


def test_a_first_line_that_names_the_separator(tmp_path):
    plain = "filename;label\n0.png;a,b\n1.png;c\n"
    expected = _labels(load(**_csv(tmp_path, plain, 2)))
    for first in ("sep=;\n", '"sep=;"\r\n', "\ufeffSEP=;\n"):
        splits = load(**_csv(tmp_path, first + plain, 2))
        assert (_labels(splits), splits.class_names) == (expected, ("a,b", "c"))


def test_empty_columns_at_the_end_are_left_out(tmp_path):
    expected = {"0.png": 0, "1.png": 1, "2.png": -1}
    for text in (
        "0.png,a,\n1.png,b,\n2.png,,\n",
        "filename,label\n0.png,a,\n1.png,b,,\n2.png,\n",
        "filename,label,,\n0.png,a,,\n1.png,b,,\n2.png,,,\n",
    ):
        splits = load(**_csv(tmp_path, text, 3))
        assert _labels(splits) == expected, text
        assert not any("is read as" in note for note in splits.notes), text


def test_one_hot_columns(tmp_path):
    text = "image,split,cat,dog\n0,train,1,0\n1,train,0.0,1.0\n2,train,False,FALSE\n3,train,True,0\n"
    splits = load(**_csv(tmp_path, text, 4))
    assert splits.class_names == ("cat", "dog")
    assert _labels(splits) == {"0.png": 0, "1.png": 1, "2.png": -1, "3.png": 0}
    form = next(note for note in splits.notes if "is read as" in note).partition("is read as: ")[2]
    expected = (
        "file names from image; one-hot labels from cat, dog; splits from split; file names without extension"
    )
    assert form == expected


def test_split_column(tmp_path):
    rows = ("0,a,train", "1,b,Training", "2,,test", "3,a,val", "4,b,val", "5,b,test")
    text = "filename,label,split\n" + "".join(f"{row}\n" for row in rows)
    splits = load(**_csv(tmp_path, text, 7))
    assert _labels(splits) == {"0.png": 0, "1.png": 1, "6.png": -1}, "6.png has no row"
    assert dict(zip(splits.evaluation.ids, splits.evaluation.labels)) == {"3.png": 0, "4.png": 1}
    assert "evaluating on the split val; images of other splits are not used: test" in splits.notes
    (tmp_path / "labels.csv").write_text(text.replace("val", "train").replace("test", "train"))
    splits = load(tmp_path, labels=str(tmp_path / "labels.csv"))
    assert (splits.evaluation, splits.train.num_examples) == (None, 7)


def test_unused_images(tmp_path):
    text = "filename,label,split\n0,a,train\n1,b,train\n2,a,Unused\n3,b,unused\n4,a,test\n"
    splits = load(**_csv(tmp_path, text, 6))
    assert _labels(splits) == {"0.png": 0, "1.png": 1, "5.png": -1}
    assert list(splits.evaluation.ids) == ["4.png"]
    assert "2 images of the split unused are not used" in splits.notes
    (tmp_path / "labels.csv").write_text(text.replace("test", "unused"))
    splits = load(tmp_path, labels=str(tmp_path / "labels.csv"))
    assert (splits.evaluation, splits.train.num_examples) == (None, 3)
    (tmp_path / "labels.csv").write_text(
        "".join(["filename,label,split\n", *(f"{i},a,unused\n" for i in range(6))])
    )
    with pytest.raises(InputError, match="all images have the split unused: give the training images"):
        load(tmp_path, labels=str(tmp_path / "labels.csv"))


def test_csv_names_in_another_form(tmp_path):
    for name in ("cafe\u0301.png", "b.jfif", "c.v2.png", "image.png"):
        png(tmp_path / name)
    text = "image,label\ncaf\u00e9,\u00e9\nb.jfif,e\u0301\nc.v2,\u00e9\nimage,x\n"
    splits = load(**_csv(tmp_path, text, 0))
    assert splits.class_names == ("e\u0301", "x")
    assert _labels(splits) == {"b.jfif": 0, "c.v2.png": 0, "cafe\u0301.png": 0, "image.png": 1}
    png(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"line 3: b is the name of several images.*the extension too"):
        load(**_csv(tmp_path, "image,label\nimage,x\nb,y\n", 0))


def test_minus_one_is_no_label(tmp_path):
    for text in ("0.png,0\n1.png,-1\n2.png,1\n", "0.png,a\n1.png,-1.0\n2.png,b\n"):
        splits = load(**_csv(tmp_path, text))
        assert _labels(splits) == {"0.png": 0, "1.png": -1, "2.png": 1}
        assert any("2 of 3 images are labeled" in note for note in splits.notes)


def test_csv_over_split_folders_keeps_the_splits(tmp_path):
    for name in ("Train/0", "Train/1", "valid/0", "valid/1", "more/0"):
        png(tmp_path / f"{name}.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("Train/0,a\nTrain/1,b\nvalid/0,b\n")
    splits = load(tmp_path, labels=str(labels))
    assert _labels(splits) == {"Train/0.png": 0, "Train/1.png": 1}
    assert dict(zip(splits.evaluation.ids, splits.evaluation.labels)) == {"valid/0.png": 1}
    assert any("evaluating on valid/; other folders" in note and "more/" in note for note in splits.notes)
    labels.write_text("Train/0,a\nTrain/1,b\n")
    assert load(tmp_path, labels=str(labels)).train.num_examples == 5, "valid/ has no labels: it is no split"


def test_csv_reaches_into_sub_folders(tmp_path):
    png(tmp_path / "x" / "0.png")
    png(tmp_path / "y" / "0.png")
    png(tmp_path / "y" / "1.png")
    (tmp_path / "labels.csv").write_text("x/0.png,b\ny/0.png,a\ny\\1.png,a\n")
    splits = load(tmp_path, labels=str(tmp_path / "labels.csv"))
    assert splits.class_names == ("a", "b")
    assert _labels(splits) == {"x/0.png": 1, "y/0.png": 0, "y/1.png": 0}


def test_images_without_a_row_are_unlabeled_and_counted(tmp_path):
    splits = load(**_csv(tmp_path, "0.png,a\n1.png,b\n"))
    assert dict(zip(splits.train.ids, splits.train.labels)) == {"0.png": 0, "1.png": 1, "2.png": -1}
    assert any("2 of 3 images are labeled" in note for note in splits.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.png,a\n1.png,b\n2.png,b\n3.png,a\n", r"line 4: there is no image 3\.png"),
        ("0.png,a\n1.png,b\n2.png,b\n0.png,b\n", r"line 4: duplicate row of 0\.png"),
        (
            "0.png,a,b\n1.png,b,b\n2.png,b,b\n",
            r"line 1 has 3 columns, so it must be a header.*Received: 0\.png, a, b",
        ),
        ("0.png\n1.png\n2.png\n", "line 1 must have two columns or more.*Received: 1 column$"),
        ("0.png,a\n1.png,b,c\n", "line 2 must have as many columns as the first row, 2.*Received: 3 columns"),
        ("sep=|\n0.png|a\n", r"line 1 names the separator '\|'; save the file with commas, semicolons"),
        ("image,label,class\n0,a,b\n1,b,b\n", "several columns of labels: label, class; keep one"),
        ("image,w,h\n0,10,20\n1,10,20\n", "no column of labels: name it label.*columns image, w, h"),
        ("image,split\n0,train\n1,val\n", "no column of labels: .*columns image, split"),
        ("image,cat,dog\n0,1,1\n1,0,1\n", r"line 2 has several classes \(cat, dog\)"),
        ("image,label,split\n0,a,train\n1,b,fold1\n", "line 3: a split is train, val, test.*Received: fold1"),
        ("image,label,split\n0,a,val\n1,b,val\n2,b,test\n", "no image has the split train"),
        ("0.png,\n1.png,\n2.png,\n", "labels no image"),
        ("0.png,0\n1.png,-2\n2.png,1\n", "from 0; -1 stands for no label.*label -2"),
        ("0.png,-1\n", "labels no image"),
        ("9,a\n1,a\n2,b\n", "line 1: there is no image 9 in"),
        ("cat/9,cat\n1,a\n2,b\n", "line 1: there is no image cat/9 in"),
        ("0,-1\n1,1\n2,-1\n", "labels are -1 and 1, but -1 stands for no label: use 0 and 1, or leave"),
        ("0,-1\n1,+1\n2,\n", "labels are -1 and 1, but"),
        ("0.png,0\n1.png,1\n2.png,70000\n", "class numbers.*label 70000"),
        ("", "labels no image"),
        ("0.png,a\n1.png,b\0\n", "line 2 is not UTF-8 text"),
        ('0.png,"a\n1.png,b\n2.png,c\n', "label is one line.*quotation mark.*a 1.png,b 2.png,c"),
        ("0.png," + "x" * 501, "label is one line of up to 500"),
        ("0.png," + "9" * 5000, "label is one line of up to 500"),
        ("0.png," + "x" * 200_000, "line 1 cannot be read: field larger"),
        ("x" * 9000 + ".png,a\n", r"there is no image x{97}\.\.\. in"),
        ('"new\nline.png",a\n', r"there is no image new line\.png"),
    ],
)
def test_csv_rows_must_be_of_images_and_of_each_once(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as raised:
        load(**_csv(tmp_path, text))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no labels file"),
        (b"\xff\xfe\x00", "line 1 is not UTF-8 text; save the file as CSV in UTF-8"),
        ("0.png,a\n".encode("utf-16-le"), "line 1 is not UTF-8"),
        (
            "0.png,cat\n1.png,\u00e9l\u00e9phant\n".encode("latin-1"),
            "line 2 is not UTF-8 text; save the file",
        ),
    ],
)
def test_a_csv_that_cannot_be_read(tmp_path, content, message):
    flat(tmp_path, 2)
    path = tmp_path / "labels.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        load(tmp_path, labels=str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("odd", ["1_0", "+1", "\u0663", "1.0", "--1"])
def test_only_plain_digits_are_class_numbers(tmp_path, odd):
    splits = load(**_csv(tmp_path, f"0.png,1\n1.png,{odd}\n2.png,{odd}\n"))
    assert splits.class_names == tuple(sorted(["1", odd]))


def test_a_class_number_of_any_length_is_one_line(tmp_path):
    with pytest.raises(InputError, match="fewer than there are images"):
        load(**_csv(tmp_path, f"0.png,1\n1.png,{'9' * 40}\n"))
