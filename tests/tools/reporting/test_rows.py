"""Rows stand in the order of the method, and what differs by seed only has a mean."""

import csv
import json

import pytest

from simclr_keras.evaluation.metrics import accuracy_interval
from simclr_keras.tools.reporting.text import as_csv, table
from tests.tools.made_runs import IMAGES, begin, finish, lineage, rows, whole_method
from tests.training.tiny import change

ALONG_THE_METHOD = [
    "raw pixels, kNN",
    "untrained encoder, kNN",
    "untrained encoder, logistic regression",
    "supervised",
    "pretrain, kNN",
    "pretrain, logistic regression",
    "pretrain, online linear probe",
    "fine-tune, head layer 0",
    "fine-tune, head layer 1",
    "self-distill",
    "distill",
]


def test_ancestors_stand_before_descendants_whatever_their_names(tmp_path):
    whole_method(tmp_path)
    assert [row.stage for row in rows([tmp_path])] == ALONG_THE_METHOD


def test_a_row_holds_what_the_run_says(tmp_path):
    runs = whole_method(tmp_path)
    report_rows = {row.stage: row for row in rows([tmp_path])}
    row = report_rows["fine-tune, head layer 1"]
    assert (row.kind, row.dataset, row.model, row.parameters) == (
        "finetune",
        "digits",
        "r18_0.25x_sk0",
        700_000,
    )
    assert (row.labels_used, row.top1, row.top5, row.run) == (100, 0.66, 0.9, runs["layer 1"])
    assert row.interval == accuracy_interval(660, IMAGES)
    assert report_rows["distill"].parameters == 180_000
    assert report_rows["raw pixels, kNN"].model is None


def test_figures_of_pretraining_are_called_what_they_are_and_get_an_interval(tmp_path):
    whole_method(tmp_path)
    report_rows = {row.stage: row for row in rows([tmp_path])}
    assert report_rows["pretrain, kNN"].top1 == 0.7
    assert report_rows["pretrain, kNN"].interval == accuracy_interval(700, IMAGES)
    assert report_rows["pretrain, online linear probe"].top5 == 0.96
    assert report_rows["untrained encoder, logistic regression"].top1 == 0.5
    assert report_rows["untrained encoder, logistic regression"].top5 is None


def test_a_run_that_says_nothing_has_a_row_all_the_same(tmp_path):
    for mode in ("pretrain", "finetune", "distill", "knn", "eval", "linear_eval", "a_later_one"):
        (tmp_path / mode).mkdir()
        (tmp_path / mode / "config.json").write_text(json.dumps({"mode": mode}))
        (tmp_path / mode / "result.json").write_text('{"finished": true}')
    report_rows = rows([tmp_path])
    assert len(report_rows) == 7
    assert {
        (row.top1, row.top5, row.interval, row.model, row.labels_used, row.note) for row in report_rows
    } == {(None, None, None, None, None, "")}


def test_measurements_are_called_what_they_are(tmp_path):
    pretrained = finish(tmp_path / "p", "pretrain")
    for name, mode, told in (
        ("a", "linear_eval", {"protocol": "fast", "head_layer": 0}),
        ("b", "linear_eval", {"protocol": "paper", "head_layer": 0}),
        ("c", "knn", {"head_layer": 2}),
        ("c_ema", "knn", {"head_layer": 2, "config": {"use_ema": True}}),
        ("c_f", "finetune", {"head_layer": 1, "config": {"use_ema": True}}),
        ("d", "eval", {"classifier": "online probe"}),
        ("e", "eval", {"classifier": "trained"}),
    ):
        finish(tmp_path / name, mode, before=[pretrained], top1=0.5, **told)
    assert [row.stage for row in rows([tmp_path])][1:] == [
        "kNN, head layer 2",
        "kNN, head layer 2, momentum network",
        "linear evaluation, head layer 0",
        "logistic regression, head layer 0",
        "evaluation",
        "evaluation of the online probe",
        "fine-tune, head layer 1 from the momentum network",
    ]


def test_distillations_are_told_apart(tmp_path):
    teacher = finish(tmp_path / "t", "finetune", top1=0.5, head_layer=1)
    for name, config in (
        ("a", {"alpha": 1.0, "distill_on": "all"}),
        ("b", {"alpha": 0.5, "distill_on": "all"}),
        ("c", {"alpha": 1.0, "distill_on": "labeled"}),
        ("d", {"alpha": 1.0, "model": "keras:VGG16"}),
    ):
        finish(tmp_path / name, "distill", before=[teacher], config=config, top1=0.5)
    assert sorted(row.stage for row in rows([tmp_path]))[:4] == [
        "distill",
        "fine-tune, head layer 1",
        "self-distill",
        "self-distill, alpha 0.5",
    ]
    assert "self-distill, labeled images only" in [row.stage for row in rows([tmp_path])]


class TestSeeds:
    def test_runs_that_differ_by_seed_only_are_followed_by_mean_and_range(self, tmp_path):
        for seed, gain in ((2, 0.01), (0, -0.04), (1, 0.03)):
            whole_method(tmp_path / f"run{seed}", seed, gain)
        report_rows = rows([tmp_path])
        assert [row.stage for row in report_rows] == [stage for stage in ALONG_THE_METHOD for _ in range(4)]
        tuned = [row for row in report_rows if row.stage == "fine-tune, head layer 1"]
        assert [(row.seeds, row.is_mean) for row in tuned] == [
            ((0,), False),
            ((1,), False),
            ((2,), False),
            ((0, 1, 2), True),
        ]
        assert tuned[-1].top1 == pytest.approx(0.66)
        assert tuned[-1].interval == pytest.approx((0.62, 0.69))
        assert tuned[-1].top5_range == (0.9, 0.9)
        assert tuned[-1].labels_used == 100
        assert len({row.group for row in report_rows}) == len(ALONG_THE_METHOD)

    @pytest.mark.parametrize(
        ("setting", "values", "grouped"),
        [
            ("learning_rate", (0.1, 0.2), False),
            ("label_fraction", (0.1, 0.01), False),
            ("model", ("r18_1x_sk0", "r18_2x_sk0"), False),
            ("checkpoint_every_minutes", (10.0, 5.0), True),
            ("model_dir", ("a", "b"), True),
            ("data_dir", ("a", "b"), True),
        ],
    )
    def test_settings_that_touch_the_figures_part_runs(self, tmp_path, setting, values, grouped):
        for seed, value in enumerate(values):
            finish(tmp_path / f"{seed}", "supervised", config={"seed": seed, setting: value}, top1=0.5)
        assert any(row.is_mean for row in rows([tmp_path])) == grouped

    def test_settings_of_an_ancestor_part_its_descendants(self, tmp_path):
        for seed, temperature in ((0, 0.1), (1, 0.1), (2, 0.5)):
            config = {"seed": seed, "temperature": temperature}
            before = finish(tmp_path / f"p{seed}", "pretrain", config=config, knn_top1=0.5)
            config = {"seed": seed, "init": before}
            finish(tmp_path / f"f{seed}", "finetune", before=[before], config=config, top1=0.5, head_layer=1)
        means = [row for row in rows([tmp_path]) if row.is_mean]
        assert [(row.kind, row.seeds) for row in means] == [("pretrain", (0, 1)), ("finetune", (0, 1))]

    def test_seeds_of_ancestors_count_too(self, tmp_path):
        for seed in (0, 1):
            before = finish(tmp_path / f"p{seed}", "pretrain", config={"seed": seed}, knn_top1=0.5)
            finish(tmp_path / f"f{seed}", "finetune", before=[before], config={"init": before}, top1=0.5)
        assert [row.seeds for row in rows([tmp_path]) if row.is_mean] == [(0, 1), (0, 0)]

    def test_without_the_ancestors_at_hand_what_their_descendants_tell_decides(self, tmp_path):
        for seed, model in ((0, "r18_1x_sk0"), (1, "r18_1x_sk0"), (2, "r50_1x_sk0")):
            before = finish(tmp_path / "p" / f"{seed}", "pretrain", config={"seed": seed, "model": model})
            config = {"seed": seed, "init": before}
            finish(tmp_path / "f" / f"{seed}", "finetune", before=[before], config=config, top1=0.5)
        assert [row.seeds for row in rows([tmp_path / "f"]) if row.is_mean] == [(0, 1)]

    def test_a_momentum_network_is_another_start(self, tmp_path):
        for seed, ema in enumerate((None, False, True)):
            before = finish(tmp_path / "p" / f"{seed}", "pretrain", config={"seed": seed})
            config = {"seed": seed, "init": before} | ({} if ema is None else {"use_ema": ema})
            path = finish(tmp_path / "f" / f"{seed}", "finetune", before=[before], config=config, top1=0.5)
            finish(tmp_path / "d" / f"{seed}", "distill", before=[path], config={"seed": seed}, top1=0.5)
        change(
            tmp_path / "d/2", "result.json", ancestors=[{**lineage(path)[0], "ema": True}, lineage(path)[1]]
        )
        for folder in ("f", "d"):
            assert [row.seeds for row in rows([tmp_path / folder]) if row.is_mean] == [(0, 1)]

    def test_equal_seeds_are_no_repetition(self, tmp_path):
        for name in ("a", "b"):
            finish(tmp_path / name, "supervised", top1=0.5)
        report_rows = rows([tmp_path])
        assert [row.is_mean for row in report_rows] == [False, False]
        assert report_rows[0].group != report_rows[1].group


class TestUnfinished:
    def test_it_is_listed_with_how_far_it_came(self, tmp_path):
        (row,) = rows([begin(tmp_path / "a", "finetune", head_layer="auto")])
        assert (row.stage, row.note, row.top1) == (
            "fine-tune, head layer auto",
            "unfinished, 3 of 20 epochs",
            None,
        )

    def test_old_figures_of_a_run_that_goes_on_are_not_shown(self, tmp_path):
        (row,) = rows([finish(tmp_path / "a", "supervised", config={"epochs": 40}, top1=0.9)])
        assert (row.top1, row.note) == (None, "unfinished, 3 of 40 epochs")

    def test_it_stands_with_its_repetitions_and_is_not_in_their_mean(self, tmp_path):
        for seed in range(3):
            before = finish(tmp_path / f"p{seed}", "pretrain", config={"seed": seed})
            config = {"seed": seed, "init": before, "init_checkpoint": "last", "head_layer": "1"}
            if seed == 1:
                begin(tmp_path / f"f{seed}", "finetune", **config)
            else:
                finish(
                    tmp_path / f"f{seed}",
                    "finetune",
                    before=[before],
                    config=config,
                    top1=0.5 + seed / 100,
                    head_layer=1,
                )
        report_rows = rows([tmp_path])[3:]
        assert [row.seeds for row in report_rows] == [(0,), (1,), (2,), (0, 2)]
        assert report_rows[-1].top1 == pytest.approx(0.51)


def test_supervised_runs_bring_simple_baselines(tmp_path):
    simple = {"color_histogram_logistic_top1": 0.63, "raw_pixels_logistic_top1": 0.3}
    finish(tmp_path / "s", "supervised", top1=0.5, labels_used=100, **simple)
    raw, colors, own = rows([tmp_path])
    assert [(row.stage, row.top1, row.model, row.labels_used) for row in (raw, colors)] == [
        ("raw pixels, logistic regression", 0.3, None, 100),
        ("color histogram, logistic regression", 0.63, None, 100),
    ]
    assert own.top1 == 0.5


def test_a_finetuning_that_does_not_beat_supervised_is_marked(tmp_path):
    def finetuning(name, seed, top1, labels):
        config = {"seed": seed, "labels_per_class": labels}
        finish(tmp_path / name, "finetune", config=config, top1=top1, labels_used=labels, head_layer=1)

    for seed, (plain, tuned) in enumerate(((0.5, 0.5), (0.4, 0.39))):
        finish(tmp_path / f"s{seed}", "supervised", config={"seed": seed}, top1=plain, labels_used=100)
        finetuning(f"f{seed}", seed, tuned, 100)
    finetuning("more", 0, 0.3, 200)
    finish(tmp_path / "one", "supervised", config={"labels_per_class": 3}, top1=0.3, labels_used=300)
    finetuning("same", 0, 0.3, 300)
    finetuning("better", 0, 0.31, 300)
    remarks = {row.run and row.run[-2:]: row.remark for row in rows([tmp_path]) if row.kind == "finetune"}
    marked = {None: "does not beat supervised, 45.0 %", "me": "does not beat supervised, 30.0 %"}
    assert remarks == {"f0": "", "f1": "", "re": "", "er": "", **marked}


def test_balanced_and_cross_validated_accuracies_have_columns_if_there_are_any(tmp_path):
    for seed, share in enumerate((0.6, 0.8)):
        more = {"balanced_accuracy": share, "cross_validated_top1": share - 0.2}
        finish(tmp_path / f"f{seed}", "finetune", config={"seed": seed}, top1=0.5, head_layer=1, **more)
    finish(tmp_path / "p", "pretrain", knn_top1=0.5, probe_top1=0.5, cross_validated_top1=0.55)
    report_rows = rows([tmp_path])
    assert {row.stage: row.cross_validated for row in report_rows if row.kind == "pretrain"} == {
        "pretrain, kNN": None,
        "pretrain, online linear probe": 0.55,
    }
    assert (report_rows[-1].is_mean, report_rows[-1].balanced_accuracy) == (True, pytest.approx(0.7))
    heading, _, *lines = table(report_rows).splitlines()
    assert " ".join(heading.split()).endswith("95 % interval balanced cross-validated run")
    (line,) = [line for line in lines if line.endswith("f0")]
    assert line.split()[-5:-1] == ["60.0", "%", "40.0", "%"]
    (record,) = [
        record for record in csv.DictReader(as_csv(report_rows).splitlines()) if record["run"][-2:] == "f0"
    ]
    assert (record["balanced_accuracy"], record["cross_validated"]) == ("0.6", "0.39999999999999997")
