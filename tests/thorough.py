"""Reads thorough.txt: what `make test` leaves out."""

import pathlib

TESTS = pathlib.Path(__file__).parent


def thorough_lines():
    """Returns the files, tests and cases that are listed, from tests/ on."""
    lines = (TESTS / "thorough.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]
