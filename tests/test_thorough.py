"""thorough.txt names files and tests that are there."""

from tests.thorough import TESTS, thorough_lines


def test_every_line_names_a_test():
    for line in thorough_lines():
        file, *names = line.partition("[")[0].split("::")
        source = (TESTS / file).read_text()
        assert all(f"class {name}:" in source or f"def {name}(" in source for name in names), line
