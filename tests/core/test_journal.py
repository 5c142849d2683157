"""The journal of an artefact: lines with a time, the last of which tells how it stands."""

import re
from datetime import datetime

from swdb.core import journal
from swdb.core.journal import Journal, Times, last_lines, times_of


def test_lines_are_appended_with_a_time(tmp_path):
    one = Journal(tmp_path, "dual-s0-0123456789")
    one.begin()
    one.note("error: the loss is nan\n  at step 3")
    first, second = (tmp_path / "logs" / "dual-s0-0123456789.log").read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d begun by process \d+ on .+", first)
    assert second[20:] == "error: the loss is nan at step 3"
    assert last_lines(one.path) == [second]
    assert last_lines(one.path, 5) == [first, second]


def test_how_far_the_work_is_is_noted_now_and_then(tmp_path, monkeypatch):
    told = []
    one = Journal(tmp_path, "a")
    advance = one.watched("a", lambda *at: told.append(at))
    advance(1, 9)
    advance(2, 9)
    monkeypatch.setattr(journal, "EVERY", 0.0)
    one._due = 0.0
    advance(3, 0)
    assert told == [(1, 9), (2, 9), (3, 0)]
    assert [line[20:] for line in last_lines(one.path, 5)] == ["a: 1 of 9", "a: 3"]


def test_a_disk_that_takes_no_line_stops_nobody(tmp_path):
    (tmp_path / "logs").write_text("a file in the way")
    Journal(tmp_path, "a").note("something")
    assert last_lines(Journal(tmp_path, "a").path) == []


def test_only_the_end_of_a_long_journal_is_read(tmp_path):
    one = Journal(tmp_path, "a")
    one.path.parent.mkdir()
    one.path.write_text("x" * 100_000 + "\nlast\n\n")
    assert last_lines(one.path) == ["last"]


def test_a_journal_says_when_an_artefact_was_begun_and_finished(tmp_path):
    path = tmp_path / "a.log"
    assert times_of(path) == Times(None, None)
    path.write_text(
        "2026-01-01 10:00:00 begun by process 1 on a\n2026-01-01 10:00:01 finished with the masks\nno time finished\n"
        "2026-01-02 11:00:00 begun by process 2 on b\n2026-01-02 12:30:00 finished\n"
    )
    assert times_of(path) == Times(datetime(2026, 1, 1, 10), datetime(2026, 1, 2, 12, 30))
