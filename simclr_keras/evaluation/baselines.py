"""Baselines of a pretraining: raw pixels and the encoder before training, measured on the same split."""

from simclr_keras.evaluation.features import RepresentationScore
from simclr_keras.evaluation.knn import knn_accuracy
from simclr_keras.evaluation.simple_features import raw_pixels, thumbnails_of

FEATURES = "final_avg_pool"


class Baselines:
    """kNN on raw pixels; kNN and logistic regression on an encoder, before and after training.

    Args:
        score: RepresentationScore, whose images, encoder and kNN settings are used.
        side: of the images whose raw pixels are compared.
        start: prefix of the scores from before training: random_encoder, or initial_encoder if it had weights.
    """

    def __init__(self, score: RepresentationScore, side: int, start: str = "random_encoder"):
        self._score = score
        self._side = side
        self._start = start

    def before(self, first_step: int, saved: dict) -> dict[str, float]:
        """Return the scores of raw pixels and of the encoder before training.

        Args:
            first_step: of the run. That encoder exists at step 0 only.
            saved: what this returned when a resumed run began; without it, the scores of that encoder are left out.
        """
        if first_step and isinstance(saved.get("raw_pixels_knn_top1"), float):
            return saved
        score = self._score
        bank, evaluation = score.outputs()

        def pixels_top1():
            parts = (score.bank, score.evaluation)
            of_bank, of_evaluation = (raw_pixels(thumbnails_of(part, self._side)) for part in parts)
            return self._knn_top1(of_bank, bank["label"], of_evaluation, evaluation["label"])

        scores = {"raw_pixels_knn_top1": score.extractor.hosts.from_chief(pixels_top1)}
        if first_step == 0:
            scores |= self._encoder_scores(self._start, bank, evaluation)
        return scores

    def after(self) -> dict[str, float]:
        """Return the same scores of the trained encoder."""
        return self._encoder_scores("pretrained_encoder", *self._score.outputs())

    def _encoder_scores(self, name, bank, evaluation):
        arrays = bank[FEATURES], bank["label"], evaluation[FEATURES], evaluation["label"]

        def logistic_top1():
            from simclr_keras.evaluation.linear_probe import logistic_probe  # slow to import

            return float(logistic_probe(*arrays, num_classes=self._score.knn["num_classes"]).top1)

        from_chief = self._score.extractor.hosts.from_chief
        return {
            f"{name}_knn_top1": from_chief(lambda: self._knn_top1(*arrays)),
            f"{name}_logistic_top1": from_chief(logistic_top1),
        }

    def _knn_top1(self, *arrays):
        return float(knn_accuracy(*arrays, **self._score.knn).top1)


def table(scores: dict, online_probe: float | None = None) -> list[str]:
    """Return the scores as lines of a table, top-1 in percent."""
    lines = [f"{'top-1':<22}{'kNN':>8}{'linear':>9}"]
    for name, title in (
        ("raw_pixels", "raw pixels"),
        ("random_encoder", "untrained encoder"),
        ("initial_encoder", "initial encoder"),
        ("pretrained_encoder", "pretrained encoder"),
    ):
        cells = [scores.get(f"{name}_{kind}_top1") for kind in ("knn", "logistic")]
        if any(cell is not None for cell in cells):
            knn, linear = ("-" if cell is None else f"{cell:.1%}" for cell in cells)
            lines.append(f"{title:<22}{knn:>8}{linear:>9}")
    if online_probe is not None:
        lines.append(f"{'online linear probe':<22}{'-':>8}{online_probe:>9.1%}")
    return lines
