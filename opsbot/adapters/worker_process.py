"""A script run as a process of its own for one job: bytes in, bytes out, with limits, nothing inherited, no zombie."""

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

# What a script's last words are kept of.
_SAID_BYTES = 2000


# The exit status of a script that will not do this job; its last words say why.
REFUSED = 3


class WorkerFailed(Exception):
    """There is no result; the text says why, `detail` what else is known. `refused`: the script itself said no."""

    def __init__(self, why: str, detail: str = "", *, refused: bool = False) -> None:
        super().__init__(why)
        self.detail = detail
        self.refused = refused


@dataclass(slots=True)
class WorkerProcess:
    """Runs `script`. `what` names its work ("drawing"); `max_bytes`: the most it may say.

    `environment` is all it has of variables, besides a folder of its own for those in `folder_variables`.
    """

    script: Path
    what: str
    time_limit_s: float
    max_bytes: int
    environment: Mapping[str, str]
    folder_variables: Sequence[str] = ("HOME", "TMPDIR")
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None)

    async def run(self, job: bytes) -> bytes:
        """Give a fresh process the job, and return what it wrote to stdout.

        Raises:
            WorkerFailed: it could not be started, took too long, said too much, or ended badly.
        """
        try:
            process = await self._start()
        except OSError as error:
            raise WorkerFailed(f"the {self.what} process could not be started", str(error)) from error
        try:
            made, said = await asyncio.wait_for(self._talk(process, job), self.time_limit_s)
        except TimeoutError:
            raise WorkerFailed(f"{self.what} took longer than {self.time_limit_s:g} s") from None
        finally:
            await _end(process)
        if process.returncode != 0:
            last = said[-_SAID_BYTES:].decode("utf-8", "replace")
            raise WorkerFailed(f"the {self.what} process failed", last, refused=process.returncode == REFUSED)
        return made

    def close(self) -> None:
        """Remove the worker's folder."""
        if self._folder is not None:
            self._folder.cleanup()

    async def _start(self) -> Process:
        """Start the worker with nothing of ours: no variables, no home, no modules but the installed ones."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix=f"opsbot-{self.what}-")
        folder = self._folder.name
        surroundings = {**dict.fromkeys(self.folder_variables, folder), **self.environment}
        if "SYSTEMROOT" in os.environ:  # without it no program starts on Windows
            surroundings["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
        return await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-X", "utf8", str(self.script), stdin=PIPE, stdout=PIPE, stderr=PIPE,
            cwd=folder, env=surroundings, start_new_session=True, limit=1024 * 1024,
        )  # fmt: skip

    async def _talk(self, process: Process, job: bytes) -> tuple[bytes, bytes]:
        """Give the worker its job and take what it answers, never more than it may say."""
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise WorkerFailed(f"the {self.what} process has no ears")
        _, made, said = await asyncio.gather(
            _give(process.stdin, job), self._read(process.stdout), self._read(process.stderr)
        )
        await process.wait()
        return made, said

    async def _read(self, stream: asyncio.StreamReader) -> bytes:
        taken: list[bytes] = []
        size_bytes = 0
        while piece := await stream.read(65536):
            taken.append(piece)
            size_bytes += len(piece)
            if size_bytes > self.max_bytes:
                raise WorkerFailed(f"the {self.what} process said too much")
        return b"".join(taken)


async def _give(stdin: asyncio.StreamWriter, job: bytes) -> None:
    with suppress(ConnectionError):  # it ended early; its exit status says so
        stdin.write(job)
        await stdin.drain()
        stdin.close()


async def _end(process: Process) -> None:
    """Kill what still runs and collect it, also when we are being cancelled: no zombie may stay."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
