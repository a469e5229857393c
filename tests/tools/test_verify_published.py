"""The accuracy of published weights is measured as every classifier's, and told beside the published one."""

import json

import numpy as np
import pytest

from simclr_keras import load_published
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.preprocess import evaluation_view
from simclr_keras.tools import import_published
from simclr_keras.tools import verify_published as command
from tests.earlier_runs import DIGITS, finetuning, make_run
from tests.tools.models_to_run import run
from tests.tools.published_files import MODEL, SmallImagenet, write_published
from tests.training.tiny import CLASSES, write_npz

pytestmark = pytest.mark.slow  # together, as each loads or makes networks


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """--data_dir with a small ImageNet."""
    folder = tmp_path_factory.mktemp("tfds")
    SmallImagenet(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture
def network(tmp_path):
    """Published weights of a classifier of a thousand classes, fine-tuned on 10 %."""
    return write_published(tmp_path, "finetuned_10pct", classes=1000, head_layer=1)


def classes_one_by_one(path, evaluation, size=32):
    """What published weights take each image of an evaluation split for."""
    model = load_published(path)
    views = [evaluation_view(evaluation.fetch(row)[None], size) for row in range(len(evaluation))]
    return np.array([np.argmax(model(view)["logits"]) for view in views])


def test_the_validation_images_of_imagenet_are_judged(imagenet, network):
    code, out, error = run(command, f"--path={network}", f"--data_dir={imagenet}", "--batch_size=10")
    assert (code, error) == (0, "")
    assert "imagenet2012: 24 images, 32 pixels a side" in out
    assert f"{MODEL}, classifier on layer 1 of the head" in out
    assert "no accuracy of such a network on this data is published" in out


def test_the_published_accuracy_of_an_imported_run_is_told_beside_it(imagenet, network, tmp_path):
    assert run(import_published, f"--path={network}", f"--out={tmp_path / 'run'}")[0] == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    result |= {"published_top1": 0.684, "published_in": "arXiv 2006.10029, Table 1"}
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))
    code, out, _ = run(command, f"--run={tmp_path / 'run'}", f"--data_dir={imagenet}")
    assert code == 0
    found = command.verify(run=str(tmp_path / "run"), data_dir=str(imagenet), say=lambda line: None)
    assert found["published_top1"] == 0.684
    apart = 100 * (found["top1"] - 0.684)
    assert f"published top-1 68.4% (arXiv 2006.10029, Table 1): {apart:+.1f} points" in out


def test_the_accuracy_is_that_of_the_network_on_every_image(tmp_path):
    dataset = "npz:" + write_npz(tmp_path / "stripes.npz", test=30)
    evaluation = load_dataset(dataset).evaluation
    images = evaluation_view(evaluation.images, 32)
    path = write_published(tmp_path, "supervised", classes=CLASSES, centered_on=images)
    found = classes_one_by_one(path, evaluation)
    assert len(np.unique(found)) > 1  # else the order of the images would not matter
    expected = np.mean(found == evaluation.labels)
    found = command.verify(str(path), dataset=dataset, batch_size=7, say=lambda line: None)
    assert (found["top1"], found["images"]) == (pytest.approx(expected), 30)


REFUSED = [
    ([], "one of the two"),
    (["--path={path}", "--run=runs/a"], "one of the two"),
    (["--run=nowhere"], "nowhere"),
    (["--run=nowhere", "--head_layer=0"], "--head_layer needs --path"),
    (["--path={path}", "--dataset=digits"], "has 1000 classes, digits has 10"),
    (["--path={path}", "--head_layer=7"], "head_layer=7 is beyond the projection head"),
    (["--path={headless}", "--name=pretrained", "--dataset=digits"], "has no classifier"),
    (["--path={path}", "--dataset=npz:{unlabeled}"], "has no labeled evaluation split"),
    (["--path={path}", "--batch_size=0"], "--batch_size=0 is out of range: it must be at least 1"),
]


def test_bad_input_gets_one_line(network, tmp_path):
    headless = write_published(tmp_path, "plain", classes=None)
    unlabeled = write_npz(tmp_path / "bare.npz", labels=False, test=0)
    places = {"path": network, "headless": headless, "unlabeled": unlabeled}
    offenders = []
    for words, message in REFUSED:
        code, _, error = run(command, *[word.format(**places) for word in words])
        if (code, error.count("\n")) != (2, 1) or message not in error:
            offenders.append((words, code, error))
    assert not offenders


def test_a_run_that_was_trained_here_is_told_how_to_be_evaluated(tmp_path):
    make_run(tmp_path / "run", finetuning("digits", 10), DIGITS)
    code, _, error = run(command, f"--run={tmp_path / 'run'}", "--dataset=digits")
    assert (code, "simclr eval" in error) == (2, True)
