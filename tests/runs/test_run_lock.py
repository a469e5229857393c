"""One process at a time in a run directory."""

import errno
import os
import subprocess
import sys

import filelock
import pytest

from simclr_keras.errors import InputError
from simclr_keras.runs.run_dir import RunDir
from tests.training.begun import begin, config, files


class TestInUse:
    @pytest.fixture
    def directory(self, tmp_path):
        return str(tmp_path / "run")

    def test_a_directory_in_use_is_refused_with_its_user(self, directory):
        first = RunDir(directory)
        first.open_for("pretrain", config())
        before = files(directory)
        for method in ("check", "open_for"):
            with pytest.raises(InputError, match=rf"is in use by process {os.getpid()} on .*wait for it"):
                getattr(RunDir(directory), method)("pretrain", config())
        assert files(directory) == before

    def test_it_is_free_again_when_closed(self, directory):
        first = RunDir(directory)
        first.open_for("pretrain", config())
        first.close()
        RunDir(directory).check("pretrain", config())
        second = RunDir(directory)
        second.open_for("pretrain", config())
        with pytest.raises(InputError, match="in use"):
            first.open_for("pretrain", config())

    def test_looking_does_not_keep_others_out(self, directory):
        RunDir(directory).open_for("pretrain", config())
        lookers = [RunDir(directory) for _ in range(2)]
        for looker in lookers:
            looker.check("pretrain", config())
        RunDir(directory).open_for("pretrain", config())

    def test_a_file_system_that_cannot_lock_is_no_obstacle(self, directory, monkeypatch):
        def acquire(lock, timeout):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
        begin(directory)
        RunDir(directory).check("pretrain", config())

    def test_a_lock_that_is_no_file_is_refused_in_one_line(self, directory):
        os.makedirs(os.path.join(directory, "run.lock"))
        with pytest.raises(InputError, match=r"run.lock cannot be opened \(Is a directory\); delete it"):
            RunDir(directory).open_for("pretrain", config())

    def test_a_process_that_was_killed_leaves_it_free(self, directory):
        blocked = sys.modules.get("fcntl", ...) is None  # see tests/as_windows.py
        code = (
            f"import sys, time\nif {blocked}: sys.modules['fcntl'] = None\n"
            "from simclr_keras.locks import ProcessLock\n"
            f"lock = ProcessLock({os.path.join(directory, 'run.lock')!r})\n"
            "print(lock.acquire(), flush=True)\n"
            "time.sleep(600)\n"
        )
        os.makedirs(directory)
        holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == "True\n"
        with pytest.raises(InputError, match=f"in use by process {holder.pid} on "):
            RunDir(directory).open_for("pretrain", config())
        holder.kill()
        holder.communicate()
        RunDir(directory).open_for("pretrain", config())

    @pytest.mark.slow
    def test_without_fcntl_a_directory_in_use_is_refused_too(self, directory):
        """As on systems without it: filelock then locks by the existence of the file."""
        code = (
            "import os, sys\n"
            "sys.modules['fcntl'] = None\n"
            "from simclr_keras.locks import ProcessLock\n"
            f"first, second = (ProcessLock({os.path.join(directory, 'run.lock')!r}) for _ in range(2))\n"
            "print(first.acquire(), second.is_free(), second.acquire(), f'process {os.getpid()} ' in second.holder())\n"
            "first.release()\n"
            "print(second.is_free(), second.acquire())\n"
        )
        os.makedirs(directory)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout == "True False False True\nTrue True\n"
