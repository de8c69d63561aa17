"""The language of documentation, docstrings and messages, as far as a pattern can judge it."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

NOT_ENGLISH = re.compile(
    r"(?<!there )\b(?:is|are) no (?!longer\b|more\b|less\b|fewer\b|better\b|different\b|one\b)\w+"
    r"|(?<![a-z])(?<!may )lacks?(?![a-z])"
    r"|\btells? (?:which|whether)\b"
    r"|\bstands?\b(?![ -](?:for|alone|by|out|up|still)\b)"
    r"|\b(?:is|are) to be\b"
    r"|\b(?:is|are) taken for\b"
    r"|\bruns? at once\b"
    r"|\bof one's own\b"
    r"|\bso to say\b",
    re.IGNORECASE,
)
WORD_LIST = re.compile(r"^\| don't write .*?\n\n", re.MULTILINE | re.DOTALL)
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("src/**/*.md")])
FILES = [*PAGES, *(path for room in ("src", "tools") for path in sorted((ROOT / room).rglob("*.py")))]


def name_of(path: Path) -> str:
    """The file's name for the report."""
    return path.relative_to(ROOT).as_posix()


def test_every_row_of_the_word_list_is_recognised() -> None:
    (table,) = WORD_LIST.findall((ROOT / "CONTRIBUTING.md").read_text())
    for row in table.strip().splitlines()[2:]:
        bad, good = (cell.strip() for cell in row.strip("|").split("|"))
        for phrase in bad.split(", "):
            assert NOT_ENGLISH.search(phrase), phrase
        assert not NOT_ENGLISH.search(good), good


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_text_uses_a_phrase_of_the_word_list(path: Path) -> None:
    text = WORD_LIST.sub("", path.read_text())
    text = re.sub(r"\s+(?:#\s+|\*\s+)?", " ", text)  # a phrase may go on in the next line
    found = [text[max(0, match.start() - 30) : match.end() + 30] for match in NOT_ENGLISH.finditer(text)]
    assert not found


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_no_line_of_a_page_is_longer_than_120_columns(path: Path) -> None:
    text = path.read_text()
    if path.name == "BENCHMARKS.md":  # it is measured, and some of its tables have many columns
        text = re.sub(r"^\|.*", "", text, flags=re.MULTILINE)
    assert not [line for line in CODE_BLOCK.sub("", text).splitlines() if len(line) > 120]
