import signal
import threading

import pytest

from senet.training.interruption import Interruption, Stopped


def press(signum=signal.SIGINT):
    signal.raise_signal(signum)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_first_signal_waits_for_the_next_check(capsys, name):
    done = []

    def train():
        with Interruption() as interruption:
            interruption.check()
            press(signal.Signals[name])
            done.append("step")
            interruption.check()
            done.append("next step")

    with pytest.raises(Stopped, match=name):
        train()
    assert done == ["step"]
    assert ("Ctrl-C again stops at once" in capsys.readouterr().err) == (name == "SIGINT")


def test_ctrl_c_after_sigterm_stops_at_once():
    def train():
        with Interruption():
            press(signal.SIGTERM)
            press(signal.SIGTERM)
            press()

    with pytest.raises(KeyboardInterrupt):
        train()


def test_a_second_press_stops_at_once():
    done = []

    def train():
        with Interruption():
            press()
            done.append("step")
            press()
            done.append("next step")

    with pytest.raises(KeyboardInterrupt):
        train()
    assert done == ["step"]


def test_files_are_written_to_the_end_however_often_it_is_pressed():
    done = []

    def train():
        with Interruption() as interruption:
            with interruption.writing():
                press()
                press()
                done.append("written")
            interruption.check()
            done.append("next step")

    with pytest.raises(Stopped):
        train()
    assert done == ["written"]


def test_afterwards_ctrl_c_is_what_it_was():
    before = signal.getsignal(signal.SIGINT)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_other_threads_train_without_it():
    raised = []

    def body():
        try:
            with Interruption() as interruption:
                interruption.check()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert raised == []
