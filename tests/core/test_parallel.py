"""Mapping over all cores: in order, a bounded number ahead, stopped by an error or by whoever stops reading."""

import threading

import pytest

from swdb.core import parallel
from swdb.core.parallel import AHEAD, in_order


@pytest.fixture(params=[1, 2, 5])
def cores(request, monkeypatch) -> int:
    """Let the machine have so many cores."""
    monkeypatch.setattr(parallel, "usable_cores", lambda: request.param)
    return request.param


class Drawn:
    """Numbers without end, and how many of them were taken."""

    def __init__(self):
        self.count = 0

    def __iter__(self):
        return self

    def __next__(self) -> int:
        self.count += 1
        return self.count - 1


def test_results_come_in_the_order_of_the_items(cores):
    second = threading.Event()

    def square(item: int) -> int:
        if item == 0 and cores > 1:
            assert second.wait(60)  # the first item is finished after the second one
        if item == 1:
            second.set()
        return item**2

    assert list(in_order(square, range(50))) == [item**2 for item in range(50)]


def test_items_are_worked_on_at_the_same_time(cores):
    together = threading.Barrier(cores, timeout=60)
    assert len(list(in_order(lambda item: together.wait(), range(2 * cores)))) == 2 * cores


@pytest.mark.parametrize("items", [[], (), iter([])])
def test_no_items_have_no_results(cores, items):
    assert list(in_order(str, items)) == []


@pytest.mark.parametrize("count", [1, 3, AHEAD * 5 + 1])
def test_fewer_or_more_items_than_the_queue_holds_are_all_there(cores, count):
    assert list(in_order(str, iter(range(count)))) == [str(item) for item in range(count)]


def test_nothing_is_drawn_before_the_first_result_is_asked_for(cores):
    drawn = Drawn()
    in_order(str, drawn)
    assert drawn.count == 0


def test_items_are_drawn_a_bounded_number_ahead_of_the_reader(cores):
    drawn = Drawn()
    results = in_order(str, drawn)
    for read in range(1, 40):
        assert next(results) == str(read - 1)
        assert read <= drawn.count <= read + AHEAD * cores
    results.close()


def test_an_error_arrives_in_its_turn_and_stops_the_drawing(cores):
    drawn, read = Drawn(), []
    with pytest.raises(ZeroDivisionError):
        for result in in_order(lambda item: 1 / (7 - item), drawn):
            read.append(result)
    assert read == [1 / (7 - item) for item in range(7)]
    assert drawn.count <= 8 + AHEAD * cores


def test_an_error_of_the_items_arrives(cores):
    def items():
        yield from range(3)
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        list(in_order(str, items()))


def test_whoever_stops_reading_stops_the_rest(monkeypatch):
    monkeypatch.setattr(parallel, "usable_cores", lambda: 1)
    begun, over = [], threading.Event()

    class Pool(parallel.ThreadPoolExecutor):
        def shutdown(self, *arguments, **options):
            over.set()
            super().shutdown(*arguments, **options)

    def work(item: int) -> int:
        begun.append(item)
        assert item == 0 or over.wait(60)  # the one worker is busy with the second item until the pool is closed
        return item

    monkeypatch.setattr(parallel, "ThreadPoolExecutor", Pool)
    drawn = Drawn()
    results = in_order(work, drawn)
    assert next(results) == 0
    results.close()
    assert drawn.count == AHEAD and begun in ([0], [0, 1])  # the others were waiting and never begin


def test_no_thread_is_left_when_the_reader_is_gone(cores):
    before = threading.active_count()
    for _ in in_order(str, Drawn()):
        break
    assert threading.active_count() == before
