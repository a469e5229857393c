"""The page about a fit: one HTML file with its pictures inside."""

import base64
import html
import os
import shlex
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from simclr_keras.evaluation import plots
from simclr_keras.evaluation.classification import confusion
from simclr_keras.fit import judge
from simclr_keras.fit.judge import Judged, Share
from simclr_keras.fit.photos import describe
from simclr_keras.formatting import duration
from simclr_keras.tools.images.thumbnails import thumbnails
from simclr_keras.version import __version__

FILE = "report.html"
PICTURE = 128  # pixels
SHOWN = 24  # photos of each kind
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
th, td { text-align: left; padding: 0.35rem 0.6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; }
tr.chosen { background: #e8f1fb; font-weight: 600; }
.photos { display: flex; flex-wrap: wrap; gap: 0.8rem; }
figure { margin: 0; width: 132px; font-size: 0.8rem; line-height: 1.3; overflow-wrap: anywhere; }
figure img { width: 128px; height: 128px; border-radius: 4px; }
pre { background: #f4f4f4; padding: 0.8rem; overflow-x: auto; }
.big { font-size: 2.4rem; font-weight: 700; } .note { color: #555; }
img.wide { max-width: 100%; }
"""
LOAD = """import tensorflow as tf

model = tf.saved_model.load({folder})
classes = open({names}, encoding="utf-8").read().splitlines()
files = tf.constant([open("photo.jpg", "rb").read()])  # JPEG or PNG, any size
logits = model.signatures["logits_from_bytes"](image_bytes=files)["logits"]
print(classes[int(tf.argmax(logits[0]))], float(tf.reduce_max(tf.nn.softmax(logits[0]))))"""


def as_html(
    trials,
    best: Judged,
    test: dict[str, Share],
    test_logits: np.ndarray,
    verdict: Sequence[str],
    unlabeled: tuple[np.ndarray, np.ndarray],
) -> str:
    """Return the page.

    Args:
        trials: the finished Trials. best: the chosen candidate.
        test: accuracies on the test images by name of the piece. test_logits: of the chosen one, [t, classes].
        verdict: sentences about the baselines.
        unlabeled: (rows of unlabeled photos, else of test images; their log-probabilities [u, classes]).
    """
    own, names = test[best.piece.name], trials.workshop.photos.class_names
    low, high = own.interval
    parts = [
        f"<h1>A classifier of {len(names)} kinds of photos</h1>",
        f'<p><span class="big">{own.value:.1%}</span> of {own.total} test images are classified correctly '
        f"(95 % interval {low:.1%} to {high:.1%}). {_text(_claim(trials.workshop.photos.doubts))}</p>",
        f"<p>Chosen by cross-validation: <b>{_text(best.piece.title)}</b>, with {best.share.value:.1%} on "
        f"{best.share.total} labeled photos that are no test images.</p>",
        *(f"<p>{_text(line)}</p>" for line in verdict),
        '<p class="note">These figures hold for photos like yours. Photos of another place, day or camera may be '
        "classified less well: to find out, put some of them into a folder test/, and all others into train/ beside "
        "it.</p>",
        "<h2>On the test images</h2>",
        _table(("model", "correct", "accuracy", "95 % interval"), _test_rows(trials, best, test)),
        "<h2>What was tried</h2>",
        '<p class="note">Accuracy by cross-validation: each photo is classified by a model that was trained without '
        "it and its near duplicates. Trainings are judged on fewer photos than regressions, because each takes long; a "
        "candidate is compared with the best one on the photos that both were judged on. The figure of the chosen "
        "candidate is slightly too high, because it is the best of several.</p>",
        _table(("candidate", "photos", "accuracy", "95 % interval", "time"), _tried_rows(trials, best)),
        *_left_out(trials),
        "<h2>Which classes are confused</h2>",
        _confusion(trials, best, test_logits),
        *_suspicious(trials, best),
        *_uncertain(trials, *unlabeled),
        *_use(trials),
        "<h2>The data</h2>",
        "<ul>",
        *(f"<li>{_text(line)}</li>" for line in describe(trials.workshop.photos)),
        "</ul>",
        f"<h2>The command</h2><pre>{_text(command(trials.workshop.config))}</pre>",
        f'<p class="note">Repeat it with more --minutes to try more: finished pieces are not run again. Files of the '
        f"trainings are in {_text(trials.work.path)}. Made with simclr_keras {__version__}.</p>",
    ]
    title = _text(os.path.basename(trials.workshop.config.out.rstrip("/")))
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _claim(doubts):
    """Return what is known of the test images, in words."""
    if not doubts:
        return "No training and no choice has seen these images."
    return " ".join(["No choice has seen these images.", *(f"Warning: {doubt}." for doubt in doubts)])


def command(config) -> str:
    """Return the command of a FitConfig, with the flags that differ from their defaults."""
    words = ["simclr fit"]
    for name, field in type(config).__dataclass_fields__.items():
        value = getattr(config, name)
        if value != field.default:
            words.append(f"--{name}" if value is True else f"--{name}={shlex.quote(str(value))}")
    return " ".join(words)


def _test_rows(trials, best, test):
    titles = {candidate.piece.name: candidate.piece for candidate in trials.judged}
    for name, share in test.items():
        low, high = share.interval
        piece = titles[name]
        what = " (chosen)" * (name == best.piece.name) + " (baseline)" * piece.is_baseline
        correct = f"{share.correct} of {share.total}"
        cells = (piece.title + what, correct, f"{share.value:.1%}", f"{low:.1%} to {high:.1%}")
        yield name == best.piece.name, cells


def _tried_rows(trials, best):
    for candidate in trials.judged:
        low, high = candidate.share.interval
        piece = candidate.piece
        cells = (
            piece.title + " (chosen)" * (candidate is best) + " (baseline)" * piece.is_baseline,
            f"{candidate.share.total}",
            f"{candidate.share.value:.1%}",
            f"{low:.1%} to {high:.1%}",
            duration(candidate.record["seconds"]),
        )
        yield candidate is best, cells


def _left_out(trials):
    if trials.plan.left_out:
        items = "".join(
            f"<li>{_text(piece.title)}: about {duration(piece.seconds)}</li>"
            for piece in trials.plan.left_out
        )
        minutes = trials.workshop.config.minutes
        yield f"<p>Not tried, because it does not fit into {minutes:g} minutes:</p><ul>{items}</ul>"
    if trials.failed:
        items = "".join(f"<li>{_text(line)}</li>" for line in trials.failed)
        yield f"<p>Failed:</p><ul>{items}</ul>"


def _confusion(trials, best, test_logits):
    """Return the picture of the confusion matrix: of test images and cross-validated photos together."""
    labels = np.concatenate(
        [trials.workshop.photos.labels[trials.workshop.photos.test], trials.labels[best.rows]]
    )
    predicted = np.concatenate([test_logits.argmax(1), best.scores[best.rows].argmax(1)])
    matrix = confusion(labels, predicted, len(trials.workshop.photos.class_names))
    picture = plots.png_bytes(plots.confusion_figure(matrix, trials.workshop.photos.class_names))
    return (
        f'<p class="note">{len(test_logits)} test images and {best.share.total} cross-validated photos together.</p>'
        f'<img class="wide" alt="confusion matrix" src="{_source(picture, "png")}">'
    )


def _suspicious(trials, best):
    rows = judge.suspicious(best.scores, trials.labels, SHOWN)
    if not len(rows):
        return
    yield "<h2>Labels to check</h2>"
    yield (
        '<p class="note">Labeled photos that models which did not see them place in another class, the surest first: '
        "some labels may be wrong. Correct them and repeat the command.</p>"
    )
    names = trials.workshop.photos.class_names
    captions = [
        f"labeled {names[trials.labels[row]]}, predicted {names[int(np.argmax(best.scores[row]))]} "
        f"({np.exp(best.scores[row].max()):.0%})"
        for row in rows
    ]
    yield _gallery(trials, trials.workshop.photos.labeled[rows], captions)


def _uncertain(trials, rows, scores):
    photos = trials.workshop.photos
    of = "unlabeled photos: labels of these would help most" if len(photos.unlabeled) else "test images"
    order = judge.uncertain(scores, SHOWN)
    yield "<h2>Most uncertain photos</h2>"
    yield f'<p class="note">The two most probable classes are closest. Of {len(rows)} {of}.</p>'
    captions = []
    for row in order:
        pair = np.argsort(-scores[row], kind="stable")[:2]
        captions.append(
            " or ".join(
                f"{trials.workshop.photos.class_names[k]} ({np.exp(scores[row, k]):.0%})" for k in pair
            )
        )
    yield _gallery(trials, rows[order], captions)


def _use(trials):
    out = os.path.abspath(trials.workshop.config.out)
    yield "<h2>How to load the model</h2>"
    yield f"<pre>simclr predict --model={_text(shlex.quote(out))} new_photos/</pre>"
    yield "<p>Or with TensorFlow alone:</p>"
    code = LOAD.format(folder=repr(out), names=repr(f"{out}/class_names.txt"))
    yield f"<pre>{_text(code)}</pre><p>README.md in the same folder describes the preprocessing and the formats.</p>"


def _gallery(trials, rows, captions: Iterable[str]):
    ids = [trials.workshop.photos.ids[row] for row in rows]
    pictures = thumbnails(trials.workshop.photos.images, ids, PICTURE)
    figures = [
        f'<figure><img alt="" src="{_source(tf.io.encode_jpeg(picture, quality=85).numpy(), "jpeg")}">'
        f"<figcaption><b>{_text(name)}</b><br>{_text(caption)}</figcaption></figure>"
        for name, picture, caption in zip(ids, pictures, captions)
    ]
    return f'<div class="photos">{"".join(figures)}</div>'


def _table(headings, rows):
    def cells(tag, values):
        return "".join(
            f"<{tag}{' class=number' if column else ''}>{_text(value)}</{tag}>"
            for column, value in enumerate(values)
        )

    lines = [f"<tr>{cells('th', headings)}</tr>"]
    lines += [
        f"<tr{' class=chosen' if is_chosen else ''}>{cells('td', values)}</tr>" for is_chosen, values in rows
    ]
    return f"<table>{''.join(lines)}</table>"


def _source(picture, kind):
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _text(text):
    return html.escape(str(text).encode(errors="backslashreplace").decode())
