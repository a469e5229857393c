"""Run the whole method on CIFAR-10 with several seeds, and compare the results with the orderings of the papers.

    python benchmarks/studies/cifar10_method.py --dataset=npz:data/cifar10.npz

Runs every command of RUNS for every seed. Then writes a table with means and ranges, and one with the orderings of the
papers. If interrupted, rerun it to continue; finished runs are not repeated. Without --dataset the images come from
TensorFlow Datasets. --only=pretrain,finetune-* selects runs; --table_only writes the table of the finished runs.
"""

import dataclasses
import datetime
import fnmatch
import json
import os
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import train
from benchmarks.command_line import make_parser, parse

NARROW = "r18_0.125x_sk0"
NOTES = "## Notes\n"  # the text below this heading was written by hand; a new table keeps it
LABELED_ONLY = [
    "--alpha=0.5",
    "--distill_on=labeled",
    "--labeled_batch_size=64",
    "--epochs=500",
    "--warmup_epochs=50",
]
# Name -> (mode, flags); {run} is the folder of the runs of the seed. Runs that others start from come first.
RUNS = {
    "pretrain": ("pretrain", ["--recipe=cifar10_small"]),
    "supervised-1pct": ("supervised", ["--recipe=cifar10_supervised_1pct"]),
    **{
        f"finetune-1pct-layer{layer}": (
            "finetune",
            ["--recipe=cifar10_finetune_1pct", "--init={run}/pretrain", f"--head_layer={layer}"],
        )
        for layer in (0, 1)
    },
    "distill-1pct": (
        "distill",
        ["--recipe=cifar10_distill", "--init={run}/pretrain", "--teacher={run}/finetune-1pct-layer1"],
    ),
    "supervised-10pct": ("supervised", ["--recipe=cifar10_supervised_10pct"]),
    **{
        f"finetune-10pct-layer{layer}": (
            "finetune",
            ["--recipe=cifar10_finetune_10pct", "--init={run}/pretrain", f"--head_layer={layer}"],
        )
        for layer in (0, 1)
    },
    # 977 steps of 256, as many as on all images.
    "distill-1pct-labeled-only": (
        "distill",
        [
            "--recipe=cifar10_distill",
            "--init={run}/pretrain",
            "--teacher={run}/finetune-1pct-layer1",
            *LABELED_ONLY,
        ],
    ),
    # Students from scratch, as in Table 2 of the paper. Those above start from the pretrained encoder, and 500 images
    # are enough to fine-tune that.
    "distill-1pct-scratch": (
        "distill",
        [
            "--recipe=cifar10_distill",
            "--model=r18_0.25x_sk0",
            "--teacher={run}/finetune-1pct-layer1",
        ],
    ),
    "distill-1pct-labeled-only-scratch": (
        "distill",
        [
            "--recipe=cifar10_distill",
            "--model=r18_0.25x_sk0",
            "--teacher={run}/finetune-1pct-layer1",
            *LABELED_ONLY,
        ],
    ),
    "distill-10pct": (
        "distill",
        ["--recipe=cifar10_distill", "--init={run}/pretrain", "--teacher={run}/finetune-10pct-layer1"],
    ),
    "distill-10pct-20epochs": (
        "distill",
        [
            "--recipe=cifar10_distill",
            "--init={run}/pretrain",
            "--teacher={run}/finetune-10pct-layer1",
            "--epochs=20",
        ],
    ),
    "pretrain-narrow": ("pretrain", ["--recipe=cifar10_small", f"--model={NARROW}"]),
    **{
        f"finetune-{share}-narrow": (
            "finetune",
            [f"--recipe=cifar10_finetune_{share}", "--init={run}/pretrain-narrow"],
        )
        for share in ("1pct", "10pct")
    },
}
FIGURES = {"pretrain": ("knn_top1", "probe_top1")}
# Ordering -> (greater, lesser, smallest difference). Each is a name of RUNS, or a pair: the difference of two runs.
ORDERINGS = {
    "1 %: fine-tuning beats supervised training by 10 points": (
        "finetune-1pct-layer1",
        "supervised-1pct",
        0.1,
    ),
    "10 %: fine-tuning beats supervised training": ("finetune-10pct-layer1", "supervised-10pct", 0.0),
    "1 %: head layer 1 beats layer 0": ("finetune-1pct-layer1", "finetune-1pct-layer0", 0.0),
    "10 %: head layer 1 beats layer 0": ("finetune-10pct-layer1", "finetune-10pct-layer0", 0.0),
    "1 %: self-distillation on all images beats its teacher": ("distill-1pct", "finetune-1pct-layer1", 0.0),
    "10 %: self-distillation on all images beats its teacher": (
        "distill-10pct",
        "finetune-10pct-layer1",
        0.0,
    ),
    "10 %: self-distillation of 20 epochs instead of 5 beats its teacher": (
        "distill-10pct-20epochs",
        "finetune-10pct-layer1",
        0.0,
    ),
    "1 %, students from scratch: distillation on all images beats labels and distillation on the labeled set": (
        "distill-1pct-scratch",
        "distill-1pct-labeled-only-scratch",
        0.0,
    ),
    "1 %, students from scratch: labels and distillation on the labeled set beat labels alone": (
        "distill-1pct-labeled-only-scratch",
        "supervised-1pct",
        0.0,
    ),
    "1 %, students from the pretrained encoder: all images beat the labeled set": (
        "distill-1pct",
        "distill-1pct-labeled-only",
        0.0,
    ),
    f"a net twice as wide ({NARROW} to r18_0.25x_sk0) gains more at 1 % than at 10 %": (
        ("finetune-1pct-layer1", "finetune-1pct-narrow"),
        ("finetune-10pct-layer1", "finetune-10pct-narrow"),
        0.0,
    ),
}


# Digits in place of CIFAR-10, one run of each stage, and two steps of each run.
QUICK_RUNS = "pretrain,supervised-1pct,finetune-1pct-layer1,distill-1pct"
QUICK_FLAGS = ["--batch_size=8", "--epochs=1", "--warmup_epochs=0", "--train_steps=2"]
QUICK_NETWORK = ["--dataset=digits", "--model=r18_0.05x_sk0", "--image_size=8"]


def read_flags(argv):
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", help="npz:PATH of CIFAR-10; default: cifar10 of TensorFlow Datasets")
    parser.add_argument("--runs", default="runs/cifar10_method", help="folder of the runs [%(default)s]")
    parser.add_argument("--seeds", default="0,1,2", help="[%(default)s]")
    parser.add_argument(
        "--pretrain_epochs",
        type=int,
        default=30,
        help="epochs of pretraining [%(default)s, of cifar10_small]",
    )
    parser.add_argument(
        "--only", default="*", help="names of runs, separated by commas, such as finetune-* [all]"
    )
    parser.add_argument("--table", default="benchmarks/studies/cifar10_method.md", help="[%(default)s]")
    parser.add_argument("--table_only", action="store_true", help="run nothing; write the table")
    quick = {"runs": "runs/cifar10_method_quick", "table": "runs/cifar10_method_quick.md"}
    return parse(parser, argv, seeds="0", only=QUICK_RUNS, **quick)


def result_of(folder):
    try:
        result = json.loads((pathlib.Path(folder) / "result.json").read_text())
    except (OSError, ValueError):
        return None
    return result if result.get("finished") else None


def command(name, options, seed):
    mode, flags = RUNS[name]
    runs = f"{options.runs}/seed{seed}"
    words = [f"--mode={mode}", *(flag.replace("{run}", runs) for flag in flags), f"--seed={seed}"]
    if options.quick:
        words += QUICK_FLAGS + (QUICK_NETWORK if mode in ("pretrain", "supervised") else [])
    elif mode in ("pretrain", "supervised"):
        words.append("--image_size=32")
        words += [f"--dataset={options.dataset}"] if options.dataset else []
    if mode == "pretrain" and not options.quick:
        words.append(f"--epochs={options.pretrain_epochs}")
    return [*words, f"--model_dir={runs}/{name}"]


def run_all(options, seeds):
    patterns = options.only.split(",")
    for name in RUNS:
        for seed in seeds:
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                run_unless_finished(
                    f"{options.runs}/seed{seed}/{name}", name, seed, command(name, options, seed)
                )


def run_unless_finished(folder, name, seed, words):
    """Run train.py with these words unless the folder has the result of such a run; end the program if it fails.

    If the result is of other settings, train.py continues that run, evaluates again, or refuses.
    """
    if result_of(folder) and has_settings(folder, words):
        return
    print(f"\n== {name}, seed {seed}\npython train.py {' '.join(words)}", flush=True)
    code = run_train(words)
    if code:
        remedy = "give other flags, or another --runs" if code == 2 else "rerun the same command to continue"
        sys.exit(f"{name} failed with exit code {code}; {remedy}.")


def has_settings(folder, words):
    """Return whether the run in a folder has the settings of these words. Those that they leave open do not count."""
    config = train.read_flags(["train.py", *words])
    recorded = json.loads((pathlib.Path(folder) / "config.json").read_text())
    counted = [field.name for field in dataclasses.fields(config) if field.metadata["resume"] != "free"]
    return all(getattr(config, name) in (None, "auto", recorded.get(name)) for name in counted)


def run_train(words):
    """Run train.py and return its exit code. Ctrl-C reaches that process too, which saves and ends."""
    process = subprocess.Popen([sys.executable, str(ROOT / "train.py"), *words])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def figures(options, seeds):
    """Return {row: {seed: top-1}} of the finished runs."""
    top1 = {}
    for name in RUNS:
        for seed in seeds:
            result = result_of(f"{options.runs}/seed{seed}/{name}")
            for key in FIGURES.get(RUNS[name][0], ("top1",)) if result else ():
                row = name if key == "top1" else f"{name}, {key.removesuffix('_top1')}"
                top1.setdefault(row, {})[seed] = result[key]
    return top1


def difference(top1, ordering, seed):
    """Return greater minus lesser of an ordering, or None if a run of it is missing."""

    def value(term):
        return top1[term][seed] if isinstance(term, str) else top1[term[0]][seed] - top1[term[1]][seed]

    greater, lesser, _ = ordering
    try:
        return value(greater) - value(lesser)
    except KeyError:
        return None


def seeds_table(names, top1, seeds):
    """Return the lines of a table in percent: a column per seed, then mean and range.

    Args:
        names: of the first column, or of several with " | " between them.
        top1: dict of the first cells of a row, in the same form, to {seed: share in [0, 1]}; empty rows are left out.
    """
    lines = [
        f"| {names} | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean | range |",
        "|---|" + "---|" * names.count("|") + "---:|" * (len(seeds) + 2),
    ]
    for row, shares in top1.items():
        if shares:
            cells = [f"{100 * shares[seed]:.1f}" if seed in shares else "-" for seed in seeds]
            mean = 100 * sum(shares.values()) / len(shares)
            spread = f"{100 * min(shares.values()):.1f} to {100 * max(shares.values()):.1f}"
            lines.append(f"| {row} | {' | '.join(cells)} | {mean:.1f} | {spread} |")
    return lines


def table(options, seeds):
    top1 = figures(options, seeds)
    epochs = {(result_of(f"{options.runs}/seed{seed}/pretrain") or {}).get("epochs") for seed in seeds} - {
        None
    }
    lines = [
        "# The whole method on CIFAR-10",
        "",
        f"Written on {datetime.date.today()} by `python benchmarks/studies/cifar10_method.py` on {os.cpu_count()} "
        f"cores of {processor()}; seeds {', '.join(map(str, seeds))}; pretraining of "
        f"{', '.join(map(str, sorted(epochs)))} epochs. Top-1 on the 10,000 test images in percent, of "
        "the last epoch; the seed also chooses the labels. "
        "Rates and lengths were selected by a few trials on seed 0. Missing runs are left out; rerun the "
        "command to add them.",
        "",
        *seeds_table("run", top1, seeds),
    ]
    lines += ["", "| ordering of the papers | differences in points | confirmed by |", "|---|---|---|"]
    for words, ordering in ORDERINGS.items():
        gaps = [gap for seed in seeds if (gap := difference(top1, ordering, seed)) is not None]
        if gaps:
            confirmed = sum(gap >= ordering[2] if ordering[2] else gap > 0 for gap in gaps)
            mean = 100 * sum(gaps) / len(gaps)
            listed = ", ".join(f"{100 * gap:+.1f}" for gap in gaps)
            lines.append(f"| {words} | {listed}; mean {mean:+.1f} | {confirmed} of {len(gaps)} seeds |")
    return "\n".join(lines) + "\n"


def processor():
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def main(argv=None):
    options = read_flags(argv)
    seeds = [int(word) for word in options.seeds.split(",")]
    if not options.table_only:
        run_all(options, seeds)
    text = table(options, seeds)
    path = pathlib.Path(options.table)
    _, heading, notes = (path.read_text() if path.exists() else "").partition(NOTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + (f"\n{heading}{notes}" if heading else ""))
    print(f"\n{text}\nwrote {options.table}")


if __name__ == "__main__":
    main()
