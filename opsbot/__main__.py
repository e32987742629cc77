"""The `opsbot` command: picks what to run, and alone decides about exit codes."""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from opsbot import __version__
from opsbot.cli_parser import build_parser
from opsbot.errors import ConfigError, OpsbotError

# So long threads may take to end by themselves.
_THREADS_END_S = 0.5


def command() -> NoReturn:
    """Run one command and end the process with its exit code."""
    code = main()
    deadline = time.monotonic() + _THREADS_END_S
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    waiting = [thread for thread in others if not thread.daemon]
    for thread in waiting:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in waiting):
        # The interpreter would wait for a host that does not answer. What is to be kept is in the store already.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see `opsbot --help`)."""
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.version:
        print(f"opsbot {__version__}")
        return 0
    if options.command is None:
        parser.print_help()
        return 2
    # Here and nowhere else modules are imported late: --help must not pay for pydantic, rich or SQLAlchemy.
    run: Callable[..., int] = getattr(import_module(options.module), options.function)
    try:
        return run(options)
    except OpsbotError as error:
        for line in str(error).splitlines():
            print(f"opsbot: {line}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `opsbot tools | head`: the reader has what it wanted
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    command()
