"""A real supervisord with several services that are slow to stop, each on a host of its own, all starts counted."""

import subprocess
import sys
import time
from pathlib import Path

_SERVICE = """
import pathlib, signal, sys, time
def leave(*_):
    time.sleep({stop_s})
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
with pathlib.Path(sys.argv[1] + ".starts").open("a") as log:
    log.write("started\\n")
while True:
    time.sleep(60)
"""
_SUPERVISORD = """
[unix_http_server]
file={folder}/s
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
nodaemon=true
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/s
"""
_PROGRAM = """
[program:{unit}]
command={python} -S -E {folder}/service.py {unit}
directory={folder}
startsecs=0
stopwaitsecs=60
"""
_HOST = """
  {host}:
    connection: local
    service_manager: supervisord
    service_command: ["{python}", "-S", "-E", "{folder}/ctl.py"]
    units: [{unit}]
"""
# supervisorctl takes most of its time to start, so one that has started is forked for each call.
_CTL_SERVER = """
import json, os, signal, socket, sys
import supervisor.xmlrpc
from supervisor import supervisorctl

def answer(connection):
    words, descriptors, _, _ = socket.recv_fds(connection, 65536, 2)
    for number, descriptor in enumerate(descriptors, 1):
        os.dup2(descriptor, number)
    sys.argv = ["supervisorctl", "-c", "{folder}/supervisord.conf", *json.loads(words)]
    code = 1
    try:
        supervisorctl.main()
        code = 0
    except SystemExit as left:
        code = int(left.code or 0)
    finally:
        sys.stdout.flush()
        connection.sendall(bytes([code]))

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
door = socket.socket(socket.AF_UNIX)
door.bind("{folder}/ctl.new")
door.listen(64)
os.rename("{folder}/ctl.new", "{folder}/ctl")
while True:
    connection, _ = door.accept()
    if os.fork() == 0:
        try:
            answer(connection)
        finally:
            os._exit(0)
    connection.close()
"""
_CTL = """
import json, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect("{folder}/ctl")
socket.send_fds(connection, [json.dumps(sys.argv[1:]).encode()], [1, 2])
code = connection.recv(1)
sys.exit(code[0] if code else 1)
"""


class SlowServices:
    """`count` services `svc-N` on hosts `NAME-N`; ended by `stop`."""

    def __init__(self, folder: Path, count: int, *, stop_s: float = 0.3, name: str = "box") -> None:
        self.folder = folder
        self.count = count
        self._name = name
        (folder / "service.py").write_text(_SERVICE.format(stop_s=stop_s))
        (folder / "ctl.py").write_text(_CTL.format(folder=folder))
        (folder / "ctl_server.py").write_text(_CTL_SERVER.format(folder=folder))
        config = folder / "supervisord.conf"
        common = {"folder": folder, "python": sys.executable}
        programs = "".join(_PROGRAM.format(unit=f"svc-{n}", **common) for n in self.numbers)
        config.write_text(_SUPERVISORD.format(**common) + programs)
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._ctl = subprocess.Popen([sys.executable, str(folder / "ctl_server.py")])
        self._wait_until_up()

    @property
    def numbers(self) -> range:
        """The numbers of hosts and services."""
        return range(1, self.count + 1)

    def host(self, number: int) -> str:
        """The name of a service's host."""
        return f"{self._name}-{number}"

    def unit(self, number: int) -> str:
        """The name of a service."""
        return f"svc-{number}"

    @property
    def hosts(self) -> str:
        """The hosts' part of a configuration."""
        return "\nhosts:" + self.entries

    @property
    def entries(self) -> str:
        """The hosts alone."""
        common = {"folder": self.folder, "python": sys.executable}
        return "".join(_HOST.format(host=f"{self._name}-{n}", unit=f"svc-{n}", **common) for n in self.numbers)

    def starts(self, number: int) -> int:
        """How often this service was started, the first time included."""
        log = self.folder / f"svc-{number}.starts"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def stop(self) -> None:
        """End supervisord, which ends its services."""
        self._ctl.terminate()
        self._process.terminate()
        self._process.wait(90)
        self._ctl.wait(30)

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 60
        while not (all(self.starts(n) for n in self.numbers) and (self.folder / "ctl").exists()):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError("supervisord did not start its services")
            time.sleep(0.02)
