"""What the commands share: where each kind of output goes."""

import io
import logging
import sys

import pytest
from rich.console import Console

from metamae.cli.console import StderrHandler, fail, print_table, progress_bar, show_log


@pytest.fixture
def logger():
    logger = logging.getLogger("metamae")
    before = logger.handlers[:], logger.level, logger.propagate
    logger.handlers.clear()
    yield logger
    logger.handlers[:], logger.level, logger.propagate = before


def test_the_log_goes_to_standard_error_as_it_is_at_the_time(logger, capsys, monkeypatch):
    show_log()
    show_log()
    assert len(logger.handlers) == 1 and isinstance(logger.handlers[0], StderrHandler)
    logger.info("first")
    assert capsys.readouterr() == ("", "first\n")
    later = io.StringIO()
    monkeypatch.setattr(sys, "stderr", later)
    logger.info("%d of %s", 3, "second")
    assert later.getvalue() == "3 of second\n"


def test_no_bar_is_drawn_into_a_file(capsys):
    with progress_bar("learning") as bar:
        bar.update(bar.task_ids[0], completed=0.5, note="half")
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_drawn_on_a_terminal_and_lines_of_the_log_above_it(logger, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    show_log()
    with progress_bar("learning") as bar:
        logger.info("a line of the log")
        bar.update(bar.task_ids[0], completed=0.5, note="step 7")
        bar.refresh()
    shown = terminal.getvalue()
    assert "learning" in shown and "50%" in shown and "step 7" in shown
    assert "a line of the log\n" in shown


@pytest.mark.parametrize("text", ["[red]not a colour[/]", ":warning: 100 % \\[", "a" * 300, "ü→µ²"])
def test_messages_are_shown_as_they_are(capsys, text):
    fail(text)
    assert capsys.readouterr() == ("", f"error: {text}\n")


def test_tables_are_shown_as_they_are(capsys):
    print_table("a [b] :x:", ["name", "[0]"], [[":x:", "[bold]1[/bold]"]])
    out, err = capsys.readouterr()
    assert err == "" and all(text in out for text in (":x:", "[0]", "[bold]1[/bold]"))
    assert Console().width  # the library itself is as it was
