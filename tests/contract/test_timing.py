"""The phases of a run."""

import json

import pytest

from contract import timing


def test_seconds_of_an_inner_phase_are_not_those_of_the_outer_one(tmp_path, monkeypatch):
    # The wall clock and the CPU clock at each change of the phase.
    times = iter([(0.0, 0.0), (1.0, 0.5), (11.0, 8.0), (14.0, 10.0), (34.0, 20.0), (35.0, 21.0)])
    monkeypatch.setattr(timing, "_now", lambda: next(times))
    clock = timing.PhaseClock()
    with clock.phase(timing.TRAINING), clock.phase(timing.VALIDATION):
        pass
    clock.write(tmp_path)
    written = json.loads((tmp_path / timing.TIMING_FILE).read_text())
    expected = {name: 0.0 for name in timing.PHASES}
    assert written["phases"] == {**expected, "preparing": 2.0, "training": 30.0, "validation": 3.0}
    assert written["cpu_phases"]["training"] == 17.5
    found = timing.read_timing(tmp_path)
    assert found is not None and found.phases == written["phases"]
    assert found.began <= found.ended


@pytest.mark.parametrize("text", ["", "[]", '{"began": 1, "ended": 2, "phases": {"training": 3}}'])
def test_damaged_timing_is_none(tmp_path, text):
    (tmp_path / timing.TIMING_FILE).write_text(text)
    assert timing.read_timing(tmp_path) is None
