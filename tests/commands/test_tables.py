"""Names and sentences in lines of limited width, and the tables that are made of them."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from lightbus.cli.tables import Cell, Column, Table, Verdict
from lightbus.cli.wording import middle, paragraph, some

COLUMNS = (Column("state"), Column("name", least=8), Column("unread", is_number=True), Column("by", least=6))
ROWS: list[tuple[Cell, ...]] = [
    (Verdict("ok"), "order-management-service-listener", 1_204, ("p1", "process-2", "p3")),
    (Verdict("unserved", 2), "short", 0, ()),
    (Verdict("dead", 1), "日本語の名前は長い", 7, ("p1",)),
]


def printed(width: int | None, rows: list[tuple[Cell, ...]] = ROWS) -> list[str]:
    table = Table(COLUMNS, width)
    for row in rows:
        table.add(*row)
    return [line.plain for line in table.lines()]


@pytest.mark.parametrize("width", range(1, 40))
@pytest.mark.parametrize("name", ["order-management-service", "日本語の名前は長い", "x", ""])
def test_a_name_that_is_cut_keeps_its_beginning_and_its_end(name: str, width: int) -> None:
    cut = middle(name, width)
    assert cell_len(cut) <= width
    if cell_len(name) <= width:
        assert cut == name
    else:
        start, dots, end = cut.partition("…")
        assert dots and name.startswith(start) and name.endswith(end)


def test_of_a_list_whole_names_are_shown_and_the_others_counted() -> None:
    names = ("mailer", "late", "audit")
    assert some(names, 40) == "mailer, late, audit"
    assert some(names, 18) == "mailer, late +1"
    assert some(names, 9) == "mailer +2"
    assert some(names, 7) == "ma…r +2"
    assert some((), 5) == ""


def test_a_sentence_breaks_between_its_words() -> None:
    assert paragraph("one two three", 8, "! ") == ["! one", "  two", "  three"]
    assert paragraph("one two three", None, "! ") == ["! one two three"]
    assert paragraph("redis://a-very-long-address", 8) == ["redis://a-very-long-address"]


@pytest.mark.parametrize("width", [48, 60, 120])
def test_on_a_terminal_each_row_is_one_line_that_fits(width: int) -> None:
    lines = printed(width)
    assert len(lines) == 4 and all(cell_len(line) <= width for line in lines)
    assert "1,204" in lines[1] and lines[2].rstrip().endswith("-")


def test_a_program_gets_whole_names_plain_digits_and_two_spaces_between_cells() -> None:
    lines = printed(None)
    assert lines[1].split("  ")[-1] == "p1, process-2, p3"
    cells = [cell.strip() for cell in lines[1].split("  ") if cell.strip()]
    assert cells == ["ok", "order-management-service-listener", "1204", "p1, process-2, p3"]
    assert [line.split()[0] for line in lines] == ["state", "ok", "unserved", "dead"]


def test_without_rows_there_are_no_titles(capsys: pytest.CaptureFixture[str]) -> None:
    with Table(COLUMNS, 80):
        pass
    assert capsys.readouterr().out == ""


def test_rows_without_end_are_printed_while_they_come_below_one_line_of_titles(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table(COLUMNS, 80)
    for _ in range(250):
        table.add(*ROWS[1])
    so_far = capsys.readouterr().out.splitlines()
    table.flush()
    rest = capsys.readouterr().out.splitlines()
    assert (len(so_far), len(rest)) == (251, 0)
    assert [line for line in so_far if line.startswith("state")] == so_far[:1]


def test_names_from_the_bus_can_not_speak_to_the_terminal() -> None:
    lines = printed(80, [(Verdict("ok"), "a\x1b[2Jb\nc", 0, ("p\r1",))])
    assert len(lines) == 2 and not any(c in lines[1] for c in "\x1b\r\n")


def test_a_sentence_below_a_row_is_broken_into_lines() -> None:
    table = Table([Column("who"), Column("what", least=4)], 20)
    table.add("ann", "paused", below="the provider of mails is down")
    table.add("bob", "resumed")
    assert [line.plain for line in table.lines()] == [
        "who  what",
        "ann  paused",
        "    the provider of",
        "    mails is down",
        "bob  resumed",
    ]
