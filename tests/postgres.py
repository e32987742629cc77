"""A real PostgreSQL from the system's package, started once per test run and ended with it.

Without the package the tests that need it are skipped, or fail if POSTGRES_REQUIRED=1.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

_USER = "opsbot"


class PostgresServer:
    """One server of its own, on a Unix socket in a temporary folder, with durable commits."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # PostgreSQL refuses to run as root.
        self._account = _unprivileged() if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="opsbot-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        if self._account:
            os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
        self._run(
            ["initdb", "-D", str(self._folder / "data"), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        words = ["postgres", "-D", str(self._folder / "data"), "-k", str(self._folder)]
        for setting in ("listen_addresses=", "fsync=on", "max_connections=60"):
            words += ["-c", setting]
        with (self._folder / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command(words),
                stdout=output,
                stderr=output,
                cwd=self._folder,
                **self._identity(),
            )
        self._run(["pg_isready", "-h", str(self._folder), "-U", _USER], attempts=240)

    def stop(self) -> None:
        """End it at once, as `pg_ctl stop -m fast` does: sessions are cut."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str) -> str:
        return f"postgresql://{_USER}@/{database}?host={self._folder}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.url(database), autocommit=True)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of a new, empty database; it is dropped afterwards."""
        name = f"test_{uuid.uuid4().hex}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        yield self.url(name)
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _command(self, words: list[str]) -> list[str]:
        return [str(self._programs / words[0]), *words[1:]]

    def _identity(self) -> dict:
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _run(self, words: list[str], *, attempts: int = 1) -> None:
        for _ in range(attempts):
            done = subprocess.run(
                self._command(words), capture_output=True, text=True, cwd=self._folder, **self._identity()
            )
            if done.returncode == 0:
                return
            with contextlib.suppress(subprocess.TimeoutExpired, AttributeError):
                # Ends the wait early when the server itself has ended.
                self._process.wait(0.25)
        raise RuntimeError(f"{words[0]} failed: {done.stderr or done.stdout}\n{self._log()}")

    def _log(self) -> str:
        log = self._folder / "server.log"
        return log.read_text()[-2000:] if log.exists() else ""


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _programs() -> Path | None:
    """Return the newest version's folder, as Debian lays them out, or the one on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The test run's PostgreSQL."""
    programs = _programs()
    if programs is None:
        reason = "PostgreSQL is not installed (Debian: apt install postgresql)"
        if os.environ.get("POSTGRES_REQUIRED") == "1":
            pytest.fail(f"{reason}, and POSTGRES_REQUIRED=1")
        pytest.skip(reason)
    server = PostgresServer(programs)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """A new, empty database."""
    with postgres.database() as url:
        yield url
