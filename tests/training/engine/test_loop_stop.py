"""The loop when it is asked to stop: the step it is at is finished and saved, wherever it was."""

import math
import os
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.errors import Stopped, TrainingError
from simclr_keras.hosts import Hosts
from simclr_keras.training.engine.signals import Stop, listening
from tests.training.fake_loop import CountingLearner, Recorder, train


class TestStop:
    """A stop that is requested while the learner takes a step."""

    def learner(self, stop, at):
        class Learner(CountingLearner):
            def train_step(self, batch):
                super().train_step(batch)

                def request(step):
                    if step == at:
                        stop.requested = signal.SIGTERM
                        stop._listener()

                tf.py_function(request, [batch["step"]], [])

        return Learner()

    @pytest.mark.parametrize("steps_per_execution", [1, 4, 50])
    @pytest.mark.parametrize("at", [0, 2, 7])
    def test_the_step_is_finished_and_saved_and_no_more_are_taken(self, steps_per_execution, at):
        stop, recorder = Stop(), Recorder()
        learner = self.learner(stop, at)
        with pytest.raises(Stopped, match=f"SIGTERM: step {at + 1} is saved") as stopped:
            train(learner=learner, recorder=recorder, stop=stop, steps_per_execution=steps_per_execution)
        assert int(learner.steps) == at + 1
        assert recorder.events[-1] == ("save", at + 1)
        assert stopped.value.code == 143

    def test_at_the_end_of_an_epoch_one_checkpoint_is_enough(self):
        stop, recorder = Stop(), Recorder()
        with pytest.raises(Stopped):
            train(learner=self.learner(stop, 5), recorder=recorder, stop=stop)
        assert recorder.events == [("save", 6)]

    def test_a_signal_while_an_epoch_is_saved_is_not_kept_waiting_by_the_evaluation(self):
        class Slow(Recorder):
            def save(self, step):
                super().save(step)
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.01)

        recorder = Slow()
        with pytest.raises(Stopped, match="step 6 is saved"), listening() as stop:
            train(recorder=recorder, stop=stop, evaluate=lambda epoch: pytest.fail("it evaluates"))
        assert recorder.events == [("save", 6)]

    @pytest.mark.parametrize("at", [0, 3])
    def test_a_signal_in_the_first_call_of_many_steps_saves_them(self, at):
        def slow_step(step):
            if step == at:
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.5 if step >= at else 0.05)

        class Learner(CountingLearner):
            def train_step(self, batch):
                super().train_step(batch)
                tf.py_function(slow_step, [batch["step"]], [])

        learner, recorder = Learner(), Recorder()
        with pytest.raises(Stopped, match=r"step \d is saved"), listening() as stop:
            train(learner=learner, recorder=recorder, stop=stop, steps_per_execution=50, epochs=1)
        # It may take a step more until the signal is heard.
        assert at < int(learner.steps) <= at + 2
        assert recorder.events == [("save", int(learner.steps))]

    def test_a_signal_while_the_first_step_is_traced_ends_it_there(self):
        class Learner(CountingLearner):
            def train_step(self, batch):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)

        recorder = Recorder()
        with pytest.raises(Stopped, match="no step was taken yet"), listening() as stop:
            train(learner=Learner(), recorder=recorder, stop=stop)
        assert recorder.events == []

    def test_weights_that_are_no_numbers_are_not_saved(self):
        stop, recorder = Stop(), Recorder()
        learner = self.learner(stop, 2)
        learner.weight.assign([math.nan, 1.0])
        with pytest.raises(TrainingError, match="no longer finite by step 3"):
            train(learner=learner, recorder=recorder, stop=stop)
        assert recorder.events == []

    def test_a_signal_ends_the_evaluation_whose_weights_are_saved(self):
        recorder = Recorder()

        def evaluate(epoch):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

        with pytest.raises(Stopped, match="step 6 is saved"), listening() as stop:
            train(recorder=recorder, stop=stop, evaluate=evaluate)
        assert recorder.events == [("save", 6)]


class TwoHosts(Hosts):
    """This host beside another one, where something is due after step 3: the number of the flag."""

    def __init__(self, due):
        super().__init__(0, 2)
        self.due, self.calls = due, 0

    def largest(self, *numbers):
        numbers = super().largest(*numbers)
        if len(numbers) == 3:  # after every call of the graph
            self.calls += 1
            numbers[self.due] = numbers[self.due] or (self.calls == 3) * signal.SIGINT
        return numbers

    def gather(self, values):
        return np.asarray(values)[np.newaxis]


SAVE_DUE, STOP = 0, 2


def test_stop_of_another_host_ends_this_one_at_its_step():
    recorder = Recorder()
    with pytest.raises(Stopped, match="SIGINT: step 3 is saved") as stopped:
        train(recorder=recorder, hosts=TwoHosts(STOP))
    assert stopped.value.code == 130
    assert recorder.events == [("save", 3)]


def test_stop_of_this_host_waits_for_the_others(monkeypatch):
    """The call goes on to its last step, because the other host takes all of its steps, too."""
    stop, recorder = Stop(), Recorder()
    learner = TestStop().learner(stop, 1)
    monkeypatch.setattr(stop, "_listener", lambda: None)
    with pytest.raises(Stopped, match="SIGTERM: step 4 is saved"):
        train(learner=learner, recorder=recorder, stop=stop, hosts=TwoHosts(STOP), steps_per_execution=4)
    assert int(learner.steps) == 4


@pytest.mark.slow
def test_checkpoint_that_is_due_on_another_host_is_saved():
    recorder = train(epochs=1, hosts=TwoHosts(SAVE_DUE))
    assert next(event for event in recorder.events if event[0] == "save") == ("save", 3)
