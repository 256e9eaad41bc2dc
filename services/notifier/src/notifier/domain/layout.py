"""The HTML part: the very words of the plain part, set out as paragraphs and lists.

Made from the finished text, which comes in as data and is escaped: nothing of it is markup, and nothing is rendered again.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

_BULLET = re.compile(r"- (?P<text>.*)")
_NUMBERED = re.compile(r"(?P<number>\d{1,3})\. (?P<text>.*)")


class Line(NamedTuple):
    """A line, without the mark of a list; `number` is that of a numbered one."""

    tag: str
    text: str
    number: str = ""


class Block(NamedTuple):
    """A paragraph (`p`) or a list (`ul`, `ol`)."""

    tag: str
    lines: tuple[Line, ...]


def blocks(body: str) -> Iterator[Block]:
    """The text as paragraphs, which an empty line ends, and lists."""
    for paragraph in re.split(r"\n\s*\n", body.strip()):
        for tag, lines in groupby(map(_line, paragraph.splitlines()), key=lambda line: line.tag):
            yield Block(tag, tuple(lines))


def _line(line: str) -> Line:
    if bullet := _BULLET.fullmatch(line):
        return Line("ul", bullet["text"])
    if numbered := _NUMBERED.fullmatch(line):
        return Line("ol", numbered["text"], numbered["number"])
    return Line("p", line)
