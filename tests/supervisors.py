"""A real supervisord (the PyPI package) in a folder of its own, for tests: a web service, and three that misbehave."""

import subprocess
import sys
import time
from pathlib import Path

from opsbot.domain import Connection, HealthCheck, Host, ServiceManager

# The service binds a free port, says which, and answers every request.
_WEB = """
import http.server, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
pathlib.Path("web.new").write_text(str(server.server_address[1]))
pathlib.Path("web.new").replace("web.port")
print("web is up", flush=True); print("a warning", file=sys.stderr, flush=True)
server.serve_forever()
"""
_CONFIG = """
[unix_http_server]
file={folder}/s
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
# Its own: a supervisord that starts removes the automatic logs of every other one with the same folder.
childlogdir={folder}
nodaemon=true
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/s
[program:web]
command={python} {folder}/web.py 0
directory={folder}
stdout_logfile={folder}/web.out
stderr_logfile={folder}/web.err
startsecs=0
[program:asleep]
command=sleep 1000
autostart=false
[program:broken]
command=sh -c 'echo "config error: line 7" >&2; exit 78'
autostart=false
startretries=0
startsecs=1
[program:brittle]
command=sh -c 'test ! -e {folder}/broken || {{ echo "config error: line 7" >&2; exit 78; }}; exec sleep 1000'
startsecs=1
startretries=0
[program:pair]
command=sleep 1000
process_name=%(program_name)s_%(process_num)d
numprocs=2
autostart=false
startsecs=0
"""


class Supervisor:
    """Started by the constructor, ended by `stop`. `host` is what the inventory would say of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "web.py").write_text(_WEB)
        self.config = folder / "supervisord.conf"
        self.config.write_text(_CONFIG.format(folder=folder, python=sys.executable))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self.config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_until_up()

    @property
    def host(self) -> Host:
        return Host(
            "lap",
            connection=Connection.LOCAL,
            units=("web", "brittle"),
            health={"web": HealthCheck(url=f"http://127.0.0.1:{self.port}/")},
            service_manager=ServiceManager.SUPERVISORD,
            service_command=self.command(self.config),
        )

    @staticmethod
    def command(config: Path) -> tuple[str, ...]:
        """The supervisorctl that talks to the supervisord of this configuration file."""
        return (sys.executable, "-m", "supervisor.supervisorctl", "-c", str(config))

    @property
    def port(self) -> int:
        return int((self.folder / "web.port").read_text())

    def wait_for_new_port(self, old: int) -> None:
        """Wait until the restarted `web` has bound its next port."""
        deadline = time.monotonic() + 60
        while self.port == old and time.monotonic() < deadline:
            time.sleep(0.05)

    def break_brittle(self) -> None:
        """From now on `brittle` fails to start."""
        (self.folder / "broken").touch()

    def stop(self) -> None:
        """End supervisord, which ends its services."""
        self._process.terminate()
        self._process.wait(30)

    def _is_up(self) -> bool:
        """The socket is there, and supervisord has written down what the web service said on both streams."""
        logs = [self.folder / "web.out", self.folder / "web.err"]
        return (self.folder / "s").exists() and all(log.exists() and log.read_text() for log in logs)

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 60
        while not self._is_up():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                raise RuntimeError((self.folder / "supervisord.log").read_text())
            time.sleep(0.05)
