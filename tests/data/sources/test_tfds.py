"""TFDS names: in memory or streamed, the same images, labels and ids."""

import collections
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.errors import InputError

SHARDS = 5
MANY, FEW = 43, 9


def _image(number, varied):
    size = (4 + number % 3, 5, 3) if varied else (4, 5, 3)
    return np.random.default_rng(number).integers(0, 256, size, np.uint8)


def _label(number):
    return number % 3


class _Made(tfds.core.GeneratorBasedBuilder):
    """Images number 0 .. 42 for training and 100 .. 108 for evaluation, with a few other features."""

    VERSION = tfds.core.Version("1.0.0")
    MODULE_LEVEL_REGISTER = False
    SPLITS = {"train": (0, MANY), "test": (100, 100 + FEW)}  # noqa: RUF012
    VARIED = False
    HIDDEN = ()
    FILES = SHARDS

    def _info(self):
        shape = (None, None, 3) if self.VARIED else (4, 5, 3)
        features = {
            "image": tfds.features.Image(shape=shape, encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["ant", "bee", "cow"]),
            "number": np.int64,
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(name) for name in self.SPLITS}

    def _generate_examples(self, split):
        for number in range(*self.SPLITS[split]):
            label = -1 if split in self.HIDDEN else _label(number)
            yield number, {"image": _image(number, self.VARIED), "label": label, "number": number}


class MadeFixed(_Made):
    pass


class MadeVaried(_Made):
    VARIED = True


class MadeTrainOnly(_Made):
    SPLITS = {"train": (0, MANY)}  # noqa: RUF012


class MadeHiddenTest(_Made):
    FILES = 1
    SPLITS = {"train": (0, 6), "test": (100, 103), "validation": (200, 204)}  # noqa: RUF012
    HIDDEN = ("test",)


class MadeNoTrain(_Made):
    FILES = 1
    SPLITS = {"test": (0, 4)}  # noqa: RUF012


class MadeUnlabeled(_Made):
    def _info(self):
        features = {"image": tfds.features.Image(shape=(4, 5, 3))}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _generate_examples(self, split):
        for number in range(*self.SPLITS[split]):
            yield number, {"image": _image(number, False)}


class MadeTextOnly(_Made):
    FILES = 1

    def _info(self):
        features = {"text": tfds.features.Text()}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _generate_examples(self, split):
        yield 0, {"text": "no image"}


class MadeDeep(_Made):
    FILES = 1

    def _info(self):
        features = {"image": tfds.features.Image(shape=(4, 5, 3), dtype=np.uint16, encoding_format="png")}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _generate_examples(self, split):
        yield 0, {"image": _image(0, False).astype(np.uint16)}


class MadeFailing(_Made):
    def _generate_examples(self, split):
        raise OSError("the host\ndoes not answer")


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
    """Writes a builder's data, SHARDS files per split, and gives the folder to find it in."""
    root = tmp_path_factory.mktemp("tfds")
    done = set()

    def prepare(builder_class, **kwargs):
        if builder_class not in done:
            config = tfds.download.DownloadConfig(num_shards=builder_class.FILES)
            builder_class(data_dir=root, **kwargs).download_and_prepare(download_config=config)
            done.add(builder_class)
        return str(root)

    return prepare


def _numbers(source):
    """The number each image was made from, found by its pixels."""
    known = {_image(i, v).tobytes(): i for i in [*range(MANY), *range(100, 210)] for v in (True, False)}
    if source.indexed:
        images = tf.data.Dataset.range(source.num_examples).map(source.fetch).as_numpy_iterator()
    else:
        images = (x["image"] for x in source.stream(shuffle=False, repeat=False).as_numpy_iterator())
    return [known[(tf.io.decode_image(x).numpy() if isinstance(x, bytes) else x).tobytes()] for x in images]


def _records(source, count, **arguments):
    return [
        (int(x["id"]), x["image"], int(x["label"]))
        for x in source.stream(buffer_size=8, **arguments).take(count).as_numpy_iterator()
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("builder", "name", "memory_limit", "kind"),
    [
        (MadeFixed, "made_fixed", 2**31, "decoded"),
        (MadeFixed, "made_fixed", 0, "streamed"),
        (MadeVaried, "made_varied", 2**31, "encoded"),
        (MadeVaried, "made_varied", 0, "streamed"),
    ],
)
def test_every_way_of_holding_them_gives_the_same_examples(prepare, builder, name, memory_limit, kind):
    splits = load_dataset(name, data_dir=prepare(builder), memory_limit=memory_limit)
    for source, first, count in ((splits.train, 0, MANY), (splits.evaluation, 100, FEW)):
        assert source.indexed == (kind != "streamed")
        assert source.encoded == (kind != "decoded")
        assert (source.shape_in_memory is not None) == (kind == "decoded")
        numbers = _numbers(source)
        assert sorted(numbers) == list(range(first, first + count))
        labels = source.labels if source.indexed else source.read_contents().labels
        assert labels.tolist() == [_label(number) for number in numbers]
        assert labels.dtype == np.int32
        assert source.has_labels
    assert splits.class_names == splits.train.class_names == ("ant", "bee", "cow")
    assert (splits.train.ids[7], splits.evaluation.ids[7]) == ("train/7", "test/7")
    assert splits.held_out is None


@pytest.mark.slow
def test_an_id_names_the_same_image_streamed_or_in_memory(prepare):
    root = prepare(MadeVaried)
    indexed, streamed = (load_dataset("made_varied", data_dir=root, memory_limit=m).train for m in (2**31, 0))
    files = list(tf.data.Dataset.range(MANY).map(indexed.fetch).as_numpy_iterator())
    for row, image, label in _records(streamed, MANY, seed=4):
        assert image == files[row]
        assert label == indexed.labels[row]


def test_split_by_content_is_the_same_in_memory_and_streamed(prepare):
    arguments = {"data_dir": prepare(MadeTrainOnly), "labels_per_class": 2, "eval_fraction": 0.3}
    in_memory, streamed = (
        load_dataset("made_train_only", memory_limit=memory_limit, **arguments) for memory_limit in (2**31, 0)
    )
    assert in_memory.train.indexed
    assert not streamed.train.indexed
    assert in_memory.held_out == streamed.held_out == in_memory.evaluation.num_examples > 0
    assert sorted(_numbers(in_memory.train) + _numbers(in_memory.evaluation)) == list(range(MANY))
    for one, other in ((in_memory.train, streamed.train), (in_memory.evaluation, streamed.evaluation)):
        assert list(one.ids) == list(other.ids)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.fingerprint() == other.fingerprint()


def test_a_test_split_with_hidden_labels_is_not_evaluated_on(prepare):
    splits = load_dataset("made_hidden_test", data_dir=prepare(MadeHiddenTest))
    assert sorted(_numbers(splits.evaluation)) == [200, 201, 202, 203]
    assert splits.evaluation.ids[0] == "validation/0"


def test_images_without_labels(prepare):
    for memory_limit in (2**31, 0):
        splits = load_dataset("made_unlabeled", data_dir=prepare(MadeUnlabeled), memory_limit=memory_limit)
        assert splits.class_names is None
        assert splits.train.labels is None
        assert not splits.train.has_labels
        assert splits.train.num_examples == MANY


@pytest.mark.slow
def test_hidden_labels_of_a_stream_are_minus_one_and_its_images_stay(prepare):
    train = load_dataset(
        "made_varied", data_dir=prepare(MadeVaried), memory_limit=0, labels_per_class=2
    ).train
    assert train.num_examples == MANY
    labels = [label for _, _, label in _records(train, MANY, seed=1)]
    assert collections.Counter(labels) == {-1: MANY - 6, 0: 2, 1: 2, 2: 2}
    labeled = train.labeled()
    assert labeled.num_examples == 6
    assert (
        sorted(_label(number) for number in _numbers(labeled)) == sorted(labeled.labels) == [0, 0, 1, 1, 2, 2]
    )


@pytest.mark.parametrize(
    ("builder", "name", "message"),
    [
        (MadeTextOnly, "made_text_only", "no image in its examples.*text"),
        (MadeNoTrain, "made_no_train", "no split train.*test"),
        (MadeDeep, "made_deep", "uint8 images.*uint16"),
    ],
)
def test_datasets_that_will_not_do_are_refused_in_one_line(prepare, builder, name, message):
    with pytest.raises(InputError, match=message) as raised:
        load_dataset(name, data_dir=prepare(builder))
    assert "\n" not in str(raised.value)


def test_a_dataset_that_cannot_be_prepared_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.builder", lambda name, data_dir: MadeFailing(data_dir=data_dir))
    with pytest.raises(
        InputError, match=r"Cannot download and prepare made_failing.*does not answer"
    ) as raised:
        load_dataset("made_failing", data_dir=str(tmp_path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar11", "Unknown dataset 'cifar11'.*similar names: cifar10"),
        ("no_such_thing_at_all", "digits, npz:PATH, folder:PATH or a TFDS name"),
        ("imagenet2012_subset/2pct", "Cannot open the TFDS dataset imagenet2012_subset/2pct"),
        ("huggingface:mnist", "Unknown kind of dataset 'huggingface'"),
    ],
)
def test_unknown_names_are_refused_in_one_line(tmp_path, name, message):
    with pytest.raises(InputError, match=message) as raised:
        load_dataset(name, data_dir=str(tmp_path))
    assert "\n" not in str(raised.value)


def test_a_folder_given_without_its_prefix_is_pointed_out(tmp_path):
    with pytest.raises(InputError, match="write folder:"):
        load_dataset(str(tmp_path))


def test_other_file_formats_are_refused(prepare, monkeypatch):
    root = prepare(MadeFixed)
    array_record = property(lambda self: tfds.core.FileFormat.ARRAY_RECORD)
    monkeypatch.setattr(tfds.core.DatasetInfo, "file_format", array_record)
    with pytest.raises(InputError, match=r"stored as tfrecord.*Received: array_record"):
        load_dataset("made_fixed", data_dir=root)


def test_tensorflow_datasets_is_imported_only_when_used():
    package = pathlib.Path(load_dataset.__code__.co_filename).parents[2]
    files = list(package.rglob("*.py"))
    assert len(files) > 100
    assert not [f for f in files if re.search("^(import|from) tensorflow_datasets", f.read_text(), re.M)]
