"""The flags of all benchmarks: --help shows the module's docstring, --quick takes smaller defaults."""

import argparse


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser that prints the description as it is written."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def parse(parser: argparse.ArgumentParser, argv: list[str] | None, **quick) -> argparse.Namespace:
    """Return the parsed flags.

    Args:
        parser: has all flags but --quick.
        argv: words of the command line; None for those of the process.
        **quick: defaults under --quick, by flag. A flag on the command line still wins.
    """
    parser.add_argument(
        "--quick", action="store_true", help="take seconds: the script runs, its figures mean nothing"
    )
    if parser.parse_known_args(argv)[0].quick:
        parser.set_defaults(**quick)
    return parser.parse_args(argv)
