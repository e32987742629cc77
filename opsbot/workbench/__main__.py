"""Run the workbench alone: `python -m opsbot.workbench --manifest manifest.json`."""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from opsbot.workbench.server import Workbench


def main() -> None:
    """Start a workbench and print where it is and how to point the app at it."""
    parser = argparse.ArgumentParser(prog="python -m opsbot.workbench", description="A local stand-in for Slack.")
    parser.add_argument("--port", type=int, default=8765, help="TCP port on 127.0.0.1, 0 for any (default 8765)")
    parser.add_argument("--manifest", type=Path, help="the app's manifest.json; without it everything is allowed")
    parser.add_argument("--mode", choices=("socket", "http"), default="socket", help="how the app is reached")
    parser.add_argument("--events-url", default="", help="where the app listens in mode http")
    parser.add_argument("--signing-secret", default="", help="what requests are signed with in mode http")
    options = parser.parse_args()
    manifest = json.loads(options.manifest.read_text(encoding="utf-8")) if options.manifest else None
    bench = Workbench(manifest, options.port, options.mode, options.events_url, options.signing_secret)
    # A bot that outlives this process remembers event ids; a second run must not repeat them.
    bench.workspace.ids.skip(int(time.time()))
    try:
        asyncio.run(_serve(bench))
    except KeyboardInterrupt:
        sys.exit(0)


async def _serve(bench: Workbench) -> None:
    url = await bench.start()
    lines = [f"workbench: {url}", *(f"export {name}={value}" for name, value in bench.environment.items())]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
