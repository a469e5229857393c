"""Kill training processes at random instants, rerun their commands, and compare the runs with one never killed.

    python benchmarks/kill_and_resume.py --trials=50
    python benchmarks/kill_and_resume.py --trials=50 --stages pretrain

Prints how many runs end with the same bits: weights, optimizer state, result.json, metrics.csv and TensorBoard curves.
A kill comes at a random time, or just after a new file appears in the run directory: a checkpoint in writing, a row of
metrics, a picture. Those instants are the rarest and the most dangerous.
"""

import contextlib
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

from benchmarks.command_line import make_parser, parse
from benchmarks.compare_runs import differing

PROGRAM = ["train.py"]
COMMON = [
    "--batch_size=64",
    "--warmup_epochs=1",
    "--optimizer=momentum",
    "--learning_rate=0.1",
    "--eval_every_epochs=1",
    "--checkpoint_every_steps=3",
    "--keep_checkpoints=2",
]
NETWORK = ["--dataset=digits", "--model=r18_0.25x_sk0", "--image_size=8"]
# The smallest run of every stage that still has epochs, evaluations and many checkpoints. {earlier} is the folder of
# the runs that later stages start from; those are never killed.
STAGES = {
    "pretrain": [*NETWORK, *COMMON, "--baselines"],
    "finetune": [
        "--init={earlier}/pretrain",
        "--label_fraction=0.2",
        "--head_layer=auto",
        "--cv_folds=2",
        *COMMON,
    ],
    "distill": ["--teacher={earlier}/finetune", "--alpha=0.5", "--labeled_batch_size=16", *COMMON],
    "supervised": [*NETWORK, *COMMON, "--augment=crop,color,autoaugment"],
    "linear_eval": ["--init={earlier}/pretrain", *COMMON],
}
EARLIER = {"finetune": ["pretrain"], "distill": ["pretrain", "finetune"], "linear_eval": ["pretrain"]}
# The files whose change starts a kill, and after how many changes at most.
CHECKPOINTS = "checkpoints/*.partial*"
WATCHED = {
    "*": 1,
    CHECKPOINTS: 25,
    "checkpoints/*.index": 25,
    ".*.tmp-*": 12,
    "metrics.csv": 4,
    "result.json": 1,
}


def flags_of(stage, folder, epochs, steps_per_execution=1):
    earlier = folder.parent if folder.parent.name == "earlier" else folder.parent / "earlier"
    flags = [flag.replace("{earlier}", str(earlier)) for flag in STAGES[stage]]
    return [
        f"--mode={stage}",
        f"--model_dir={folder}",
        *flags,
        f"--epochs={epochs}",
        f"--steps_per_execution={steps_per_execution}",
    ]


def start(flags):
    command = [sys.executable, *PROGRAM, *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_to_the_end(flags, what):
    """Run train.py in a process that nobody kills; end the program if it fails."""
    process = start(flags)
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{what} failed with code {process.returncode}:\n{output}")


def written(folder, pattern):
    """Return the files of a pattern, each with the time it was written."""
    files = set()
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):  # the file may vanish after it was listed
            files.add((path, path.stat().st_mtime_ns))
    return files


def kill(process, folder, whole_seconds, draw):
    """Kill a process at a random instant; return whether it was alive then, and whether it wrote a checkpoint."""
    kind = draw.random()
    if kind < 0.3:
        end = time.monotonic() + draw.uniform(0, whole_seconds)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
    else:
        watched = CHECKPOINTS if kind < 0.6 else draw.choice(list(WATCHED))
        changes, before = draw.randint(1, WATCHED[watched]), written(folder, watched)
        while process.poll() is None and changes:
            now = written(folder, watched)
            changes -= now > before
            before = now
        time.sleep(draw.uniform(0, 0.01))
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return alive, alive and any(folder.glob(CHECKPOINTS))


def trial(stage, folder, whole, whole_seconds, options, draw):
    """Run a stage with one or more kills; return (kills, kills in a checkpoint, differences)."""
    kills = in_checkpoint = 0
    for _ in range(draw.randint(1, options.most_kills)):
        # The number of steps per call changes the speed alone.
        process = start(flags_of(stage, folder, options.epochs, steps_per_execution=draw.choice((1, 1, 5))))
        alive, writing = kill(process, folder, whole_seconds, draw)
        kills, in_checkpoint = kills + alive, in_checkpoint + writing
    if not kills:  # it finished before the random instant
        shutil.rmtree(folder)
        return trial(stage, folder, whole, whole_seconds, options, draw)
    run_to_the_end(flags_of(stage, folder, options.epochs), f"{stage}, after {kills} kills,")
    left = [path.name for path in folder.rglob("*") if ".partial" in path.name or ".tmp-" in path.name]
    return kills, in_checkpoint, [*differing(folder, whole), *(f"left behind: {name}" for name in left)]


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--trials", type=int, default=50, help="killed runs of every stage [50]")
    parser.add_argument("--stages", nargs="*", default=list(STAGES), choices=list(STAGES))
    parser.add_argument("--most_kills", type=int, default=3, help="of one run [3]")
    parser.add_argument("--epochs", type=int, default=4, help="of one run [4]")
    parser.add_argument("--seed", type=int, default=0, help="of the instants [0]")
    options = parse(parser, argv, trials=1, stages=["pretrain"], most_kills=1, epochs=1)
    failed = 0
    for stage in options.stages:
        draw = random.Random(options.seed)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for earlier in EARLIER.get(stage, ()):
                run_to_the_end(flags_of(earlier, folder / "earlier" / earlier, options.epochs), earlier)
            began = time.monotonic()
            run_to_the_end(flags_of(stage, folder / "whole", options.epochs), stage)
            whole_seconds = time.monotonic() - began
            print(f"{stage}: never killed, it takes {whole_seconds:.0f} s", flush=True)
            same = kills = in_checkpoint = 0
            for number in range(1, options.trials + 1):
                run = folder / str(number)
                killed, writing, differences = trial(
                    stage, run, folder / "whole", whole_seconds, options, draw
                )
                same, kills, in_checkpoint = same + (not differences), kills + killed, in_checkpoint + writing
                verdict = "the same" if not differences else f"DIFFERENT: {differences[:3]}"
                print(f"  run {number}/{options.trials}: killed {killed} times, {verdict}", flush=True)
            print(
                f"{stage}: {same} of {options.trials} runs, killed {kills} times ({in_checkpoint} of them while a "
                "checkpoint was written), ended bitwise as the one never killed"
            )
            failed += same < options.trials
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
