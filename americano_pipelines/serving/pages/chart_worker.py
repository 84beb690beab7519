"""Draw charts in a process of its own.

The drawing keeps Python's lock for 0.1 to 2 s and takes 80 MB: in the service, no request would be answered meanwhile.
"""

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any

from americano_pipelines.serving.problem_details import Problem, busy

_SECONDS, _MAX_BYTES = 60.0, 16 << 20


class ChartWorker:
    """One such process, started for the first chart; it ends with the service, whose end closes its input."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the process in the background, if it does not run: its first drawing takes seconds."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())

    async def svg(self, spec: dict[str, Any]) -> str:
        """The drawing of a Vega-Lite specification.

        Raises:
            Problem: 500, it cannot be drawn; 503, it took too long.
        """
        await self._take_turn()
        try:
            try:
                answer = await asyncio.wait_for(self._drawn(spec), _SECONDS)
            except BaseException as error:
                # Also where the client is gone: the next one must not read the answer to this one.
                self.end()
                if isinstance(error, TimeoutError):
                    raise _too_slow() from None
                raise
        finally:
            self._turn.release()
        if not answer:
            self.end()
            raise Problem(500, "not-drawn", "the process that draws charts has failed")
        document: dict[str, str] = json.loads(answer)
        if "error" in document:
            raise Problem(500, "not-drawn", f"this chart cannot be drawn: {document['error']}")
        return document["svg"]

    async def _take_turn(self) -> None:
        """Wait for the drawings before this one.

        Raises:
            Problem: 503, they take too long.
        """
        try:
            await asyncio.wait_for(self._turn.acquire(), _SECONDS)
        except TimeoutError:
            raise _too_slow() from None

    async def _start(self) -> None:
        async with self._turn:
            await self._running()

    async def _drawn(self, spec: dict[str, Any]) -> bytes:
        process = await self._running()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process was started without pipes")
        with suppress(ConnectionError):  # it has ended; its output shows that
            process.stdin.write(json.dumps(spec).encode() + b"\n")
            await process.stdin.drain()
        return await process.stdout.readline()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                __name__,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=_MAX_BYTES,
            )
        return self._process

    def end(self) -> None:
        """End the process; the next drawing starts another."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process = None


def _too_slow() -> Problem:
    return busy("the charts take too long on this machine at this moment", 30)


def main() -> None:
    """Draw one specification a line, until the input ends."""
    import vl_convert

    vl_convert.vegalite_to_svg({"mark": "point", "data": {"values": []}})
    for line in sys.stdin:
        try:
            answer = {"svg": vl_convert.vegalite_to_svg(json.loads(line))}
        except ValueError as error:
            answer = {"error": str(error)[:300]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
