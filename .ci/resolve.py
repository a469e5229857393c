"""Ask pip whether requirements.txt resolves from wheels on other systems: python .ci/resolve.py. Installs nothing.

Without tensorflow-datasets, because one package that it needs (promise) has no wheel for any system.
"""

import pathlib
import subprocess
import sys
import tempfile

LEFT_OUT = ("#", "tensorflow-datasets", "importlib_resources")
LINUX, MAC = range(34, 16, -1), range(15, 10, -1)
SYSTEMS = {
    "Windows": (["win_amd64"], {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"}),
    "macOS arm64": (
        [f"macosx_{version}_0_{kind}" for version in MAC for kind in ("arm64", "universal2")],
        {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    ),
    "Linux aarch64": (
        [f"manylinux_2_{version}_aarch64" for version in LINUX] + ["manylinux2014_aarch64"],
        {"platform_machine": "aarch64"},
    ),
}
# With --platform alone, pip reads conditions such as sys_platform == "win32" for the system that it runs on.
PROGRAM = """
import sys
import pip._vendor.packaging.markers as markers
from pip._internal.cli.main import main
own = markers.default_environment
markers.default_environment = lambda: {{**own(), **{environment!r}}}
sys.exit(main({words!r}))
"""


def main() -> int:
    """Print a line for each system and Python; return 1 if one does not resolve."""
    lines = (pathlib.Path(__file__).parents[1] / "requirements.txt").read_text().splitlines()
    words = ["install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
    words += [line for line in lines if line and not line.startswith(LEFT_OUT)]
    failed = 0
    for system, (platforms, environment) in SYSTEMS.items():
        for python in ("3.11", "3.12", "3.13"):
            environment |= {"python_version": python, "python_full_version": f"{python}.0"}
            with tempfile.TemporaryDirectory() as folder:
                flags = [f"--target={folder}", f"--python-version={python}"]
                flags += [f"--platform={name}" for name in platforms]
                program = PROGRAM.format(environment=environment, words=[*words, *flags])
                done = subprocess.run(
                    [sys.executable, "-c", program], capture_output=True, text=True, check=False
                )
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            print(f"{system}, Python {python}: {'resolves' if done.returncode == 0 else errors}", flush=True)
            failed |= done.returncode
    return int(failed != 0)


if __name__ == "__main__":
    sys.exit(main())
