"""The service the demo restarts: a small web server with a health page. Standard library only."""

import argparse
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Page(BaseHTTPRequestHandler):
    started = time.monotonic()

    def do_GET(self) -> None:
        """Answer /health and / with who is running, anything else with 404."""
        known = self.path in ("/", "/health")
        facts = {"ok": known, "pid": os.getpid(), "uptime_s": round(time.monotonic() - self.started, 1)}
        body = json.dumps(facts).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve on 127.0.0.1 until terminated."""
    parser = argparse.ArgumentParser(description="The demo service.")
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    server = ThreadingHTTPServer(("127.0.0.1", port), _Page)
    sys.stdout.write(f"demo service {os.getpid()} listens on 127.0.0.1:{port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
