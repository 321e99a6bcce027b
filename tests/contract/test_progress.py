"""The progress line, written and read."""

from contract import progress


def test_round_trip(capsys):
    progress.write({"step": 3, "loss": 0.5})
    line = capsys.readouterr().out.encode()
    assert progress.parse(line) == {"step": 3, "loss": 0.5}


def test_other_lines_are_ignored():
    assert progress.parse(b"epoch 3\n") is None
    assert progress.parse(b"@progress {\n") is None
    assert progress.parse(b"@progress [3]\n") is None
    assert progress.parse(b"@progress \xff\n") is None


def test_enabled_by_variable(monkeypatch):
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    assert not progress.is_asked_for()
    monkeypatch.setenv(progress.VARIABLE, "1")
    assert progress.is_asked_for()
