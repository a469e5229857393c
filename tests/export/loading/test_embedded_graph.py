"""The graph of a SavedModel is packed into a text and unpacked, and nothing else."""

import base64
import io
import pathlib
import zipfile

import pytest

from simclr_keras.errors import InputError
from simclr_keras.export.loading import embedded_graph
from simclr_keras.export.loading.embedded_graph import has_graph, pack, unpack


def text_of(files):
    """Return a text as of `pack`, with these files."""
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
    assert has_graph(exported, text)


def test_values_that_the_layer_does_not_keep_go_along(exported, network):
    _, has_values = unpack(pack(exported, len(network.variables) - 1))
    assert has_values


def test_names_outside_the_folder_are_refused():
    names = ["../out", "assets/../../out", "/out", "other/file", "assets//file", "assets\\..\\out", "c:out"]
    for name in names:
        with pytest.raises(InputError, match="is damaged"):
            unpack(text_of({"saved_model.pb": b"x", name: b"mine"}))


def odd(at, value):
    """Return a text whose archive has another value at this byte of its directory entry."""
    data = bytearray(base64.b64decode(text_of({"saved_model.pb": b"x"})))
    data[data.index(b"PK\x01\x02") + at] = value
    return base64.b64encode(bytes(data)).decode()


LONG = text_of({"assets/" + "x" * 300: b"x"})


def test_damaged_texts_are_refused(exported):
    for text in ("", "no base64!", "AAAA", None, odd(10, 99), odd(8, 1), LONG):
        with pytest.raises(InputError, match="is damaged"):
            unpack(text)
        assert not has_graph(exported, text)


def test_a_text_that_would_fill_the_disk_is_refused(monkeypatch):
    monkeypatch.setattr(embedded_graph, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="unpacks to more than"):
        unpack(text_of({"saved_model.pb": b"x" * 11}))


def test_another_graph_is_not_the_same(tmp_path, exported, network):
    (tmp_path / "saved_model.pb").write_bytes(b"another")
    assert not has_graph(str(tmp_path), pack(exported, len(network.variables)))
    assert not has_graph(str(tmp_path / "nothing"), pack(exported, len(network.variables)))
