"""Reads the policy from its text: the numbers of one file, and the words of one file a language."""

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from shared.policy.model import Policy


@cache
def load_policy(numbers: str | None = None) -> Policy:
    """The policy of this text, else the one that ships; the words that ship where the text brings none of its own.

    Raises:
        yaml.YAMLError: it is not YAML.
        pydantic.ValidationError: a number is missing, odd or contradicts another; a pattern cannot be read.
    """
    document = _read((files("shared.policy") / "policy.yaml").read_text() if numbers is None else numbers)
    if isinstance(document, dict) and "words" not in document:
        document["words"] = shipped_words()
    return Policy.model_validate(document)


def shipped_words() -> dict[str, Any]:
    """By language, the content of each file in `words/`."""
    folder = files("shared.policy") / "words"
    found = {file.name.removesuffix(".yaml"): file for file in folder.iterdir() if file.name.endswith(".yaml")}
    return {language: _read(found[language].read_text()) for language in sorted(found)}


def _read(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)
