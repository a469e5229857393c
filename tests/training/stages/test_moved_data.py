"""Data that lies elsewhere than when an earlier run learned from it, as after a copy to another machine."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import InputError
from tests.training.tiny import GROUPED, change, configure, make_config, run, split_of, write_npz

pytestmark = pytest.mark.slow  # together, as each goes through runs of its own


def evaluate(finetuned, dataset, model_dir):
    """(split.json, lines said) of evaluating the fine-tuned run on a dataset."""
    config = configure("eval", model_dir, init=str(finetuned.folder), dataset=dataset)
    found = run(config)
    return split_of(found.folder), [line for line in found.lines if "of an earlier run, moved" in line]


def test_the_same_images_are_evaluated_on_those_that_were_held_out(tiny, finetuned, stripes, tmp_path):
    shutil.copy(stripes.removeprefix("npz:"), tmp_path / "moved.npz")
    split, said = evaluate(finetuned, f"npz:{tmp_path}/moved.npz", tmp_path / "run")
    assert split["held_out"] == split_of(finetuned.folder)["held_out"]
    assert said == [
        f"data     npz:{tmp_path}/moved.npz has the images of an earlier run, moved: using its held-out split and "
        "labels"
    ]


def test_other_images_of_the_same_names_are_other_data(tiny, finetuned, stripes, tmp_path):
    arrays = dict(np.load(stripes.removeprefix("npz:")))
    arrays["x_train"] = arrays["x_train"] ^ 1
    np.savez(tmp_path / "other.npz", **arrays)
    split, said = evaluate(finetuned, f"npz:{tmp_path}/other.npz", tmp_path / "run")
    assert split["held_out"] != split_of(finetuned.folder)["held_out"]
    assert not said


def test_a_split_of_their_own_is_kept_to(tiny, finetuned, data, tmp_path):
    split, said = evaluate(finetuned, data, tmp_path / "run")
    assert (split["held_out"], split["evaluation_images"], said) == ([], 12, [])


def test_runs_that_are_gone_are_not_asked_where_the_data_is_that_of_a_later_one(
    tiny, finetuned, stripes, tmp_path
):
    shutil.copytree(finetuned.folder, tmp_path / "finetuned")
    gone = [{**entry, "run": str(tmp_path / "gone")} for entry in finetuned.result["ancestors"]]
    change(tmp_path / "finetuned", "result.json", ancestors=gone)
    moved = dataclasses.replace(finetuned, folder=tmp_path / "finetuned")
    shutil.copy(stripes.removeprefix("npz:"), tmp_path / "moved.npz")
    split, said = evaluate(moved, f"npz:{tmp_path}/moved.npz", tmp_path / "run")
    assert split["held_out"] == split_of(finetuned.folder)["held_out"]
    assert said
    change(tmp_path / "finetuned", "split.json", contents="other")
    with pytest.raises(InputError, match=r"is missing, so it is unknown .*; restore it"):
        evaluate(moved, f"npz:{tmp_path}/moved.npz", tmp_path / "again")


def test_runs_from_before_contents_were_written_down_know_data_by_its_place(
    tiny, finetuned, stripes, tmp_path
):
    shutil.copytree(finetuned.folder, tmp_path / "finetuned")
    split = split_of(tmp_path / "finetuned")
    del split["contents"]
    (tmp_path / "finetuned" / "split.json").write_text(json.dumps(split))
    old = dataclasses.replace(finetuned, folder=tmp_path / "finetuned")
    found, said = evaluate(old, stripes, tmp_path / "run")
    assert found["held_out"] == split["held_out"]
    assert not said


def test_a_student_is_judged_by_what_its_teacher_held_out(tiny, finetuned, stripes, tmp_path):
    shutil.copy(stripes.removeprefix("npz:"), tmp_path / "moved.npz")
    settings = {"dataset": f"npz:{tmp_path}/moved.npz", "epochs": 1, "seed": 20, "alpha": 0.5}
    found = run(configure("distill", tmp_path / "run", teacher=str(finetuned.folder), **settings))
    split, before = split_of(found.folder), split_of(finetuned.folder)
    assert (split["held_out"], split["labeled"]) == (before["held_out"], before["labeled"])
    assert any("using its held-out split and labels" in line for line in found.lines)
    assert found.result["labels_used"] == 12


def test_a_run_on_the_images_without_their_labels_hides_nothing(tiny, finetuned, stripes, tmp_path):
    bare = "npz:" + write_npz(tmp_path / "moved.npz", labels=False, test=0)
    config = configure("distill", tmp_path / "run", teacher=str(finetuned.folder), dataset=bare, epochs=1)
    student = run(config)
    assert split_of(student.folder)["held_out"] == []
    assert not any("of an earlier run, moved" in line for line in student.lines)
    shutil.copy(stripes.removeprefix("npz:"), tmp_path / "moved.npz")  # the labels have come
    split, said = evaluate(student, bare, tmp_path / "eval")
    assert split["held_out"] == split_of(finetuned.folder)["held_out"]
    assert said


def test_labels_learned_in_another_place_count(tiny, stripes, tmp_path):
    settings = {"model": GROUPED, "dataset": stripes, "eval_fraction": 0.3, "epochs": 1}
    first = run(configure("supervised", tmp_path / "first", **settings))
    shutil.copy(stripes.removeprefix("npz:"), tmp_path / "moved.npz")
    settings = {"dataset": f"npz:{tmp_path}/moved.npz", "label_fraction": 0.2, "epochs": 1}
    found = run(configure("finetune", tmp_path / "second", init=str(first.folder), **settings)).result
    assert first.result["labels_used"] == found["labels_used"] == 28


@pytest.mark.parametrize("known", [True, False])
def test_a_run_that_goes_on_keeps_to_what_it_began_with(
    tiny, pretrained, stripes, tmp_path, monkeypatch, known
):
    """Whatever came to the folder, or left it, meanwhile."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arrays = np.load(stripes.removeprefix("npz:"))
    for i, (image, label) in enumerate(zip(arrays["x_train"], arrays["y_train"])):
        for place in ("here", "there"):
            path = tmp_path / place / f"class{label}" / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tf.io.encode_png(image).numpy())
    settings = {"model": GROUPED, "eval_fraction": 0.3, "labels_per_class": 4, "seed": 3, "epochs": 1}
    first = run(make_config(f"folder:{tmp_path}/here", tmp_path / "first", **settings))
    one, other = tmp_path / "there" / "class1" / "01.png", tmp_path / "more.png"
    if not known:
        shutil.copy(one, one.with_name("more.png"))
    settings = {"init": str(first.folder), "dataset": f"folder:{tmp_path}/there", "seed": 5}
    config = configure("finetune", tmp_path / "run", **settings, epochs=1)
    run(config)
    before = split_of(tmp_path / "run")
    assert (before["held_out"] == split_of(first.folder)["held_out"]) == known
    if known:
        shutil.copy(one, one.with_name("more.png"))
    else:
        one.with_name("more.png").rename(other)
    run(dataclasses.replace(config, epochs=2))
    assert split_of(tmp_path / "run") == before
    assert json.loads((tmp_path / "run" / "config.json").read_text())["labels_chosen"] == known
