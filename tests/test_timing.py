"""The stopwatch: functions in turns, and the fastest run of each."""

from types import SimpleNamespace

from utils import timing


def test_functions_take_turns_and_the_fastest_measured_run_counts(monkeypatch):
    clock, order = SimpleNamespace(now=0.0), []
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    durations = {"a": iter([1, 5, 1, 3, 1, 4]), "b": iter([9, 2, 1, 7, 9, 8])}  # every other run is not measured

    def function(name):
        order.append(name)
        clock.now += next(durations[name])

    times = timing.fastest({"a": lambda: function("a"), "b": lambda: function("b")}, repeats=3)
    assert times == {"a": 3, "b": 2}
    assert order == ["a", "a", "b", "b"] * 3
