"""What is wrong with the calendar of a policy file, line by line (L2, L3)."""

from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from console.services import Unanswered
from shared.policy.calendar_check import Finding, Place, Weight, check_document, dotted


def check_file(file: Path | None, today: date) -> tuple[list[str], bool]:
    """The findings as lines, errors first, and whether the calendar would be accepted; without a file of the policy that ships.

    Raises:
        Unanswered: the file cannot be read.
    """
    name = str(file) if file is not None else "policy.yaml"
    try:
        text = (file if file is not None else files("shared.policy") / "policy.yaml").read_text()
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
        document = yaml.load(text, Loader=yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError):
        raise Unanswered(f"{name} cannot be read as YAML") from None
    found = sorted(check_document(document, today), key=lambda one: one.weight is Weight.WARNING)
    errors = sum(one.weight is Weight.ERROR for one in found)
    lines = [_told(finding, name, root) for finding in found]
    return [*lines, f"{errors} errors, {len(found) - errors} warnings"], not errors


def _told(finding: Finding, name: str, root: Any) -> str:
    line = _line(root, finding.place)
    return f"{name}:{line}: {finding.weight}: {dotted(finding.place)}: {finding.text} ({finding.code})"


def _line(node: Any, place: Place) -> int:
    """The line on which a place stands, or what it would stand in."""
    line = 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            key, node = found
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
