"""Child processes that do not outlive their parent, not even when it is killed."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

PORTS = range(20_000, 32_000)
"""What `free_port` hands out. Never of the range from which the kernel takes ports for outgoing connections: while an engine is
down, a client that keeps trying to reconnect could be given the very port and hold it."""
AUTOGROUP_TRIES = 20

# The kernel sends the death signal when the *thread* that started the child ends, so that all children are started by
# one thread that lives as long as this process.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
_handed_out: set[int] = set()


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    options: Sequence[str] = (),
    niceness: int = 0,
) -> subprocess.Popen[bytes]:
    """A process whose output goes to `log`. It is sent `death_signal` when this process dies in whatever way.

    It leads a session of its own: a Ctrl-C on the terminal reaches its parent alone, which then stops things in order.
    `options` are further ones of setpriv(1). Without setpriv (macOS) only the orderly ways of dying are covered.
    `niceness` is nice(1)'s, 0 to 19; more lets the others go first.
    """
    setpriv = shutil.which("setpriv")
    wrapper = [setpriv, "--pdeathsig", death_signal.name.removeprefix("SIG"), *options] if setpriv else []

    def popen() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*wrapper, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        if niceness:
            _make_nice(process.pid, niceness)
        return process

    return _starter.submit(popen).result()


def _make_nice(leader: int, niceness: int) -> None:
    """Its session as well: where Linux hands out the processors by session (sched(7), autogroup), nice(1) counts within one."""
    os.setpriority(os.PRIO_PROCESS, leader, niceness)
    autogroup = Path(f"/proc/{leader}/autogroup")
    for _ in range(AUTOGROUP_TRIES):
        try:
            autogroup.write_text(str(niceness))
        except BlockingIOError:  # the kernel takes ten a second from those who are not root
            time.sleep(0.05)
        except OSError:  # no autogroups, not ours to change, or it has ended already
            return
        else:
            return


def run(command: Sequence[str | Path], *, log: Path, options: Sequence[str] = (), text: str = "") -> None:
    """Run it to its end, with `text` as its input.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    wrapper = ["setpriv", *options] if options else []
    with log.open("ab") as output:
        subprocess.run(
            [*wrapper, *map(str, command)], input=text.encode(), stdout=output, stderr=subprocess.STDOUT, check=True
        )


def stop(process: subprocess.Popen[bytes], *, by: signal.Signals = signal.SIGTERM, within_seconds: float = 15) -> int:
    """Ask the process to end, kill it when it does not; its exit status."""
    if process.poll() is None:
        process.send_signal(by)
        try:
            return process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def is_root() -> bool:
    return os.name == "posix" and os.geteuid() == 0


def free_port(preferred: int | None = None) -> int:
    """`preferred` if nothing listens there, else a free port that was not handed out before; on 127.0.0.1."""
    others = [port for port in random.sample(PORTS, 200) if port not in _handed_out]
    for port in [preferred, *others] if preferred else others:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _handed_out.add(port)
            return port
    raise OSError("no free port")


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


class _Interrupted(BaseException):
    """SIGTERM or SIGINT arrived."""


@contextmanager
def until_signalled() -> Iterator[None]:
    """A block of the main thread that is left at the first SIGTERM or SIGINT. Later ones are ignored: the end is under way."""

    def interrupt(_number: int, _frame: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        raise _Interrupted

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    with suppress(_Interrupted):
        yield
