"""Time simclr_keras and its peers on the same inputs, side by side.

    python -m benchmarks.run                          # all comparisons
    python -m benchmarks.run losses input --rounds=5
    python -m benchmarks.run pretrain_step --cases="*bfloat16*" --lightly_python=torch/bin/python

Every side of a case has a process of its own. The sides take turns, round by round. Prints medians, quartiles, and the
ratio to the best peer in the same rounds: above 1 ours is faster. Writes results.json, table.md and chart.png. A peer
that is not installed is left out, with a line. benchmarks/README.md explains how to read the figures.
"""

import dataclasses
import datetime
import fnmatch
import importlib
import json
import os
import pathlib
import platform
import sys
from importlib import metadata

from benchmarks.command_line import make_parser, parse
from benchmarks.comparisons import NAMES
from benchmarks.side_by_side import chart, report
from benchmarks.side_by_side.own_process import OwnProcess
from benchmarks.side_by_side.turns import take_turns


def hardware() -> str:
    """Return the processor, the cores of this process, and the versions of the packages that are compared."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    versions = []
    for package in ("tensorflow", "keras", "tf_keras"):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join([f"{len(os.sched_getaffinity(0))} cores of {model}", *versions])


def main(argv: list[str] | None = None) -> None:
    modules = {name: importlib.import_module(f"benchmarks.comparisons.{name}") for name in NAMES}
    listed = "\n".join(f"  {name:<16} {module.__doc__.splitlines()[0]}" for name, module in modules.items())
    parser = make_parser(f"{__doc__}\ncomparisons:\n{listed}")
    parser.add_argument("names", nargs="*", metavar="name", help="of a comparison; all without one")
    parser.add_argument("--cases", default="*", help="pattern of the names of cases")
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds of every side [%(default)s]")
    parser.add_argument("--out", default="runs/benchmarks", help="folder of the results [%(default)s]")
    parser.add_argument(
        "--lightly_python", default=sys.executable, help="Python with PyTorch and lightly [this one]"
    )
    arguments = parse(parser, argv, rounds=1)
    if unknown := [name for name in arguments.names if name not in modules]:
        parser.error(f"no comparison {unknown[0]}: give some of {', '.join(modules)}")

    def start(side):
        return OwnProcess(side, arguments.lightly_python if side.lightly else sys.executable)

    print(hardware())
    measured = []
    for name in arguments.names or modules:
        for case in modules[name].cases(arguments.quick):
            if not fnmatch.fnmatch(case.name, arguments.cases):
                continue
            rounds = min(case.rounds or arguments.rounds, arguments.rounds)
            case = dataclasses.replace(case, warm_up=0) if arguments.quick else case
            measured.append(take_turns(name, case, rounds, start, print))
            print("\n".join(report.lines_of(measured[-1])), flush=True)
    for line in report.growth_lines(measured):
        print(line)
    write(pathlib.Path(arguments.out), measured)


def write(folder, measured):
    """Write the results, the table and the chart."""
    folder.mkdir(parents=True, exist_ok=True)
    date, machine = datetime.date.today().isoformat(), hardware()
    content = {
        "date": date,
        "hardware": machine,
        "cases": [
            {
                "comparison": each.comparison,
                "case": each.case.name,
                "unit": each.case.unit,
                "units": each.case.units,
                "size": each.case.size,
                "roles": {name: side.role for name, side in each.case.sides.items()},
                "rounds": each.rounds,
                "ratios": each.ratios(),
            }
            for each in measured
        ],
    }
    (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    rows = [report.row_of(each) for each in measured]
    (folder / "table.md").write_text("\n".join([f"{date}, {machine}", "", report.HEADER, *rows]) + "\n")
    chart.draw(measured, str(folder / "chart.png"))
    print(f"written: {folder}/results.json, table.md, chart.png")


if __name__ == "__main__":
    main()
