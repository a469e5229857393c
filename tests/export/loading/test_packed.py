"""A SavedModel goes into a text and comes out of it, and nothing else does."""

import base64
import io
import pathlib
import zipfile

import pytest

from simclr_keras.errors import InputError
from simclr_keras.export.loading import packed
from simclr_keras.export.loading.packed import holds, pack, unpack


def text_of(files):
    """What `pack` might have made of {name: bytes}."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return base64.b64encode(buffer.getvalue()).decode()


def test_graph_and_assets_come_back_as_they_were(exported, network):
    text = pack(exported, len(network.variables))
    folder, has_values = unpack(text)
    assert not has_values  # whoever carries it keeps them
    for name in ("saved_model.pb", "assets/class_names.txt"):
        assert pathlib.Path(folder.name, name).read_bytes() == pathlib.Path(exported, name).read_bytes()
    assert holds(exported, text)


def test_values_that_the_layer_does_not_keep_go_along(exported, network):
    _, has_values = unpack(pack(exported, len(network.variables) - 1))
    assert has_values


@pytest.mark.parametrize(
    "name", ["../out", "assets/../../out", "/out", "other/file", "assets//file", "assets\\..\\out", "c:out"]
)
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(InputError, match="is damaged"):
        unpack(text_of({"saved_model.pb": b"x", name: b"mine"}))


def odd(at, value):
    """A text whose archive says something else at this byte of its directory entry."""
    data = bytearray(base64.b64decode(text_of({"saved_model.pb": b"x"})))
    data[data.index(b"PK\x01\x02") + at] = value
    return base64.b64encode(bytes(data)).decode()


LONG = text_of({"assets/" + "x" * 300: b"x"})


@pytest.mark.parametrize("text", ["", "no base64!", "AAAA", None, odd(10, 99), odd(8, 1), LONG])
def test_a_damaged_text_is_refused(text):
    with pytest.raises(InputError, match="is damaged"):
        unpack(text)


@pytest.mark.parametrize("text", ["", "no base64!", odd(10, 99), odd(8, 1)])
def test_a_damaged_text_is_in_no_folder(text, exported):
    assert not holds(exported, text)


def test_a_text_that_would_fill_the_disk_is_refused(monkeypatch):
    monkeypatch.setattr(packed, "MOST_BYTES", 10)
    with pytest.raises(InputError, match="unpacks to more than"):
        unpack(text_of({"saved_model.pb": b"x" * 11}))


def test_another_graph_is_not_the_same(tmp_path, exported, network):
    (tmp_path / "saved_model.pb").write_bytes(b"another")
    assert not holds(str(tmp_path), pack(exported, len(network.variables)))
    assert not holds(str(tmp_path / "nothing"), pack(exported, len(network.variables)))
