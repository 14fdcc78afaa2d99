"""Following a log, and showing it."""

import errno
import logging
import sys

import pytest

from lazyllm.jobs import display, output


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "output.log"
    path.touch()
    return path


def append(path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_lines_come_when_they_are_whole(log):
    follower = output.Follower(log)
    append(log, b"one\ntw")
    assert list(follower.lines()) == ["one"]
    append(log, b"o\n\nlast \xff\xc3")
    assert list(follower.lines()) == ["two", ""]
    append(log, b"\xa9")
    assert list(follower.lines(final=True)) == ["last �é"] and list(follower.lines(final=True)) == []


def test_rewritten_lines_count_once(log):
    follower = output.Follower(log)
    append(log, b" 1%\r 2%\r 3%\nwindows\r\n" + b"4%\r" * 100_000)
    assert list(follower.lines()) == [" 3%", "windows"]
    assert len(follower._rest) < output.LONGEST
    append(log, b"5%")
    assert list(follower.lines(final=True)) == ["5%"]


def test_an_endless_line_comes_in_pieces(log):
    follower = output.Follower(log)
    append(log, b"x" * 3_000_000 + b"\nend\n")
    lines = list(follower.lines())
    assert max(map(len, lines)) == output.LONGEST and sum(map(len, lines)) == 3_000_003 and lines[-1] == "end"


def test_skip(log):
    follower = output.Follower(log)
    append(log, b"0123456789\nabc\n")
    assert follower.skip_to_last(4) == 11 and list(follower.lines()) == ["abc"] and follower.skip_to_last(4) == 0


def test_a_writer_that_is_ahead_is_no_endless_read(log):
    append(log, b"a\nb\n")
    follower, found = output.Follower(log), []
    for line in follower.lines(final=True):
        found.append(line)
        append(log, b"more\n")
        assert len(found) < 10
    assert found == ["a", "b"] and list(follower.lines()) == ["more"] * 2


def test_so_many_bytes_at_a_time(log):
    append(log, b"one\ntwo\nthree\n")
    follower = output.Follower(log)
    assert [list(follower.lines(size=6)) for _ in range(3)] == [["one"], ["two"], ["three"]]
    log.write_bytes(b"")
    assert list(follower.lines(final=True)) == []


def test_the_last_lines_are_found_from_the_end(log, monkeypatch):
    import tracemalloc

    for chunk in (1, 3, 4, 1 << 20):
        monkeypatch.setattr(output, "CHUNK", chunk)
        for text in (b"", b"\n", b"a", b"a\n", b"\n\n", b"ab\ncd\n\nef", b"ab\ncd\n\nef\n"):
            log.write_bytes(text)
            every = text.removesuffix(b"\n").split(b"\n") if text else []
            for count in range(6):
                follower = output.Follower(log)
                follower.skip_to_lines(count)
                expected = [line.decode() for line in every[len(every) - min(count, len(every)) :]]
                assert list(follower.lines(final=True)) == expected, (chunk, text, count)
    log.write_bytes(b"0123456789abcde\n" * (1 << 21))
    follower = output.Follower(log)
    tracemalloc.start()
    follower.skip_to_lines(5)
    assert len(list(follower.lines())) == 5 and tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "text, count, expected",
    [(b"", 3, []), (b"a\nb\n", 1, ["b"]), (b"a\nb", 5, ["a", "b"]), (b"a\n\n", 2, ["a", ""]), (b"a", 0, [])],
)
def test_tail(log, text, count, expected):
    log.write_bytes(text)
    assert output.tail(log, count) == expected


def test_last_words_are_short(log):
    log.write_bytes(b"x" * 1000 + b"\n" + b"y\n" * 30)
    assert output.last_words(log) == "\n".join(["y"] * 20)
    log.write_bytes(b"x" * 1000)
    assert output.last_words(log) == "x" * 500 + " …"
    assert output.last_words(log.with_name("absent")) == ""


def test_last_words_are_no_progress(log):
    log.write_bytes(b"why\n" + b"".join(b"[progress] train %d/30\n" % n for n in range(30)) + b"[progressive] x\n")
    assert output.last_words(log) == "why\n[progressive] x"


@pytest.fixture
def shown(caplog):
    logger = logging.getLogger("lazyllm")
    logger.addHandler(caplog.handler)
    yield lambda: [record.getMessage() for record in caplog.records]
    logger.removeHandler(caplog.handler)


def test_what_is_news_is_not_held_back(shown):
    view = display.Display("job")
    lines = ["train 39/40", "train 40/40", "merge 0/3 loading", "merge 1/3 merged", "check 1/500", "check 2/500"]
    for line in lines:
        view.line(f"[progress] {line}")
    assert shown() == [f"job: [progress] {line}" for line in lines[:-1]]


def test_progress_is_throttled_without_a_terminal(shown):
    view = display.Display("job")
    for n in range(1000):
        view.line(f"[progress] train {n}/1000 loss=1.0")
    view.line("something else")
    view.close()
    assert shown() == [
        "job: [progress] train 0/1000 loss=1.0",
        "job: something else",
        "job: [progress] train 999/1000 loss=1.0",
    ]


def test_the_last_step_is_shown(shown):
    view = display.Display("job")
    view.line("[progress] load 1/2")
    view.line("[progress] load 2/2")
    view.close()
    assert shown() == ["job: [progress] load 1/2", "job: [progress] load 2/2"]


def test_a_bar_on_a_terminal(monkeypatch, shown):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    view = display.Display("job")
    view.line("[progress] train 5/10 loss=0.5 eta=3s")
    view.line("[not markup] a line")
    view.line("[progress] train 10/10 loss=0.4")
    view.close()
    text = terminal.getvalue()
    assert "job train" in text and "10/10" in text and "loss=0.4" in text and "job: [not markup] a line" in text
    assert shown() == []


def test_a_terminal_that_goes_away_ends_what_is_shown_and_nothing_else(monkeypatch, shown):
    import io

    class Terminal(io.StringIO):
        gone = False

        def isatty(self):
            return True

        def write(self, text):
            if self.gone:
                raise OSError(errno.EIO, "Input/output error")
            return super().write(text)

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    view = display.Display("job")
    view.line("[progress] train 1/10 [/data/no-markup.json]")
    assert "[/data/no-markup.json]" in terminal.getvalue() and "1/10" in terminal.getvalue()
    terminal.gone = True
    view.line("a line")
    view.line("[progress] train 2/10")
    view.close()


def test_no_stderr_at_all(monkeypatch, shown):
    monkeypatch.setattr(sys, "stderr", None)
    view = display.Display("job")
    view.line("[progress] train 1/2")
    view.close()
    assert shown() == ["job: [progress] train 1/2"]
