"""The whole method on CIFAR-10 with several seeds: what the papers' tables say, in the small.

    python benchmarks/cifar10_method.py --dataset=npz:data/cifar10.npz

Runs every command below for every seed, and writes a table of means and ranges, and whether the papers' orderings
appear.
Stop it whenever you like: the same command goes on where it stopped, and finished runs are not run again. Without
--dataset the images come through TensorFlow Datasets. --only=pretrain,finetune-* takes part of the runs; --table_only
writes the table of what is there.
"""

import argparse
import datetime
import fnmatch
import json
import os
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
NARROW = "r18_0.125x_sk0"
NOTES = "## Notes\n"  # what is below it in the table's file was written by hand and stays
LABELED_ONLY = [
    "--alpha=0.5",
    "--distill_on=labeled",
    "--labeled_batch_size=64",
    "--epochs=500",
    "--warmup_epochs=50",
]
# Name -> (mode, flags); {run} is the folder of the seed's runs. Each after what it starts from.
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
    # As in the paper's Table 2, whose students know nothing but what they are taught: those above begin with the
    # pretrained encoder, which 500 images are enough to fine-tune.
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
# Ordering -> (greater, lesser, by how much at least), each a name of RUNS or a pair whose difference counts.
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


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="npz:PATH of CIFAR-10; default: cifar10 of TensorFlow Datasets")
    parser.add_argument("--runs", default="runs/cifar10_method", help="where the runs go [%(default)s]")
    parser.add_argument("--seeds", default="0,1,2", help="[%(default)s]")
    parser.add_argument(
        "--pretrain_epochs", type=int, default=30, help="epochs of cifar10_small, whose own are [%(default)s]"
    )
    parser.add_argument("--only", default="*", help="the runs to go, with commas, such as finetune-* [all]")
    parser.add_argument("--table", default="benchmarks/cifar10_method.md", help="[%(default)s]")
    parser.add_argument("--table_only", action="store_true")
    return parser.parse_args()


def result_of(folder):
    try:
        found = json.loads((pathlib.Path(folder) / "result.json").read_text())
    except (OSError, ValueError):
        return None
    return found if found.get("finished") else None


def command(name, options, seed):
    mode, flags = RUNS[name]
    runs = f"{options.runs}/seed{seed}"
    words = [f"--mode={mode}", *(flag.replace("{run}", runs) for flag in flags), f"--seed={seed}"]
    if mode in ("pretrain", "supervised"):
        words.append("--image_size=32")
        words += [f"--dataset={options.dataset}"] if options.dataset else []
    if mode == "pretrain":
        words.append(f"--epochs={options.pretrain_epochs}")
    return [*words, f"--model_dir={runs}/{name}"]


def run_all(options, seeds):
    wanted = options.only.split(",")
    for name in RUNS:
        for seed in seeds:
            asked = any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)
            if not asked or result_of(f"{options.runs}/seed{seed}/{name}"):
                continue
            words = command(name, options, seed)
            print(f"\n== {name}, seed {seed}\npython train.py {' '.join(words)}", flush=True)
            code = wait_for(subprocess.Popen([sys.executable, str(ROOT / "train.py"), *words]))
            if code:
                sys.exit(f"{name} ended with code {code}; the same command goes on from here.")


def wait_for(process):
    """Returns the exit code; Ctrl-C reaches the process too, which saves and says so."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def figures(options, seeds):
    """{row: {seed: top-1}} of what is finished."""
    found = {}
    for name in RUNS:
        for seed in seeds:
            result = result_of(f"{options.runs}/seed{seed}/{name}")
            for key in FIGURES.get(RUNS[name][0], ("top1",)) if result else ():
                row = name if key == "top1" else f"{name}, {key.removesuffix('_top1')}"
                found.setdefault(row, {})[seed] = result[key]
    return found


def difference(found, ordering, seed):
    def value(term):
        return found[term][seed] if isinstance(term, str) else found[term[0]][seed] - found[term[1]][seed]

    greater, lesser, _ = ordering
    try:
        return value(greater) - value(lesser)
    except KeyError:
        return None


def table(options, seeds):
    found = figures(options, seeds)
    epochs = {(result_of(f"{options.runs}/seed{seed}/pretrain") or {}).get("epochs") for seed in seeds} - {
        None
    }
    lines = [
        "# The whole method on CIFAR-10",
        "",
        f"Written on {datetime.date.today()} by `python benchmarks/cifar10_method.py` on {os.cpu_count()} cores of "
        f"{processor()}; seeds {', '.join(map(str, seeds))}; pretraining of {', '.join(map(str, sorted(epochs)))} "
        "epochs. Top-1 on the 10,000 test images in percent, of the last epoch; the seed also chooses the labels. "
        "Rates and lengths were chosen by a few trials on seed 0. Runs that have not gone yet are left out; the same "
        "command runs them.",
        "",
        "| run | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean | range |",
        "|---|" + "---:|" * (len(seeds) + 2),
    ]
    for row, values in found.items():
        cells = [f"{100 * values[seed]:.1f}" if seed in values else "-" for seed in seeds]
        shares = [100 * value for value in values.values()]
        mean = sum(shares) / len(shares)
        lines.append(f"| {row} | {' | '.join(cells)} | {mean:.1f} | {min(shares):.1f} to {max(shares):.1f} |")
    lines += ["", "| ordering of the papers | differences in points | seen |", "|---|---|---|"]
    for words, ordering in ORDERINGS.items():
        gaps = [gap for seed in seeds if (gap := difference(found, ordering, seed)) is not None]
        if gaps:
            held = sum(gap >= ordering[2] if ordering[2] else gap > 0 for gap in gaps)
            mean = 100 * sum(gaps) / len(gaps)
            shown = ", ".join(f"{100 * gap:+.1f}" for gap in gaps)
            lines.append(f"| {words} | {shown}; mean {mean:+.1f} | {held} of {len(gaps)} seeds |")
    return "\n".join(lines) + "\n"


def processor():
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def main():
    options = arguments()
    seeds = [int(word) for word in options.seeds.split(",")]
    if not options.table_only:
        run_all(options, seeds)
    text = table(options, seeds)
    path = pathlib.Path(options.table)
    _, heading, notes = (path.read_text() if path.exists() else "").partition(NOTES)
    path.write_text(text + (f"\n{heading}{notes}" if heading else ""))
    print(f"\n{text}\nwritten to {options.table}")


if __name__ == "__main__":
    main()
