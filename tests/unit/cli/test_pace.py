"""Progress: what a terminal shows, and what a log holds."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from tests.unit.cli.conftest import TINY

from pellucid.cli import pace, talk


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still; the test sets it."""
    now = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch):
    """Stderr as a terminal of 100 columns."""

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    stream = Terminal()
    monkeypatch.setattr(pace, "sys", SimpleNamespace(stderr=stream))
    monkeypatch.setattr(pace, "DRAW_EVERY", 0.0)
    monkeypatch.setenv("COLUMNS", "100")
    return stream


def seen(stream, columns=100):
    """What stands in the line, one state after the other; nothing may reach its end, where terminals wrap."""
    row, rows = "", []
    for part in re.split("\r", stream.getvalue())[1:]:
        assert "\n" not in part and len(part) < columns
        row = part + row[len(part) :]
        rows += [row.rstrip()] if rows[-1:] != [row.rstrip()] else []
    return rows


def test_off_a_terminal_progress_is_lines_with_the_time_left(run, cat, monkeypatch):
    monkeypatch.setattr(pace, "LOG_EVERY", 0.0)
    words = ("explain", TINY, cat, "-m", "ig,sg", "--rows", "4")
    told = [line for line in run(*words).stderr.splitlines() if "rows, about" in line]
    assert told and all(line.endswith("s left") for line in told)
    for silent in ("--no-progress", "-q"):
        assert "rows, about" not in run(*words, silent).stderr


def test_what_is_piped_on_holds_no_progress(run, cat, monkeypatch):
    monkeypatch.setattr(pace, "LOG_EVERY", 0.0)
    words = ("explain", TINY, cat, "-m", "sg", "--rows", "4")
    told = run(*words)
    assert " rows, " in told.stderr
    assert re.sub(r"[\d.]+ s", "", told.stdout) == re.sub(r"[\d.]+ s", "", run(*words, "--no-progress").stdout)


def test_the_time_left_is_that_of_rows_not_of_what_came_before(clock, capsys):
    with talk.progress(talk.Talk()) as shown:
        for now, done in ((0, 0), (100, 1), (101, 2), (111, 12), (112, 13)):
            clock[0] = now
            shown(done, 52)
    assert capsys.readouterr().err.splitlines() == ["2 of 52 rows, about 50 s left", "12 of 52 rows, about 40 s left"]


def test_lines_of_what_nobody_knows_the_end_of(clock, capsys):
    with talk.progress(talk.Talk()) as shown:
        for now, done in enumerate((0, 100, 200, 300)):
            clock[0] = 10.0 * now
            shown(done, max(100, done))
    assert capsys.readouterr().err.splitlines() == [f"{n} rows, and more as they are needed" for n in (200, 300)]


def test_on_a_terminal_progress_is_a_bar_that_ends_and_goes(clock, terminal):
    with talk.progress(talk.Talk()) as shown:
        for now, done in enumerate((0, 20, 60, 100, 199, 200)):
            clock[0] = 10.0 * now
            shown(done, 200)
    *rows, gone = seen(terminal)
    assert [row.split("%")[0].strip() for row in rows] == ["0", "10", "30", "50", "99", "100"]
    assert rows[2].endswith("60 of 200 rows, 00:35 left")  # 40 rows in 10 s
    assert rows[-1].endswith("| 200 of 200 rows, 00:00 left")
    assert [row.count("█") for row in rows] == sorted(row.count("█") for row in rows)
    assert set(rows[-1].split("|")[1]) == {"█"} and len(set(map(len, rows[2:]))) == 1 and gone == ""


def test_a_bar_is_drawn_now_and_then_and_at_the_end(terminal, monkeypatch):
    monkeypatch.setattr(pace, "DRAW_EVERY", 3600.0)
    with talk.progress(talk.Talk()) as shown:
        for done in range(101):
            shown(done, 100)
    first, last, gone = seen(terminal)
    assert "0 %" in first and "100 of 100" in last and gone == ""


def test_where_a_method_goes_on_the_bar_says_that_nobody_knows_the_end(clock, terminal):
    with talk.progress(talk.Talk()) as shown:
        for now, (done, total) in enumerate([(0, 10), (10, 10), (20, 20), (25, 40), (40, 40), (0, 3), (3, 3)]):
            clock[0] = float(now)
            shown(done, total)
    rows = seen(terminal)
    assert "100 %" in rows[1] and [r.strip() for r in rows[2:5]] == [
        f"{n} rows, and more as they are needed" for n in (20, 25, 40)
    ]
    assert rows[5] == "" and "0 of 3" in rows[6] and "100 %" in rows[7]  # something else has begun


@pytest.mark.parametrize("columns", [12, 30, 45, 80])
def test_a_bar_stays_within_the_terminal(clock, terminal, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    with talk.progress(talk.Talk()) as shown:
        for now, done in enumerate((0, 50, 900, 1000)):
            clock[0] = float(now)
            shown(done, 1000)
    assert any("%" in row for row in seen(terminal, columns))


def test_nothing_is_drawn_where_nothing_is_done(terminal):
    with pytest.raises(ZeroDivisionError), talk.progress(talk.Talk()):
        _ = 1 / 0
    assert terminal.getvalue() == ""
