"""JSON lines on standard output; readable on a terminal. Ids and codes only: never a customer's words, names or addresses."""

import logging
import sys

import structlog


def configure_log(service: str, level: str) -> None:
    """Send every log line, those of libraries too, to standard output in one form."""
    shared_steps: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        _without_exception_text,
    ]
    last: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stdout.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared_steps, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_steps,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _without_exception_text(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """An exception's text may quote a customer: its frames stay, its words go."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info and info[0] is not None:
        event["exception"] = info[0].__name__
        event["frames"] = _frames(info[2])
    return event


def _frames(trace: object) -> list[str]:
    frames: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code  # type: ignore[attr-defined]
        frames.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}:{code.co_name}")  # type: ignore[attr-defined]
        trace = trace.tb_next  # type: ignore[attr-defined]
    return frames[-8:]


def where(error: BaseException) -> str:
    """File and line of a bug, without its text, which may quote a customer."""
    frames = _frames(error.__traceback__)
    return frames[-1] if frames else "unknown"
