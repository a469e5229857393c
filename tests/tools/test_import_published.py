"""Published weights become run directories from which the later stages go on."""

import json

import numpy as np
import pytest

from simclr_keras import load_published
from simclr_keras.config.modes import MODES
from simclr_keras.errors import TrainingError
from simclr_keras.interop.categories import CATEGORIES, read_path
from simclr_keras.models.zoo import PUBLISHED
from simclr_keras.runs.open_run import load_run
from simclr_keras.tools import import_published as command
from simclr_keras.tools import imported_run
from simclr_keras.training.stages.distill import Distillation
from simclr_keras.training.stages.evaluate import ClassifierEvaluation
from simclr_keras.training.stages.finetune import Finetuning
from tests.tools.models_to_run import run
from tests.tools.published_files import MODEL, write_published

pytestmark = pytest.mark.slow  # together, as each loads or makes networks

IMAGES = np.random.default_rng(1).uniform(0, 1, (2, 8, 8, 3)).astype(np.float32)
DIGITS = "--dataset=digits"  # any data of ten classes


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Folder of published weights, by category."""
    folder = tmp_path_factory.mktemp("simclrv2")
    for category in CATEGORIES.values():
        write_published(folder, category.name, head_layer=category.head_layer)
    return folder


@pytest.fixture(scope="module")
def imported(published, tmp_path_factory):
    """Folder of the runs that they were imported as, by category."""
    folder = tmp_path_factory.mktemp("runs")
    for name in CATEGORIES:
        code, _, error = run(command, f"--path={published / name / MODEL}", f"--out={folder / name}", DIGITS)
        assert (code, error) == (0, "")
    return folder


def result_of(path):
    return json.loads((path / "result.json").read_text())


@pytest.mark.parametrize("name", CATEGORIES)
def test_a_run_gives_the_outputs_of_the_weights_it_is_of(name, published, imported):
    model, expected = load_run(imported / name), load_published(published / name / MODEL)
    assert (model.head_layer, model.stop_gradient) == (expected.head_layer, name == "pretrained")
    found = model(IMAGES)
    for endpoint, value in expected(IMAGES).items():
        np.testing.assert_array_equal(found[endpoint], value)


@pytest.mark.parametrize("name", CATEGORIES)
def test_a_run_says_that_it_was_imported_and_claims_no_figures(name, imported):
    result = result_of(imported / name)
    assert result["imported"] is True
    assert result["imported_from"] == f"{name}/{MODEL}/model.ckpt-7"
    assert result["mode"] == CATEGORIES[name].mode
    assert (result["classes"], result["head_layer"], result["step"]) == (10, CATEGORIES[name].head_layer, 7)
    assert not {"top1", "loss", "license", "published_top1", "labels_used"} & result.keys()


def quick(mode, imported, tmp_path, **settings):
    """A config of one epoch on a few labels of the digits, whose learning rate changes next to nothing."""
    own = {"learning_rate": 1e-12, "batch_size": 64, "epochs": 1, "warmup_epochs": 0.0, "labels_per_class": 2}
    if mode == "eval":
        own = {}
    values = {"dataset": "digits", "image_size": 8, "model_dir": str(tmp_path / "run"), **own}
    return MODES[mode](**{**values, **settings})


def test_fine_tuning_starts_from_it(imported, tmp_path):
    config = quick("finetune", imported, tmp_path, init=str(imported / "pretrained"))
    result = Finetuning(config, say=lambda line: None).run()
    assert [run["run"] for run in result["ancestors"]] == [str(imported / "pretrained")]
    assert result["head_layer"] == 1
    begun = {v.path: v.numpy() for v in load_run(imported / "pretrained").trainable_variables}
    for variable in load_run(tmp_path / "run").trainable_variables:
        if "classifier" not in variable.path:
            np.testing.assert_allclose(variable, begun[variable.path], atol=1e-6)


def test_distillation_learns_from_it(imported, tmp_path):
    teacher = imported / "finetuned_1pct"
    config = quick("distill", imported, tmp_path, teacher=str(teacher))
    stage = Distillation(config, say=lambda line: None)
    result = stage.run()
    assert (result["model"], result["temperature"], result["classes"]) == (MODEL, 0.1, 10)
    assert [(run["run"], run["mode"]) for run in result["ancestors"]] == [(str(teacher), "finetune")]


def test_it_can_be_evaluated(imported, tmp_path):
    config = quick("eval", imported, tmp_path, init=str(imported / "supervised"))
    result = ClassifierEvaluation(config, say=lambda line: None).run()
    assert 0 <= result["top1"] <= 1


def test_a_run_of_imagenet_tells_the_labels_it_has_learned_from(tmp_path):
    write_published(tmp_path, "finetuned_10pct", classes=1000, head_layer=1)
    out = tmp_path / "run"
    code, text, _ = run(command, f"--path={tmp_path / 'finetuned_10pct' / MODEL}", f"--out={out}")
    assert code == 0
    assert "--mode=finetune on imagenet2012, images of 32 pixels, 1000 classes on layer 1" in text
    assert "left out: 1 of the training" in text
    assert result_of(out)["labels_used"] == 128_116
    config = json.loads((out / "config.json").read_text())
    assert config["dataset"] == "imagenet2012"
    assert (config["init"], config["epochs"]) == (f"simclrv2/pretrained/{MODEL}", 30)


def test_a_published_network_brings_its_published_accuracy_and_license(tmp_path):
    path = write_published(tmp_path, "finetuned_1pct", model="r50_1x_sk0", classes=1000, size=224)
    out = tmp_path / "run"
    assert run(command, f"--path={path}", f"--out={out}")[0] == 0
    result = result_of(out)
    assert (result["published_top1"], result["license"]) == (0.579, "Apache-2.0")
    assert result["published_in"] == "arXiv 2006.10029, Table 1"
    assert (result["parameters"], result["image_size"]) == (23_561_152, 224)
    assert json.loads((out / "config.json").read_text())["learning_rate"] == 0.005


def test_published_accuracies_are_those_of_the_tables():
    assert [c.top1("r50_1x_sk0")[0] for c in CATEGORIES.values()] == [
        0.717,
        0.579,
        0.684,
        0.763,
        0.766,
        0.739,
        0.775,
    ]
    for name, record in PUBLISHED.items():
        top1, where = CATEGORIES["supervised"].top1(name)
        assert (100 * top1, where) == (pytest.approx(record.supervised), "arXiv 2006.10029, Table 1")
    assert CATEGORIES["distill_10pct"].top1("r152_3x_sk1") == (0.809, "arXiv 2006.10029, Table 3")
    assert CATEGORIES["distill_10pct"].top1("r101_1x_sk0") == (None, None)
    assert CATEGORIES["pretrained"].top1("r18_1x_sk0") == (None, None)


def test_a_path_names_category_and_model():
    for path, category, model in [
        (
            "gs://simclr-checkpoints/simclrv2/finetuned_1pct/r50_1x_sk0/model.ckpt-751",
            "finetuned_1pct",
            "r50_1x_sk0",
        ),
        ("pretrained/finetuned_100pct/r18_0.25x_sk1", "finetuned_100pct", "r18_0.25x_sk1"),
        ("self-supervised/r50_1x_sk0", None, "r50_1x_sk0"),
        ("pretrained/mine/r50_1x_sk0", None, "r50_1x_sk0"),
        ("supervised/r50", None, None),
        ("a/vr50_1x_sk0", None, None),
    ]:
        category_in_path, model_in_path = read_path(path)
        assert (category_in_path and category_in_path.name, model_in_path) == (category, model)


def test_names_of_classes_come_along(published, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("".join(f"digit {digit}\n" for digit in range(10)))
    words = [f"--path={published / 'finetuned_1pct' / MODEL}", f"--out={tmp_path / 'run'}", DIGITS]
    assert run(command, *words, f"--class_names={names}")[0] == 0
    held = json.loads((tmp_path / "run" / "split.json").read_text())
    assert held["class_names"] == [f"digit {digit}" for digit in range(10)]
    names.write_text("one\ntwo\n")
    code, _, error = run(command, *words, f"--class_names={names}", "--overwrite")
    assert (code, "2 lines, but there are 10 classes" in error) == (2, True)
    assert (tmp_path / "run" / "split.json").exists()


REFUSED = [
    (["--path=nowhere"], "nowhere does not exist"),
    ([], "--path is missing"),
    (["--path={pretrained}"], "has 10 classes, and imagenet2012 1000; say by --dataset"),
    (["--path={pretrained}", DIGITS, "--name=r50_1x_sk0"], "does not fit r50_1x_sk0"),
    (["--path={pretrained}", DIGITS, "--head_layer=9"], "head_layer=9 is beyond the projection head"),
    (["--path={pretrained}", DIGITS, "--class_names=nowhere.txt"], "nowhere.txt cannot be read"),
    (["--path={pretrained}", DIGITS, "--ema"], "no moving average"),
    (["--path={plain}", DIGITS, "--head_layer=1"], "does not say what kind of network it is; give it by"),
    (["--path={plain}", DIGITS, "--name=supervise"], "Unknown model"),
    (["--path={pretrained}", "--weights=1"], "unknown flag --weights"),
]


def test_bad_input_gets_one_line_and_leaves_nothing(published, tmp_path):
    plain, offenders = write_published(tmp_path, "nets"), []
    places = {"pretrained": published / "pretrained" / MODEL, "plain": plain}
    for words, message in REFUSED:
        words = [word.format(**places) for word in words]
        code, out, error = run(command, *words, f"--out={tmp_path / 'run'}")
        left = (tmp_path / "run").exists()
        if (code, out, error.count("\n"), left) != (2, "", 1, False) or message not in error:
            offenders.append((words, code, out, error))
    assert not offenders


def test_a_folder_of_other_things_is_left_alone(published, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    words = [f"--path={published / 'pretrained' / MODEL}", f"--out={tmp_path / 'run'}", DIGITS, "--overwrite"]
    code, _, error = run(command, *words)
    assert (code, "contains other things than an imported run" in error) == (2, True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_an_imported_run_is_replaced_only_when_asked(published, tmp_path):
    words = [f"--path={published / 'pretrained' / MODEL}", f"--out={tmp_path / 'run'}", DIGITS]
    assert run(command, *words)[0] == 0
    code, _, error = run(command, *words)
    assert (code, "contains an imported run already" in error) == (2, True)
    words[0] = f"--path={published / 'supervised' / MODEL}"
    assert run(command, *words, "--overwrite")[0] == 0
    assert result_of(tmp_path / "run")["mode"] == "supervised"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_fails_on_the_way_leaves_the_old_run(published, tmp_path, monkeypatch):
    words = [f"--path={published / 'pretrained' / MODEL}", f"--out={tmp_path / 'run'}", DIGITS, "--overwrite"]
    assert run(command, *words)[0] == 0
    before = (tmp_path / "run" / "result.json").read_bytes()

    def full(self, step):
        raise TrainingError("the disk is full")

    monkeypatch.setattr(imported_run.Checkpoints, "save", full)
    assert run(command, *words)[0] == 1
    assert (tmp_path / "run" / "result.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
