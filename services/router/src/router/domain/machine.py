"""Was it a machine that wrote? By the marks of its mail; what its words say is a pattern of the policy."""

from collections.abc import Mapping
from typing import Any

_QUIET = {"no", "none", ""}
_BULK = {"bulk", "junk", "list", "auto_reply"}


def is_machine_mail(attributes: Mapping[str, Any] | None) -> bool:
    """Whether the marks of RFC 3834 and their like stand among the ticket's attributes, in any case of letters.

    A delivery report (`multipart/report`), an empty return path, `Auto-Submitted` other than no, `Precedence: bulk`.
    """
    marks = {
        name.lower().replace("-", "_"): value.strip().lower()
        for name, value in (attributes or {}).items()
        if isinstance(value, str)
    }
    return (
        marks.get("auto_submitted", "no").split(";")[0] not in _QUIET
        or marks.get("precedence", "").replace("-", "_") in _BULK
        or marks.get("x_auto_response_suppress", "") not in _QUIET
        or marks.get("content_type", "").startswith("multipart/report")
        or marks.get("return_path") == "<>"
        or "x_failed_recipients" in marks
    )
