"""A command that runs services: its processes, where they listen, and their end."""

import subprocess
import sys
from contextlib import suppress
from typing import Any

import psutil

COMMAND = [sys.executable, "-c", "from americano_pipelines.cli import main; main()"]
# What a shell starts in its background ignores INT, and so does what that starts; a service manager may ignore TERM.
DEAF = ["sh", "-c", "trap '' INT TERM; exec \"$@\"", "sh", *COMMAND]


def family_of(process: psutil.Process) -> list[psutil.Process]:
    """A process and all below it."""
    return [process, *process.children(recursive=True)]


def listening_addresses(family: list[psutil.Process]) -> set[tuple[str, int]]:
    """Where processes listen for connections."""
    addresses: set[Any] = set()
    for process in family:
        with suppress(psutil.NoSuchProcess):
            addresses |= {c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    return {(address.ip, address.port) for address in addresses}


def end_family(
    process: "subprocess.Popen[bytes]", family: list[psutil.Process], number: int, *, seconds: float, others: float = 20
) -> None:
    """Send the first process a signal; nothing of its family may be left.

    Args:
        process: the first of the family.
        family: all of it, as it was before.
        number: the signal.
        seconds: how long the first may take to end.
        others: how long the others may take then.
    """
    alive = family[1:]
    try:
        process.send_signal(number)
        process.wait(timeout=seconds)
        _, alive = psutil.wait_procs(family[1:], timeout=others)
    finally:
        for left in family:
            with suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait(timeout=10)
    assert alive == [], f"still running: {[process.cmdline() for process in alive]}"
