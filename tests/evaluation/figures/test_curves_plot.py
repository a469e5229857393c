"""Curves: the numbers of the rows are drawn, in panels that do not touch."""

import pytest

from simclr_keras.errors import InputError
from simclr_keras.evaluation.plots import curves_figure


def history(epochs, **columns):
    return [
        {"epoch": str(e), "step": str(e * 10)} | {name: str(values[i]) for name, values in columns.items()}
        for i, e in enumerate(range(1, epochs + 1))
    ]


def title_of(axes):
    return axes.get_title(loc="left")


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_history_of_a_pretraining():
    loss, share, rate = [5.0, 4.0, 3.0], [0.1, 0.5, 0.6], [0.1, 0.3, 0.0]
    columns = {"contrastive_loss": loss, "contrastive_accuracy": share, "learning_rate": rate}
    figure = curves_figure(history(3, **columns, knn_top1=["0.3", "", "0.5"], probe_top1=["", "", "0.25"]))
    drawn = {title_of(axes): [line.get_xydata().tolist() for line in axes.lines] for axes in figure.axes}
    assert drawn == {
        "Contrastive loss": [[[1, 5.0], [2, 4.0], [3, 3.0]]],
        "Contrastive accuracy": [[[1, 0.1], [2, 0.5], [3, 0.6]]],
        "Top-1 on the evaluation split": [[[1, 0.3], [3, 0.5]], [[3, 0.25]]],
        "Learning rate": [[[1, 0.1], [2, 0.3], [3, 0.0]]],
    }
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch"] * 4
    assert legend(figure.axes[1]) == ["training  60.0 %"]
    assert legend(figure.axes[2]) == [
        "kNN  50.0 %",
        "online linear probe  25.0 %",
    ]


def test_panels_without_values_are_left_out():
    rows = history(4, contrastive_loss=[1, 2, 3, 4], knn_top1=["", "", "", ""], learning_rate=["nan"] * 4)
    assert [title_of(axes) for axes in curves_figure(rows).axes] == ["Contrastive loss"]


@pytest.mark.slow
def test_panels_fill_the_figure_and_do_not_touch():
    names = ["contrastive_loss", "contrastive_accuracy", "knn_top1", "learning_rate", "loss", "top1"]
    for panels in range(1, 7):
        figure = curves_figure(history(5, **{name: [0.1, 0.2, 0.3, 0.4, 0.5] for name in names[:panels]}))
        figure.canvas.draw()
        boxes = [axes.get_tightbbox() for axes in figure.axes]
        assert len(boxes) == panels
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        assert max(box.x1 for box in boxes) > 0.95 * figure.bbox.width
        assert min(box.y0 for box in boxes) < 0.1 * figure.bbox.height


def test_a_single_row_is_a_point_between_whole_epochs():
    axes = curves_figure(history(1, contrastive_loss=[5.0])).axes[0]
    (line,) = axes.lines
    assert line.get_marker() == "o"
    assert axes.get_xlim() == pytest.approx((0, 2), abs=0.1)


def test_small_changes_of_an_accuracy_do_not_fill_the_panel():
    axes = curves_figure(history(2, contrastive_accuracy=[0.500, 0.502])).axes[0]
    low, high = axes.get_ylim()
    assert high - low == pytest.approx(0.1)
    low, high = curves_figure(history(2, contrastive_accuracy=[1.0, 0.0])).axes[0].get_ylim()
    assert (low, high) == pytest.approx((0, 1), abs=0.011)


def test_references_are_lines_beside_knn_and_probe_only():
    rows = history(3, knn_top1=[0.3, 0.4, 0.5], contrastive_loss=[3, 2, 1])
    loss, top1 = curves_figure(rows, {"raw pixels, kNN": 0.2, "random encoder, kNN": 0.25}).axes
    assert len(loss.lines) == 1
    assert legend(top1) == [
        "kNN  50.0 %",
        "raw pixels, kNN  20.0 %",
        "random encoder, kNN  25.0 %",
    ]
    assert top1.get_ylim()[0] < 0.2


def test_x_is_the_step_without_epochs():
    axes = curves_figure([{"step": 10, "learning_rate": 0.1}, {"step": 20, "learning_rate": 0.2}]).axes[0]
    assert axes.get_xlabel() == "step"
    assert axes.lines[0].get_xdata().tolist() == [10, 20]


@pytest.mark.parametrize("rows", [[], [{"epoch": 1}], [{"epoch": 1, "knn_top1": ""}], [{"knn_top1": 0.5}]])
def test_nothing_to_draw(rows):
    with pytest.raises(InputError, match="no curve to draw"):
        curves_figure(rows)


def test_a_panel_with_one_curve_is_named_by_its_title():
    titles = {"loss": "Loss", "accuracy": "Training accuracy", "agreement": "Agreement with the teacher"}
    for name, title in titles.items():
        axes = curves_figure(history(3, **{name: [0.9, 0.5, 0.25]})).axes[0]
        assert title_of(axes) == title
        assert legend(axes) == ["total  0.25" if name == "loss" else "training  25.0 %"]


def test_fine_tuning_has_loss_both_accuracies_and_rate():
    columns = {"loss": [2, 1, 0.5], "accuracy": [0.3, 0.6, 0.9], "learning_rate": [0.1, 0.05, 0]}
    figure = curves_figure(history(3, **columns, top1=["", "0.5", "0.6"], top5=["", "0.8", "0.9"]))
    assert [title_of(axes) for axes in figure.axes] == [
        "Loss",
        "Training accuracy",
        "Accuracy on the evaluation split",
        "Learning rate",
    ]
    assert legend(figure.axes[2]) == ["top-1  60.0 %", "top-5  90.0 %"]
    assert [line.get_xydata().tolist() for line in figure.axes[2].lines] == [
        [[2, 0.5], [3, 0.6]],
        [[2, 0.8], [3, 0.9]],
    ]


def test_the_parts_of_a_distillation_loss_share_a_panel():
    columns = {"loss": [3, 2], "distillation_loss": [2.5, 1.5], "label_loss": [2, 1]}
    (axes,) = curves_figure(history(2, **columns)).axes
    assert legend(axes) == ["total  2", "distillation  1.5", "labels  1"]


def test_a_best_top1_before_the_end_is_named():
    rows = history(4, top1=[0.2, 0.7, 0.7, 0.6])
    assert legend(curves_figure(rows).axes[0]) == ["top-1  60.0 %, best 70.0 % at epoch 2"]
    rows = history(4, top1=[0.2, 0.5, 0.6, 0.7], knn_top1=[0.9, 0.1, 0.1, 0.1])
    assert [legend(axes) for axes in curves_figure(rows).axes] == [["kNN  10.0 %"], ["top-1  70.0 %"]]


def test_a_top5_that_cannot_fail_is_left_out():
    assert legend(curves_figure(history(2, top1=[0.5, 0.6], top5=[1.0, 1.0])).axes[0]) == ["top-1  60.0 %"]
    shown = legend(curves_figure(history(2, top1=[0.5, 0.6], top5=[0.9, 1.0])).axes[0])
    assert shown == ["top-1  60.0 %", "top-5  100.0 %"]


def test_a_teacher_is_a_line_beside_its_student_only():
    loss, top1 = curves_figure(history(2, loss=[2, 1], top1=[0.5, 0.6]), {"teacher": 0.55}).axes
    assert len(loss.lines) == 1
    assert legend(top1) == ["top-1  60.0 %", "teacher  55.0 %"]


def test_equal_curves_are_one_line_with_all_their_names():
    columns = {"loss": [3, 2], "distillation_loss": [3, 2]}
    (axes,) = curves_figure(history(2, **columns)).axes
    assert legend(axes) == ["total, distillation  2"]
    assert len(axes.lines) == 1


def test_no_legend_covers_a_line():
    rows = history(3, knn_top1=[1, 1, 1], probe_top1=[0.9, 0.95, 0.99], contrastive_loss=[3, 2, 1])
    figure = curves_figure(rows, {"raw pixels, kNN": 0.2, "random encoder, kNN": 0.25})
    figure.canvas.draw()
    for axes in figure.axes:
        assert not axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())
