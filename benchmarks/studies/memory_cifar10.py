"""Compare pretraining on CIFAR-10 in batches of 64 images without memory, and with queues of two sizes.

    python benchmarks/studies/memory_cifar10.py --dataset=npz:data/cifar10.npz

Pretrains the recipe cifar10_small for 10 epochs with every memory and every seed, evaluates momentum networks by kNN
as well, and prints a table of kNN top-1 with its spread. If interrupted, rerun it to continue; finished runs are not
repeated. Without --dataset the images come from TensorFlow Datasets. Other settings, such as a faster momentum network,
are given in --flags with another folder in --runs:

    python benchmarks/studies/memory_cifar10.py --flags=--ema_decay=0.99 --runs=runs/memory_decay99

--reasons trains other rows, for 2 epochs each. They change one thing after another: keys without a gradient, a momentum
network that lags, a queue, a longer lag, the learning rate and the temperature:

    python benchmarks/studies/memory_cifar10.py --reasons --dataset=npz:data/cifar10.npz --seeds=0
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from benchmarks.command_line import make_parser, parse
from benchmarks.studies.cifar10_method import result_of, run_unless_finished, seeds_table

MEMORIES = {
    "none": ["--memory=none"],
    "queue-4096": ["--memory=queue", "--memory_size=4096"],
    "queue-65536": ["--memory=queue", "--memory_size=65536"],
}
QUEUE = ["--memory=queue", "--memory_size=4096", "--ema_decay=0.99"]
REASONS = {
    "none": ["--memory=none"],
    "no-queue-decay-0": ["--memory=queue", "--memory_size=0", "--ema_decay=0"],
    "no-queue-decay-0.99": ["--memory=queue", "--memory_size=0", "--ema_decay=0.99"],
    "queue-decay-0.99": QUEUE,
    "queue-decay-0.999": ["--memory=queue", "--memory_size=4096", "--ema_decay=0.999"],
    "queue-decay-0.99-twice-the-rate": [*QUEUE, "--learning_rate=0.6"],
    "queue-decay-0.99-temperature-0.1": [*QUEUE, "--temperature=0.1"],
    "queue-decay-0.99-temperature-0.5": [*QUEUE, "--temperature=0.5"],
    "none-temperature-0.5": ["--memory=none", "--temperature=0.5"],
}
REASON_EPOCHS = 2
EMA = "-ema"  # behind the name of a run: its momentum network, evaluated by --mode=knn
ROWS = [row for memory in MEMORIES for row in ([memory] if memory == "none" else [memory, memory + EMA])]
# The first rows, digits in place of CIFAR-10, and two steps.
QUICK_ROWS = 3
QUICK_FLAGS = [
    "--dataset=digits",
    "--model=r18_0.05x_sk0",
    "--image_size=8",
    "--train_steps=2",
    "--warmup_epochs=0",
]
QUICK_SIZES = {"--memory_size=4096": "--memory_size=64"}


def read_flags(argv):
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", help="npz:PATH of CIFAR-10; default: cifar10 of TensorFlow Datasets")
    parser.add_argument("--runs", help="folder of the runs [runs/memory_cifar10, runs/memory_reasons]")
    parser.add_argument("--seeds", default="0,1,2", help="[%(default)s]")
    parser.add_argument(
        "--reasons", action="store_true", help="train rows that separate the parts of a memory"
    )
    parser.add_argument("--epochs", type=int, help=f"[10; with --reasons {REASON_EPOCHS}]")
    parser.add_argument("--batch_size", type=int, default=64, help="[%(default)s]")
    parser.add_argument("--flags", default="", help="further flags of train.py for all pretraining runs")
    parser.add_argument("--table_only", action="store_true", help="run nothing; print the table")
    options = parse(parser, argv, seeds="0", epochs=1, batch_size=8, runs="runs/memory_cifar10_quick")
    options.runs = options.runs or f"runs/memory_{'reasons' if options.reasons else 'cifar10'}"
    options.epochs = options.epochs or (REASON_EPOCHS if options.reasons else 10)
    return options


def rows_of(options):
    rows = list(REASONS) if options.reasons else ROWS
    return rows[:QUICK_ROWS] if options.quick else rows


def command(row, options, seed):
    """Return the words of train.py for a row of the table."""
    folder = f"{options.runs}/seed{seed}"
    if row.endswith(EMA):
        return [
            "--mode=knn",
            f"--init={folder}/{row.removesuffix(EMA)}",
            "--use_ema",
            f"--model_dir={folder}/{row}",
        ]
    flags = {**MEMORIES, **REASONS}[row]
    if options.quick:
        flags = [QUICK_SIZES.get(flag, flag) for flag in flags]
        flags += QUICK_FLAGS
    elif options.dataset:
        flags = [*flags, f"--dataset={options.dataset}", "--image_size=32"]
    has_memory = "--memory=none" not in flags
    extra = [flag for flag in options.flags.split() if has_memory or not flag.startswith("--ema_decay")]
    return [
        "--mode=pretrain",
        "--recipe=cifar10_small",
        f"--batch_size={options.batch_size}",
        f"--epochs={options.epochs}",
        f"--eval_every_epochs={options.epochs}",
        *extra,
        *flags,  # they win over those of --flags
        f"--seed={seed}",
        f"--model_dir={folder}/{row}",
    ]


def run_all(options, seeds):
    for seed in seeds:
        for row in rows_of(options):
            run_unless_finished(f"{options.runs}/seed{seed}/{row}", row, seed, command(row, options, seed))


def top1_of(result):
    """Return kNN top-1 in [0, 1], of a pretraining run or of --mode=knn."""
    return result.get("knn_top1", result.get("top1"))


def table(options, seeds):
    title = (
        f"kNN top-1 in percent, batch {options.batch_size}, {options.epochs} epochs {options.flags}".rstrip()
    )
    top1 = {}
    for row in rows_of(options):
        results = {seed: result_of(f"{options.runs}/seed{seed}/{row}") for seed in seeds}
        top1[row] = {seed: top1_of(result) for seed, result in results.items() if result}
    return "\n".join([title, "", *seeds_table("memory", top1, seeds)])


def main(argv=None):
    options = read_flags(argv)
    seeds = [int(word) for word in options.seeds.split(",")]
    if not options.table_only:
        run_all(options, seeds)
    print(f"\n{table(options, seeds)}")


if __name__ == "__main__":
    main()
