"""Published files by name: downloaded once, resumed, checked, and refused in one line."""

import concurrent.futures
import json
import pathlib
import sys

import pytest

from simclr_keras.errors import InputError
from simclr_keras.interop.fetching import cache, download
from simclr_keras.interop.fetching.addresses import NAMES, cache_folder, published_name, repository
from simclr_keras.interop.fetching.cache import fetch_published
from simclr_keras.interop.fetching.hugging_face import fetch_repository
from tests.interop.fetching.bucket import serve

NAME = "pretrained/r50_1x_sk0"
FILES = {
    "saved_model.pb": b"graph" * 400,
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": bytes(range(256)) * 40,
}


def write_release(folder, name=NAME, files=FILES):
    for file, content in files.items():
        path = folder / name / "saved_model" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def contents(folder):
    return {file: (pathlib.Path(folder) / file).read_bytes() for file in FILES}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """An empty cache, and no waiting between attempts."""
    monkeypatch.setenv("SIMCLR_KERAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "WAIT", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """The Log of a bucket with one network, which SIMCLR_KERAS_MIRROR names."""
    with serve(write_release(tmp_path / "bucket")) as (address, log):
        monkeypatch.setenv("SIMCLR_KERAS_MIRROR", address)
        yield log


def refusal(name=NAME):
    with pytest.raises(InputError) as raised:
        fetch_published(name)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_downloaded_once(tmp_path, monkeypatch, own_cache):
    with serve(write_release(tmp_path / "bucket")) as (address, log):
        monkeypatch.setenv("SIMCLR_KERAS_MIRROR", address)
        folder = fetch_published(NAME)
        assert folder == str(own_cache / NAME / "saved_model")
        assert {path for path, _ in log.requests} == {f"/{NAME}/saved_model/{file}" for file in FILES}
    assert contents(fetch_published(NAME)) == FILES  # the server is off


def test_resumed_at_every_tenth(bucket):
    bucket.cut_at_tenths = True
    assert contents(fetch_published(NAME)) == FILES
    size = len(FILES["variables/variables.data-00000-of-00001"])
    starts = [first for path, first in bucket.requests if path.endswith("-of-00001")]
    assert starts == [size // 10 * tenth for tenth in range(10)]


def test_resumed_by_the_next_call(bucket, monkeypatch):
    bucket.cut_at_tenths = True
    with monkeypatch.context() as patch:
        patch.setattr(download, "ATTEMPTS", 0)  # the first interruption is the last
        assert "200 bytes are kept and the same command continues" in refusal()
    bucket.cut_at_tenths = False
    assert contents(fetch_published(NAME)) == FILES
    assert bucket.requests[1] == (f"/{NAME}/saved_model/saved_model.pb", 200)


def test_flipped_byte_on_the_way_is_refused(bucket, own_cache):
    bucket.flipped = "variables.index"
    assert "variables/variables.index arrived damaged" in refusal()
    bucket.flipped = None
    assert contents(fetch_published(NAME)) == FILES
    assert not list(own_cache.rglob("*.partial"))


def test_flipped_byte_in_the_cache_is_refused(bucket):
    path = pathlib.Path(fetch_published(NAME)) / "variables/variables.data-00000-of-00001"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert f"{path} is damaged" in refusal()
    path.unlink()
    assert f"{path} is missing" in refusal()


def test_table_of_digests(bucket, tmp_path, monkeypatch):
    table = tmp_path / "digests.json"
    monkeypatch.setattr(cache, "TABLE", table)
    cache._table.cache_clear()
    cache.add_to_table(NAME)
    assert json.loads(table.read_text())[NAME].keys() == FILES.keys()
    monkeypatch.setenv("SIMCLR_KERAS_MIRROR", str(bucket.folder))
    assert contents(fetch_published(NAME)) == FILES
    other = bucket.folder / NAME / "saved_model/variables/variables.index"
    other.write_bytes(b"Index")
    assert f"{other} is damaged" in refusal()
    monkeypatch.undo()
    cache._table.cache_clear()


def test_mirror_may_be_a_folder(tmp_path, monkeypatch, own_cache):
    folder = write_release(tmp_path / "bucket")
    monkeypatch.setenv("SIMCLR_KERAS_MIRROR", str(folder))
    assert fetch_published(NAME) == str(folder / NAME / "saved_model")
    assert not own_cache.exists()
    assert f"SIMCLR_KERAS_MIRROR={folder} has no supervised/r50_1x_sk0" in refusal("supervised/r50_1x_sk0")


def test_several_files_of_arrays(tmp_path, monkeypatch):
    files = {f"variables/variables.data-0000{i}-of-00003": b"abc" for i in range(3)}
    files |= {file: FILES[file] for file in ("saved_model.pb", "variables/variables.index")}
    with serve(write_release(tmp_path / "bucket", files=files)) as (address, _):
        monkeypatch.setenv("SIMCLR_KERAS_MIRROR", address)
        folder = pathlib.Path(fetch_published(NAME))
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == files.keys()


def test_two_processes_download_once(bucket):
    bucket.served.clear()  # answers stay open until both have asked
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = [pool.submit(fetch_published, NAME) for _ in range(2)]
        while not bucket.requests:
            pass
        bucket.served.set()
        assert both[0].result() == both[1].result()
    assert len(bucket.requests) == len(FILES)


def test_no_network(monkeypatch, own_cache):
    with serve(pathlib.Path("nowhere")) as (address, _):
        pass  # nobody listens there now
    monkeypatch.setenv("SIMCLR_KERAS_MIRROR", address)
    message = refusal()
    assert f"{address}/{NAME}/saved_model/saved_model.pb cannot be downloaded" in message
    assert f"copy the file to {own_cache / NAME / 'saved_model' / 'saved_model.pb'}" in message


def test_file_that_is_not_published(bucket):
    assert "does not exist or is not public (403)" in refusal("distill_1pct/r101_1x_sk0")


def test_unwritable_cache(bucket, own_cache, monkeypatch):
    own_cache.write_text("a file")  # not chmod: root may write everything
    assert f"the cache {own_cache / NAME} cannot be written" in refusal()
    monkeypatch.delenv("SIMCLR_KERAS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == "/xdg/simclr_keras/published"


def test_names():
    assert len(NAMES) == 91
    assert published_name("published:r50_1x_sk0") == NAME
    assert published_name("published:finetuned_1pct/r50_2x_sk1") == "finetuned_1pct/r50_2x_sk1"
    for name, words in [
        ("r50_1x_sk3", "did you mean r50_1x_sk"),
        ("finetuned_1%/r50_2x_sk1", "did you mean finetuned_1"),
        ("bert", "give a name such as pretrained/r50_1x_sk0"),
        ("", "give a name such as"),
    ]:
        with pytest.raises(InputError, match=words):
            published_name(f"published:{name}", "--init")


def test_hugging_face(monkeypatch, tmp_path):
    assert repository("hf://user/repo@v1") == ("user/repo", "v1")
    for address in ("hf://repo", "hf://user/repo/file", "hf://user/repo@"):
        with pytest.raises(InputError, match="give hf://USER/REPO"):
            repository(address)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="huggingface_hub is missing"):
        fetch_repository("hf://user/repo", "--init")
