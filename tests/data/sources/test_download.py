"""Downloads end whole or resumed, whatever the server or the disk does."""

import errno
import hashlib
import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from swdb.core.errors import BadInput, DiskRefused, MissingArtefact, SwdbError
from swdb.core.progress import Advance, silent
from swdb.data.sources import download
from swdb.data.sources.download import SBD, VOC2012, Download, check_md5, fetch

CONTENT = random.Random(1).randbytes(300_000)
HALF = len(CONTENT) // 2


def published(url: str = "http://127.0.0.1:9/voc.tar", content: bytes = CONTENT) -> Download:
    return Download("voc.tar", url, hashlib.md5(content).hexdigest())


# ---------------------------------------------------------------- sums


@pytest.mark.parametrize("archive", [VOC2012, SBD], ids=lambda archive: archive.name)
def test_the_official_archives_have_a_sum_and_are_named_as_published(archive):
    assert archive.url.startswith("http") and archive.url.endswith("/" + archive.name)
    assert len(bytes.fromhex(archive.md5)) == 16


def test_a_right_sum_passes_and_progress_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CHUNK", 100_000)
    (tmp_path / "voc.tar").write_bytes(CONTENT)
    told = []
    check_md5(tmp_path / "voc.tar", published(), lambda done, of: told.append((done, of)))
    assert told == [(100_000, 300_000), (200_000, 300_000), (300_000, 300_000)]


def test_a_wrong_sum_is_refused_with_both(tmp_path):
    (tmp_path / "voc.tar").write_bytes(CONTENT[1:])
    with pytest.raises(BadInput) as caught:
        check_md5(tmp_path / "voc.tar", published(), silent())
    assert caught.value.subject == tmp_path / "voc.tar"
    assert hashlib.md5(CONTENT[1:]).hexdigest() in caught.value.found and published().md5 in caught.value.expected


def test_no_file_to_sum_is_a_missing_artefact(tmp_path):
    with pytest.raises(MissingArtefact) as caught:
        check_md5(tmp_path / "voc.tar", published(), silent())
    assert caught.value.subject == tmp_path / "voc.tar" and "cannot be read" in caught.value.found


# ---------------------------------------------------------------- downloads

Answer = Callable[[BaseHTTPRequestHandler], None]


class Origin:
    """A server that gives scripted answers, the last one again and again, and remembers what it was asked and sent."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [serve()]
        self.ranges: list[str | None] = []
        self.sent = 0

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.ranges.append(handler.headers["Range"])
        (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(handler)


def send(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, object], body: bytes = b"") -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, str(value))
    handler.end_headers()
    handler.wfile.write(body)
    handler.server.origin.sent += len(body)


def serve(content: bytes = CONTENT, ranges: bool = True, most: int | None = None) -> Answer:
    """Answer as a decent server does, but break the connection after `most` bytes."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked, size = handler.headers["Range"], len(content)
        if not asked or not ranges:
            send(handler, 200, {"Content-Length": size}, content[:most])
        elif (start := int(asked.removeprefix("bytes=").removesuffix("-"))) >= size:
            send(handler, 416, {"Content-Range": f"bytes */{size}", "Content-Length": 0})
        else:
            span = {"Content-Range": f"bytes {start}-{size - 1}/{size}", "Content-Length": size - start}
            send(handler, 206, span, content[start:][:most])

    return answer


def say(status: int, headers: dict[str, object] | None = None, body: bytes = b"") -> Answer:
    return lambda handler: send(handler, status, headers or {"Content-Length": len(body)}, body)


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Break the connection hard, in the middle of the body."""
    send(handler, 200, {"Content-Length": len(CONTENT)}, CONTENT[:HALF])
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


@pytest.fixture
def origin(monkeypatch) -> Iterator[Origin]:
    """A server on this machine; `origin.download` is what it publishes."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    origin = Origin()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            origin.answer(self)

        def log_message(self, *arguments):
            pass

    class Server(HTTPServer):
        def handle_error(self, request, address):
            pass  # a client that went away

    with Server(("127.0.0.1", 0), Handler) as server:
        server.origin = origin
        origin.download = published(f"http://127.0.0.1:{server.server_port}/voc.tar")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield origin
        server.shutdown()
        thread.join()


def got(origin: Origin, folder: Path, advance: Advance | None = None, **options: object) -> Path:
    """Fetch without pauses and check that the file is whole and alone."""
    path = fetch(origin.download, folder, advance or silent(), pause=0, **options)
    assert path == folder / "voc.tar" and path.read_bytes() == CONTENT
    assert [entry.name for entry in folder.iterdir()] == ["voc.tar"]
    return path


def refused(origin: Origin, folder: Path, kind: type[SwdbError] = BadInput, **options: object) -> SwdbError:
    """Fetch in vain; returns the error."""
    with pytest.raises(SwdbError) as caught:
        fetch(origin.download, folder, silent(), pause=0, **options)
    assert type(caught.value) is kind and str(caught.value).isprintable()
    return caught.value


def given_up(origin: Origin, folder: Path, **options: object) -> str:
    """Fetch what does not come; returns what was found, in an error that says all that is needed to go on by hand."""
    error = refused(origin, folder, MissingArtefact, **options)
    assert error.subject == origin.download.url and origin.download.md5 in error.expected
    assert not (folder / "voc.tar").exists()
    return error.found


def part_of(folder: Path, content: bytes = CONTENT[:HALF]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / ".voc.tar.part").write_bytes(content)
    return folder / ".voc.tar.part"


def test_a_download_arrives_in_a_folder_that_was_not_there(origin, tmp_path):
    got(origin, tmp_path / "new" / "folder")
    assert origin.ranges == [None] and origin.sent == len(CONTENT)


def test_a_download_tells_how_far_it_is(origin, tmp_path):
    told = []
    got(origin, tmp_path, lambda done, of: told.append((done, of)))
    assert told == sorted(told) and told[-1] == (len(CONTENT), len(CONTENT))
    assert {of for _, of in told} == {len(CONTENT)}


def test_a_file_that_is_there_and_right_is_not_fetched(origin, tmp_path):
    (tmp_path / "voc.tar").write_bytes(CONTENT)
    got(origin, tmp_path)
    assert origin.ranges == []


def test_a_file_that_is_there_and_wrong_is_refused_and_left_alone(origin, tmp_path):
    (tmp_path / "voc.tar").write_bytes(b"mine")
    assert refused(origin, tmp_path).subject == tmp_path / "voc.tar"
    assert (tmp_path / "voc.tar").read_bytes() == b"mine" and origin.ranges == []


def test_a_broken_connection_goes_on_where_it_was_and_fetches_no_byte_twice(origin, tmp_path):
    origin.answers = [serve(most=HALF), serve(most=1000), serve()]
    got(origin, tmp_path)
    assert origin.ranges == [None, f"bytes={HALF}-", f"bytes={HALF + 1000}-"]
    assert origin.sent == len(CONTENT)


def test_a_connection_that_is_reset_is_tried_again(origin, tmp_path):
    origin.answers = [reset, serve()]
    got(origin, tmp_path)
    assert len(origin.ranges) == 2


def test_a_part_of_an_earlier_command_is_used(origin, tmp_path):
    part_of(tmp_path)
    got(origin, tmp_path)
    assert origin.ranges == [f"bytes={HALF}-"] and origin.sent == len(CONTENT) - HALF


def test_progress_of_a_resumed_download_counts_what_was_there(origin, tmp_path):
    part_of(tmp_path)
    told = []
    got(origin, tmp_path, lambda done, of: told.append((done, of)))
    assert told[0][0] > HALF and told[-1] == (len(CONTENT), len(CONTENT))


def test_a_part_that_is_whole_already_needs_only_its_sum(origin, tmp_path):
    part_of(tmp_path, CONTENT)
    got(origin, tmp_path)
    assert origin.ranges == [f"bytes={len(CONTENT)}-"] and origin.sent == 0


def test_a_part_that_is_too_long_is_deleted(origin, tmp_path):
    part = part_of(tmp_path, CONTENT + b"more")
    assert "deleted" in refused(origin, tmp_path).found
    assert not part.exists()
    got(origin, tmp_path)


def test_a_server_without_ranges_begins_again(origin, tmp_path):
    part_of(tmp_path)
    origin.answers = [serve(ranges=False)]
    got(origin, tmp_path)
    assert origin.ranges == [f"bytes={HALF}-"] and origin.sent == len(CONTENT)


@pytest.mark.parametrize(
    ("span", "body"),
    [
        (f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}", CONTENT),  # not what was asked for
        (f"bytes {HALF}-{len(CONTENT)}/{len(CONTENT)}", CONTENT[HALF:] + b"x"),  # ends behind the end
        (f"bytes {HALF}-{HALF + 9}/{len(CONTENT)}", CONTENT[HALF:]),  # announces ten bytes, and another length
        (f"bytes {HALF}-", CONTENT[HALF:]),
        ("bytes */*", CONTENT[HALF:]),
        ("", CONTENT[HALF:]),
    ],
)
def test_a_range_that_was_not_asked_for_is_never_written(origin, tmp_path, span, body):
    part = part_of(tmp_path)
    origin.answers = [say(206, {"Content-Length": len(body), "Content-Range": span}, body)]
    assert f"asked for the bytes from {HALF} on" in given_up(origin, tmp_path, retries=1)
    assert part.read_bytes() == CONTENT[:HALF]
    origin.answers = [serve()]
    got(origin, tmp_path)


def test_a_body_that_is_always_too_short_is_given_up_and_the_part_stays(origin, tmp_path):
    origin.answers = [serve(most=1000)]
    assert f"the connection ended after 3,000 of {len(CONTENT):,} bytes" in given_up(origin, tmp_path, retries=2)
    assert (tmp_path / ".voc.tar.part").read_bytes() == CONTENT[:3000]


def test_a_file_longer_than_published_has_the_wrong_sum(origin, tmp_path):
    origin.answers = [serve(CONTENT + b"more")]
    assert hashlib.md5(CONTENT + b"more").hexdigest() in refused(origin, tmp_path).found
    assert list(tmp_path.iterdir()) == []


def test_more_bytes_than_announced_are_not_taken(origin, tmp_path):
    origin.answers = [say(200, {"Content-Length": len(CONTENT)}, CONTENT + b"more")]
    got(origin, tmp_path)


def test_more_bytes_than_the_range_announced_are_refused(origin, tmp_path):
    part = part_of(tmp_path, CONTENT[:-10])

    def answer(handler):
        handler.protocol_version = "HTTP/1.1"
        span = f"bytes {len(CONTENT) - 10}-{len(CONTENT) - 1}/{len(CONTENT)}"
        body = b"f\r\n" + CONTENT[-10:] + b"more!\r\n0\r\n\r\n"
        send(handler, 206, {"Content-Range": span, "Transfer-Encoding": "chunked", "Connection": "close"}, body)

    origin.answers = [answer]
    assert f"sends more than the {len(CONTENT):,} bytes it announced" in given_up(origin, tmp_path, retries=1)
    assert part.read_bytes() == CONTENT[:-10]


def test_a_server_that_announces_no_length_is_read_to_its_end(origin, tmp_path):
    origin.answers = [say(200, {"Connection": "close"}, CONTENT)]
    got(origin, tmp_path)


def test_a_wrong_sum_deletes_what_came_and_names_both_sums(origin, tmp_path):
    wrong = bytes(len(CONTENT))
    origin.answers = [serve(wrong)]
    error = refused(origin, tmp_path)
    assert error.subject == origin.download.url
    assert hashlib.md5(wrong).hexdigest() in error.found and origin.download.md5 in error.expected
    assert list(tmp_path.iterdir()) == [] and len(origin.ranges) == 1


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_the_server_does_not_have_is_not_asked_for_again(origin, tmp_path, status):
    origin.answers = [say(status)]
    assert f"HTTP Error {status}" in given_up(origin, tmp_path)
    assert len(origin.ranges) == 1


def test_what_a_server_says_cannot_write_to_the_terminal(origin, tmp_path):
    origin.answers = [lambda handler: handler.wfile.write(b"HTTP/1.0 404 \x1b[31mgone\r\n\r\n")]
    assert "404: [31mgone" in given_up(origin, tmp_path)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_trouble_that_passes_is_waited_for(origin, tmp_path, status):
    origin.answers = [say(status), say(status), serve()]
    got(origin, tmp_path)
    assert len(origin.ranges) == 3


def test_an_answer_without_a_file_is_tried_again(origin, tmp_path):
    origin.answers = [say(204), serve()]
    got(origin, tmp_path)


def test_an_answer_that_is_not_http_is_tried_again(origin, tmp_path):
    origin.answers = [lambda handler: handler.wfile.write(b"220 ready\r\n"), serve()]
    got(origin, tmp_path)


def test_a_server_that_falls_silent_is_tried_again(origin, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    given_up_on = threading.Event()

    def fall_silent(handler):
        send(handler, 200, {"Content-Length": len(CONTENT)}, CONTENT[:HALF])
        handler.wfile.flush()
        handler.connection.settimeout(20)
        assert handler.connection.recv(1) == b""  # until the client hangs up
        given_up_on.set()

    origin.answers = [fall_silent, serve()]
    got(origin, tmp_path, retries=20)
    assert given_up_on.is_set() and origin.ranges[-1] == f"bytes={HALF}-"


def test_a_server_that_is_away_is_given_up(origin, tmp_path):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        origin.download = published(f"http://127.0.0.1:{taken.getsockname()[1]}/voc.tar")
        assert "Connection refused" in given_up(origin, tmp_path, retries=2)


def test_pauses_double_from_try_to_try(origin, tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(download.time, "sleep", slept.append)
    origin.answers = [say(500)]
    with pytest.raises(MissingArtefact):
        fetch(origin.download, tmp_path, silent(), retries=4, pause=0.5)
    assert slept == [0.5, 1.0, 2.0, 4.0] and len(origin.ranges) == 5


def test_an_interrupted_download_keeps_its_part_and_goes_on(origin, tmp_path):
    reached = []

    def interrupt(done, of):
        reached.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(origin.download, tmp_path, interrupt, pause=0)
    assert (tmp_path / ".voc.tar.part").read_bytes() == CONTENT[: reached[0]]
    got(origin, tmp_path)
    assert origin.ranges == [None, f"bytes={reached[0]}-"]


def test_a_disk_without_room_for_the_rest_is_refused_before_anything_is_written(origin, tmp_path, monkeypatch):
    part = part_of(tmp_path)
    room = SimpleNamespace(free=len(CONTENT) - HALF - 1)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: room)
    error = refused(origin, tmp_path, DiskRefused)
    assert error.subject == part and "are free" in error.found and "are needed" in error.found
    assert part.read_bytes() == CONTENT[:HALF]


def test_a_disk_with_just_enough_room_for_the_rest_is_enough(origin, tmp_path, monkeypatch):
    part_of(tmp_path)
    room = SimpleNamespace(free=len(CONTENT) - HALF)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: room)
    got(origin, tmp_path)


def test_a_disk_that_fills_up_meanwhile_is_named_and_keeps_the_part(origin, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    error = refused(origin, tmp_path, DiskRefused)
    assert error.subject == tmp_path / ".voc.tar.part" and "full" in error.found
    assert error.subject.exists() and len(origin.ranges) == 1


def test_a_file_in_the_way_of_the_folder_is_named(origin, tmp_path):
    (tmp_path / "file").write_text("")
    error = refused(origin, tmp_path / "file" / "folder", DiskRefused)
    assert error.subject.is_relative_to(tmp_path / "file") and "is a file" in error.found
