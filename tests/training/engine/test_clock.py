"""Images per second: of the steps alone, without the calls that trace."""

import pytest

from simclr_keras.training.engine import loop


class TestClock:
    @pytest.fixture
    def now(self, monkeypatch):
        """A clock that stands still; call it to let seconds pass."""
        passed = [0.0]
        monkeypatch.setattr(loop.time, "perf_counter", lambda: passed[0])
        return lambda seconds: passed.__setitem__(0, passed[0] + seconds)

    def call(self, clock, now, steps, seconds):
        clock.start()
        now(seconds)
        clock.stop(steps)

    def test_images_per_second_leave_out_the_first_call_and_what_lies_between_calls(self, now):
        clock = loop.Clock(batch_size=32)
        self.call(clock, now, 1, 60.0)
        for _ in range(4):
            self.call(clock, now, 1, 0.5)
            now(7.0)
        assert clock.take_rate() == 4 * 32 / 2.0

    def test_calls_of_one_step_and_of_several_trace_each(self, now):
        clock = loop.Clock(batch_size=10)
        self.call(clock, now, 20, 60.0)
        self.call(clock, now, 20, 4.0)
        self.call(clock, now, 1, 60.0)
        self.call(clock, now, 1, 1.0)
        self.call(clock, now, 7, 2.0)
        assert clock.take_rate() == 28 * 10 / 7.0

    def test_every_epoch_is_timed_anew_and_the_run_on_the_whole(self, now):
        clock = loop.Clock(batch_size=10)
        self.call(clock, now, 1, 60.0)
        self.call(clock, now, 1, 1.0)
        clock.take_rate()
        self.call(clock, now, 1, 3.0)
        assert clock.take_rate() == round(10 / 3.0, 1)
        assert clock.left(10) == 20.0
        clock.start()
        now(7.0)
        clock.stop_evaluation()
        assert clock.left(10, evaluations=2) == 34.0

    def test_nothing_timed_is_nothing_known(self, now):
        clock = loop.Clock(batch_size=10)
        assert clock.take_rate() is None
        assert clock.left(10) is None
        self.call(clock, now, 1, 60.0)
        assert clock.take_rate() is None
