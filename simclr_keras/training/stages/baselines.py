"""What the figures are held against: raw pixels and the encoder before training, measured on the same split."""

import json

from simclr_keras.evaluation.knn import knn_accuracy
from simclr_keras.evaluation.linear_probe import logistic_probe

FILE = "baselines.json"
FEATURES = "final_avg_pool"


class Baselines:
    """kNN on raw pixels; kNN and logistic regression on an encoder, before and after training.

    Args:
        run_dir: RunDir; the figures taken before training are kept in baselines.json, for a resumed run.
        extractor: Extractor that computes "final_avg_pool".
        pixels: function of a Source to float arrays [n, height * width * 3], evaluation preprocessing applied.
        bank, evaluation: labeled Sources.
        knn: dict of k, temperature and num_classes for the kNN.
    """

    def __init__(self, run_dir, extractor, pixels, bank, evaluation, knn):
        self._run_dir = run_dir
        self._extractor = extractor
        self._pixels = pixels
        self._bank = bank
        self._evaluation = evaluation
        self._knn = knn

    def before(self, first_step):
        """Returns the figures of raw pixels and of the untrained encoder.

        The latter can be measured before the first step alone; a resumed run reads what was written down then, and
        goes without where nothing was.
        """
        kept = self._run_dir.read_json(FILE) if first_step else None
        if kept and isinstance(kept.get("raw_pixels_knn_top1"), float):
            return kept
        bank, held = self._features()
        pixels = self._pixels(self._bank), self._pixels(self._evaluation)
        found = {"raw_pixels_knn_top1": self._knn_top1(pixels[0], bank["label"], pixels[1], held["label"])}
        if first_step == 0:
            found |= self._encoder("random_encoder", bank, held)
        self._run_dir.write_text(FILE, json.dumps(found, indent=2) + "\n")
        return found

    def after(self):
        """Returns the same figures of the trained encoder."""
        return self._encoder("pretrained_encoder", *self._features())

    def _features(self):
        return self._extractor(self._bank), self._extractor(self._evaluation)

    def _encoder(self, name, bank, held):
        rows = bank[FEATURES], bank["label"], held[FEATURES], held["label"]
        probe = logistic_probe(*rows, num_classes=self._knn["num_classes"])
        return {f"{name}_knn_top1": self._knn_top1(*rows), f"{name}_logistic_top1": float(probe.top1)}

    def _knn_top1(self, *rows):
        return float(knn_accuracy(*rows, **self._knn).top1)


def table(figures, online_probe=None):
    """Lays the figures out as lines for the screen, top-1 in percent."""
    lines = [f"{'top-1':<22}{'kNN':>8}{'linear':>9}"]
    for name, title in (
        ("raw_pixels", "raw pixels"),
        ("random_encoder", "untrained encoder"),
        ("pretrained_encoder", "pretrained encoder"),
    ):
        cells = [figures.get(f"{name}_{kind}_top1") for kind in ("knn", "logistic")]
        if any(cell is not None for cell in cells):
            knn, linear = ("-" if cell is None else f"{cell:.1%}" for cell in cells)
            lines.append(f"{title:<22}{knn:>8}{linear:>9}")
    if online_probe is not None:
        lines.append(f"{'online linear probe':<22}{'-':>8}{online_probe:>9.1%}")
    return lines
