"""`python -m deploy run` keeps the whole system up; `python -m deploy demo` plays a sample day over one of its own."""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from deploy import processes
from deploy.demo.installation import Installation
from deploy.demo.play import play
from deploy.engines import EngineError
from deploy.provider import provide_engines
from deploy.stack import Stack, StackError
from shared.errors import TransientFailure


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="start everything, restart what dies, until SIGTERM or Ctrl-C")
    run.add_argument("--directory", type=Path, default=Path(".run"), help="data, logs, endpoints.json (default .run)")
    run.add_argument("--replicas", type=int, default=1, help="processes of each service (default 1)")
    run.set_defaults(command=_run)
    demo = commands.add_parser("demo", help="play a sample day")
    demo.add_argument(
        "--endpoints",
        type=Path,
        default=os.environ.get("SUPPORT_ENDPOINTS"),
        help="play over the running system of this endpoints.json (default SUPPORT_ENDPOINTS, else one of its own)",
    )
    demo.set_defaults(command=_demo)
    arguments = parser.parse_args()
    try:
        return int(arguments.command(arguments))
    except (EngineError, StackError, TransientFailure) as error:
        print(error, file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    started_at = time.monotonic()
    directory = arguments.directory.resolve()
    engines = provide_engines(directory, usual_ports=True)
    stack = Stack(directory, engines, replicas=arguments.replicas, usual_ports=True)
    try:
        with processes.until_signalled():
            stack.start()
            print(f"Everything is ready after {time.monotonic() - started_at:.1f} s.\n")
            for process in stack.processes:
                print(f"  {process.name:<16} {process.url}")
            print(f"  {'mail catcher':<16} {stack.catcher.url}")
            print(f"  {'Kafka':<16} {stack.engines.kafka_address}")
            print(
                f"\nAddresses and API key: {stack.endpoints_file}. Logs: {directory / 'log'}. Ctrl-C stops everything."
            )
            sys.stdout.flush()
            stack.supervise()
    finally:
        stack.stop()
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    if arguments.endpoints is not None:
        return _play(Path(arguments.endpoints))
    directory = Path(tempfile.mkdtemp(prefix="support-demo-"))
    stack = Stack(directory, provide_engines(directory))
    status = 1
    try:
        with processes.until_signalled():
            stack.start()
            status = _play(stack.endpoints_file)
            if sys.stdin.isatty() and sys.stdout.isatty():
                print("Everything stays up until Ctrl-C.")
                stack.supervise()
    finally:
        stack.stop()
        if status == 0:
            shutil.rmtree(directory)
        else:
            print(f"The logs are kept in {directory / 'log'}", file=sys.stderr)
    return status


def _play(endpoints_file: Path) -> int:
    return 0 if asyncio.run(play(Installation.of(endpoints_file))) else 1


if __name__ == "__main__":
    sys.exit(main())
