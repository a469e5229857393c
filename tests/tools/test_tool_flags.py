"""Flags of the small commands: read, explained and refused."""

import os

import pytest

from simclr_keras.errors import InputError
from simclr_keras.tools import tool_flags
from simclr_keras.tools.tool_flags import Flag

GROUPS = {
    "What": {"model": Flag("A model.", required=True)},
    "How": {
        "top": Flag("How many.", int, 5),
        "map": Flag("Which.", default="pca", choices=("pca", "tsne")),
        "overwrite": Flag("Replace it.", bool, False),
        "seed": Flag("Of chance.", int, 0, least=0),
    },
}


def test_values_defaults_and_words():
    found, words = tool_flags.read(["x", "a.jpg", "--model=m", "--overwrite", "b", "--top=2"], GROUPS, "none")
    assert found == {"model": "m", "top": 2, "map": "pca", "overwrite": True, "seed": 0}
    assert words == ["a.jpg", "b"]


def test_help_tells_choices_and_defaults():
    text = tool_flags.help_text("Does it.", GROUPS)
    assert text.splitlines()[0] == "Does it."
    for line in ("A model.", "How many. [5]", "Which. Choices: pca, tsne. [pca]", "Replace it."):
        assert any(shown.endswith(f"  {line}") for shown in text.splitlines())
    assert text.index("What:") < text.index("--model") < text.index("How:") < text.index("--top")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a"], "--model is missing: a model."),
        (["a", "--model="], "--model is missing"),
        (["--model=m"], "no word"),
        (["a", "--model=m", "--top=0"], "--top=0 must be at least 1."),
        (["a", "--model=m", "--seed=-1"], "--seed=-1 must be at least 0."),
        (["a", "--model=m", "--top=many"], "--top"),
        (["a", "--model=m", "--map=umap"], "--map=umap must be one of pca, tsne."),
        (["a", "--modle=m"], "unknown flag --modle: did you mean --model?"),
    ],
)
def test_refusals(words, said):
    with pytest.raises(InputError) as found:
        tool_flags.read(["x", *words], GROUPS, "no word is given.")
    assert said in str(found.value)
    assert "\n" not in str(found.value)


def test_a_command_without_words_takes_none():
    with pytest.raises(InputError, match="unexpected word 'a'"):
        tool_flags.read(["x", "a", "--model=m"], GROUPS)


def test_files_that_may_be_written(tmp_path):
    tool_flags.check_file(str(tmp_path / "a.CSV"), (".csv", ".npz"), overwrite=False)
    (tmp_path / "b.csv").write_text("x")
    tool_flags.check_file(str(tmp_path / "b.csv"), (".csv",), overwrite=True)
    (tmp_path / "c.csv").mkdir()
    for path, said in (
        ("b.csv", "exists; give another name, or --overwrite"),
        ("a.txt", "must end in .csv"),
        ("c.csv", "is a folder; give a file"),
        ("no/a.csv", "there is no folder"),
    ):
        with pytest.raises(InputError, match=said):
            tool_flags.check_file(str(tmp_path / path), (".csv",), overwrite=path == "c.csv")


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root might
    with pytest.raises(InputError, match="may not be written to"):
        tool_flags.check_file(str(tmp_path / "a.csv"), (".csv",), overwrite=False)
