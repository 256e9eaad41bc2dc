"""The examples: `examples/*.tsv`, one a line: label, language, text. All were written for this project.

A label is a subcategory, a category where only that is certain, or `none` for what belongs to no category.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from shared.vocabulary import CATEGORY_OF, Category, Subcategory

NONE = "none"


@dataclass(frozen=True, slots=True)
class Example:
    """A text and what it is about; without a category it is about none of them."""

    file: str
    category: Category | None
    subcategory: Subcategory | None
    language: str
    text: str


def read_examples() -> list[Example]:
    """All examples, in the order of files and lines.

    Raises:
        ValueError: a line has not three columns, or its label is no word of C1.
    """
    return [
        _example(file, number, line)
        for file, content in _contents()
        for number, line in enumerate(content.splitlines(), start=1)
    ]


def hash_of_examples() -> str:
    """Hex digits that stand for every line."""
    return hashlib.sha256("".join(name + content for name, content in _contents()).encode()).hexdigest()


def _contents() -> list[tuple[str, str]]:
    folder = files("router.training") / "examples"
    return sorted((file.name, file.read_text(encoding="utf-8")) for file in folder.iterdir())


def _example(file: str, number: int, line: str) -> Example:
    try:
        label, language, text = line.split("\t")
        if label == NONE:
            return Example(file, None, None, language, text)
        if label in set(Category):
            return Example(file, Category(label), None, language, text)
        subcategory = Subcategory(label)
    except ValueError as error:
        raise ValueError(f"{file}:{number}: {error}") from None
    return Example(file, CATEGORY_OF[subcategory], subcategory, language, text)
