"""The `opsbot` command: picks what to run, and alone decides about exit codes."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from opsbot import __version__
from opsbot.cli_parser import build_parser
from opsbot.errors import ConfigError, OpsbotError


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
    sys.exit(main())
