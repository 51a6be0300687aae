"""Lines reach a slow reader complete and in order, and keep nobody waiting for one who has stopped."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from lightbus.runtime import output
from lightbus.runtime.output import Output
from tests.support.eventually import eventually


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader may be held up for a while on a busy machine, but it reads."""
    for name in ("PATIENCE", "_LAST_PATIENCE", "_LONGEST_FLUSH"):
        monkeypatch.setattr(output, name, 60.0)


class Pipe:
    """A descriptor to write to, which is full after a while, and a reader."""

    def __init__(self, kind: str) -> None:
        if kind == "pipe":
            self.read_end, self.write_end = os.pipe()
        elif kind == "terminal":
            self.read_end, self.write_end = os.openpty()
        else:
            ends = socket.socketpair()
            self.read_end, self.write_end = (end.detach() for end in ends)
        self.seen = b""

    def read(self, size: int = 1 << 16) -> None:
        self.seen += os.read(self.read_end, size)

    def read_until(self, text: bytes) -> None:
        while text not in self.seen:
            self.read()

    def read_until_end_of_line(self) -> None:
        while not self.seen.endswith(b"\n"):
            self.read()

    def numbers(self) -> list[int]:
        return [int(found) for found in re.findall(rb"line (\d+) ", self.seen)]

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self.write_end)


@pytest.fixture(params=["pipe", "socket", "terminal"])
def pipe(request: pytest.FixtureRequest) -> Iterator[Pipe]:
    it = Pipe(request.param)
    yield it
    it.close()


@pytest.fixture
def of_pipe() -> Iterator[Pipe]:
    it = Pipe("pipe")
    yield it
    it.close()


def dropped(lines: int) -> bytes:
    return b"dropped %d\n" % lines


def line(number: int) -> bytes:
    return b"line %d %s\n" % (number, b"x" * 200)


def test_a_line_is_there_at_once(pipe: Pipe) -> None:
    Output(pipe.write_end, dropped).write(b"hello\n")
    pipe.read()
    assert pipe.seen.strip() == b"hello"


def test_the_descriptor_stays_one_that_waits(pipe: Pipe) -> None:
    """Other programs may have it, too."""
    Output(pipe.write_end, dropped).write(b"hello\n")
    assert os.get_blocking(pipe.write_end)


def test_a_slow_reader_gets_all_in_order(pipe: Pipe) -> None:
    out = Output(pipe.write_end, dropped)
    for number in range(3000):
        out.write(line(number))
    reader = threading.Thread(target=pipe.read_until, args=(b"line 2999 ",), daemon=True)
    reader.start()
    assert out.flush()
    reader.join(60)
    assert pipe.numbers() == list(range(3000)) and b"dropped" not in pipe.seen


def test_a_reader_who_is_behind_makes_the_writer_wait_and_loses_nothing(
    of_pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "MOST_WAITING", 2000)
    reader = threading.Thread(target=of_pipe.read_until, args=(b"line 4999 ",), daemon=True)
    reader.start()
    out = Output(of_pipe.write_end, dropped)
    for number in range(5000):
        out.write(line(number))
    reader.join(60)
    assert of_pipe.numbers() == list(range(5000)) and b"dropped" not in of_pipe.seen


def test_nobody_waits_for_a_reader_who_has_stopped_and_what_is_dropped_is_counted(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "PATIENCE", 0.1)
    monkeypatch.setattr(output, "_LAST_PATIENCE", 0.1)
    out = Output(pipe.write_end, dropped)
    for number in range(20_000):
        out.write(line(number))
    assert not out.flush()
    pipe.read_until(b"dropped ")
    pipe.read_until_end_of_line()
    (count,) = re.findall(rb"dropped (\d+)", pipe.seen)
    numbers = pipe.numbers()
    assert numbers == list(range(len(numbers))) and len(numbers) + int(count) == 20_000
    out.write(b"again\n")
    pipe.read_until(b"again")


def test_several_threads_write_whole_lines(of_pipe: Pipe) -> None:
    out = Output(of_pipe.write_end, dropped)

    def write() -> None:
        for number in range(500):
            out.write(line(number))

    threads = [threading.Thread(target=write) for _ in range(4)]
    reader = threading.Thread(target=of_pipe.read_until, args=(b"the end",), daemon=True)
    for thread in [reader, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    out.write(b"the end\n")
    reader.join(60)
    assert sorted(of_pipe.seen.splitlines()) == sorted(
        [line(n).strip() for n in range(500)] * 4 + [b"the end"]
    )


def test_a_forked_process_does_not_write_the_lines_of_its_parent(of_pipe: Pipe) -> None:
    out = Output(of_pipe.write_end, dropped)
    for number in range(1000):
        out.write(line(number))
    child = get_context("fork").Process(target=out.write, args=(b"of the child\n",))
    child.start()
    of_pipe.read_until(b"line 999 ")
    child.join()
    eventually(lambda: out.flush())
    assert sorted(of_pipe.numbers()) == list(range(1000))


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as file:
        Output(file.fileno(), dropped).write(b"one\n")
        file.write("two\n")
        file.flush()
        Output(file.fileno(), dropped).write(b"three\n")
    assert path.read_text() == "one\ntwo\nthree\n"


def test_where_the_reader_is_gone_nothing_is_raised(of_pipe: Pipe) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    out = Output(write_end, dropped)
    out.write(b"hello\n")
    assert out.flush()
    os.close(write_end)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there is a pipe opened again")
def test_a_pipe_that_cannot_be_opened_again_keeps_nobody_waiting_either(
    of_pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    out = Output(of_pipe.write_end, dropped)
    monkeypatch.undo()
    for number in range(1000):
        out.write(line(number))
    of_pipe.read_until(b"line 999 ")
    assert of_pipe.numbers() == list(range(1000))


def test_letters_that_an_encoding_lacks_are_written_as_json_can_say_them() -> None:
    assert "é→😀".encode("latin-1", output.ESCAPED) == b"\xe9\\u2192\\ud83d\\ude00"
