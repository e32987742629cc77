"""T27: nothing the model or a person writes leads to a connection; checks go to what the inventory lists alone."""

import inspect
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from opsbot.adapters import addresses
from opsbot.adapters.certificates import of_endpoint
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.probes import check_all, probe
from opsbot.adapters.ssh import ParamikoShell
from opsbot.config import parse
from opsbot.context import Context
from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import HealthCheck, Host, IncomingCommand, IncomingMessage
from opsbot.errors import ConfigError
from tests.safety.conftest import Figures, Scale
from tests.safety.network_watch import WATCH
from tests.scenario.house import ALICE, CHANNEL, HOSTS, THREAD, House, World
from tests.scripted_model import Say, call
from tests.ssh_servers import Keys, pin_of

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = load_tools([SHIPPED_TOOLS])
METADATA = "169.254.169.254"
# Ways to write a place nobody listed.
FORMS = (
    f"http://{METADATA}/",
    f"http://{METADATA}/latest/meta-data/iam/security-credentials/",
    f"http://{METADATA}:80/",
    f"https://{METADATA}/",
    f"HTTP://{METADATA}/",
    f"hTTp://{METADATA}",
    METADATA,
    f"{METADATA}:80",
    f"//{METADATA}/",
    "http://2852039166/",
    "http://0xA9FEA9FE/",
    "http://0xa9.0xfe.0xa9.0xfe/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://169.16689662/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://metadata/",
    "http://instance-data/latest/",
    f"http://{METADATA}.nip.io/",
    "http://rebind.example.net/",
    "http://rebind.example.net:8080/x?y=z#f",
    f"http://evil@{METADATA}/",
    f"http://web-1@{METADATA}/",
    f"http://web-1:80@{METADATA}/",
    f"http://{METADATA}@web-1/",
    f"http://{METADATA}#@web-1/",
    f"http://{METADATA}?@web-1/",
    f"http://web-1\\@{METADATA}/",
    f"http://web-1%2f@{METADATA}/",
    f"http:{METADATA}/",
    f"http:/{METADATA}/",
    f"http:///{METADATA}/",
    f"http:\\\\{METADATA}\\",
    f"http://{METADATA}%00.web-1/",
    f"http://{METADATA}\x00.web-1/",
    f"http://{METADATA}\r\nHost: web-1/",
    f"http://{METADATA} web-1/",
    f" http://{METADATA}/",
    f"\thttp://{METADATA}/",
    f"<http://{METADATA}/|web-1>",
    f"[web-1](http://{METADATA}/)",
    "http://１６９.２５４.１６９.２５４/",
    "http://①⑥⑨.②⑤④.①⑥⑨.②⑤④/",
    "http://169。254。169。254/",
    "http://localhost:22/",
    "http://127.0.0.1:5432/",
    "http://127.1/",
    "http://0/",
    "http://0.0.0.0:8080/",
    "http://[::]:8080/",
    "http://[::1]:5432/",
    "http://localtest.me/",
    "file:///etc/passwd",
    "file://localhost/etc/shadow",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/stats",
    f"ftp://{METADATA}/x",
    "ldap://127.0.0.1/",
    "sftp://root@192.0.2.66/",
    "ssh://root@192.0.2.66:22/",
    "tftp://192.0.2.66/x",
    "jar:http://192.0.2.66!/x",
    "data:text/html,<img src=http://192.0.2.66/>",
    "javascript:fetch('http://192.0.2.66/')",
    "unix:///var/run/docker.sock",
    "http+unix://%2fvar%2frun%2fdocker.sock/containers/json",
    "192.0.2.66",
    "192.0.2.66:80",
    "evil.example.net",
    "evil.example.net:443",
)
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REDIRECT = f"HTTP/1.1 302 Found\r\nLocation: http://{METADATA}/\r\nContent-Length: 0\r\n\r\n".encode()


class WebServer:
    """Answers every connection on loopback with these bytes."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(5)
                    with suppress(OSError):
                        self.requests.append(connection.recv(65536))
                        connection.sendall(self.answer)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def web() -> Iterator[WebServer]:
    server = WebServer(PAGE)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    WATCH.clear()
    WATCH.on = True
    yield
    WATCH.on = False


def world_of(folder: Path, port: int) -> World:
    """The house of the scenarios with the real way to hosts; what is listed is a closed port and one web server."""
    keys = Keys.make(folder)
    there = {"address": "127.0.0.1", "port": 9, "user": "bot", "key_file": str(keys.key_file)}
    health = {"nginx": HealthCheck(url=f"http://127.0.0.1:{port}/"), "brittle": HealthCheck(tcp=f"127.0.0.1:{port}")}
    hosts = {
        name: replace(host, host_key=pin_of(keys.host_key), health=health if name == "web-1" else {}, **there)
        for name, host in HOSTS.items()
    }
    machines = HostMachines(ParamikoShell(find=hosts.get), LocalShell())
    return World(machines=machines, hosts=hosts)  # type: ignore[arg-type]


# --- tools and entrances ---------------------------------------------------------------------------------------------


def test_no_tool_takes_an_address() -> None:
    """Hosts and services are names of the inventory; there is no argument for any other place."""
    names = {parameter.name for tool in REGISTRY.tools for parameter in tool.parameters}
    place = re.compile(r"(?:^|_)(?:url|uri|link|address|endpoint|port|host|target|proxy)s?(?:_|$)")
    assert not {name for name in names if place.search(name)}
    described = " ".join(p.description for tool in REGISTRY.tools for p in tool.parameters).lower()
    assert not re.search(r"\burl\b|\bip address\b", described)


def arguments_with(form: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Every tool, with the form in the place of each text, of the hosts, and of arguments it does not have."""
    for tool in REGISTRY.tools:
        texts = [
            p.name
            for p in tool.parameters
            if p.is_unit or p.is_container or "str" in inspect.formatannotation(p.annotation)
        ]
        real: dict[str, object] = {"hosts": ["web-1"]} if tool.takes_host else {}
        yield tool.name, {"hosts": [form]}
        yield tool.name, {**real, "url": form}
        for name in texts:
            yield tool.name, {**real, **dict.fromkeys(texts, "nginx"), name: form}


COMMANDS = ("http", "tcp", "dns", "certs", "status", "services", "ports", "history load", "logs nginx", "service nginx")


async def ask_everywhere(world: World, forms: list[str]) -> int:
    """Try each form by calls of the model, by commands, and as a message; return how often."""
    house = House(world)
    await house.start()
    tried = 0
    try:
        for position, form in enumerate(forms):
            thread = replace(THREAD, thread_id=f"27.{position}")
            for tool, arguments in arguments_with(form):
                world.model.add(Say(calls=(call(tool, **arguments),)), f"See {form}")
                await house.send(IncomingMessage(thread, ALICE, f"{tried}: look at {form}", f"m{tried}"))
                await house.quiet()
                tried += 1
            assert world.model.left == 0, "every call was really played"
            for command in COMMANDS:
                await house.send(IncomingCommand(CHANNEL, ALICE, f"{command} {form}", reply_to="r"))
                tried += 1
            for words in (
                f"do http_check web-1 url={form}",
                f"do http_check web-1 unit={form}",
                f"do http_check {form}",
            ):
                await house.send(IncomingCommand(CHANNEL, ALICE, words, reply_to="r"))
                tried += 1
            await house.quiet()
    finally:
        await house.stop()
        world.machines.close()  # type: ignore[attr-defined]
    return tried


@pytest.mark.timeout(900)
async def test_no_form_of_a_url_leads_anywhere_by_any_tool_or_entrance(
    tmp_path: Path, web: WebServer, figures: Figures, scale: Scale
) -> None:
    forms = list(FORMS[:: scale(20, 1)])
    tried = await ask_everywhere(world_of(tmp_path, web.port), forms)
    listed = {("127.0.0.1", 9), ("127.0.0.1", web.port)}
    foreign = [address for address in WATCH.connects if address not in listed]
    figures.note(
        forms_of_urls=len(forms), tried_by_tools_and_entrances=tried, connections_to_places_not_listed=len(foreign)
    )
    assert foreign == []
    assert {str(name) for name in WATCH.names} <= {"127.0.0.1"}


def test_there_are_sixty_forms() -> None:
    assert len(set(FORMS)) >= 60


async def test_the_watch_sees_a_check_that_is_listed(tmp_path: Path, web: WebServer) -> None:
    house = House(world_of(tmp_path, web.port))
    await house.start()
    await house.types(ALICE, "http web-1")
    await house.stop()
    assert ("127.0.0.1", web.port) in WATCH.connects
    assert "passed (200)" in house.whispered


# --- what the inventory lists ----------------------------------------------------------------------------------------

TEXT = """
policy: {askers: {users: ["*"]}, approvers: [{environments: ["*"], users: [U0BOB]}]}
"""


def listed(form: str, setting: str) -> Host | None:
    """The host of a configuration that lists this form, or None if it is refused."""
    host: dict[str, object] = {"connection": "local", "units": ["nginx"]}
    host |= {"certificates": [form]} if setting == "certificates" else {"health": {"nginx": {setting: form}}}
    text = TEXT + yaml.safe_dump({"hosts": {"web-1": host}}, allow_unicode=True)
    try:
        return parse(text, environ={}).inventory().hosts["web-1"]
    except ConfigError:
        return None


def names_an_address(place: str) -> bool:
    host = urlsplit(place).hostname if "//" in place else place.rpartition(":")[0].strip("[]")
    try:
        ip_address(host or "")
    except ValueError:
        return False
    return True


def leads_to(monkeypatch: pytest.MonkeyPatch, *found: str) -> list[str]:
    """Have every name lead to these addresses, one look-up after the other; return the names that were asked for."""
    asked: list[str] = []

    def answer(name: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(name)
        address = found[min(len(asked), len(found)) - 1]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", answer)
    return asked


@pytest.mark.parametrize("setting", ["url", "tcp", "certificates"])
def test_a_listed_name_that_leads_to_a_metadata_service_is_not_connected_to(
    setting: str, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    leads_to(monkeypatch, METADATA)
    refused = unconnected = 0
    for form in FORMS:
        host = listed(form, setting)
        if host is None:
            refused += 1
            continue
        check = host.health.get("nginx.service")
        place = (check.url or check.tcp) if check else host.certificates[0]
        if names_an_address(place):
            continue  # an address that the inventory names literally is what its owner wants
        if check:
            assert probe(replace(check, timeout_s=2)), form
        elif not place.startswith("/"):
            assert of_endpoint(place).failure, form
        unconnected += 1
    assert WATCH.connects == []
    figures.add(forms_refused_by_the_configuration=refused, listed_names_led_astray_and_not_connected=unconnected)


RESERVED = (
    METADATA,
    "169.254.0.1",
    "fe80::1",
    "fe80::1%1",
    "febf::1",
    "fd00:ec2::254",
    "168.63.129.16",
    "100.100.100.200",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
)


@pytest.mark.parametrize("address", RESERVED)
def test_no_name_may_lead_to_a_reserved_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leads_to(monkeypatch, address)
    (seen,) = check_all({"a": HealthCheck(url="http://shop.test:8080/")}, timeout_s=2).values()
    assert f"the name leads to {address}" in seen.failure
    assert "write the address itself there if it is meant" in seen.failure
    assert "the name leads to" in of_endpoint("shop.test:443").failure
    assert WATCH.connects == []


def test_one_reserved_address_among_others_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch, web: WebServer) -> None:
    def answer(name: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.1", METADATA)]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", answer)
    assert "the name leads to" in probe(HealthCheck(url=f"http://shop.test:{web.port}/"))
    assert WATCH.connects == []


def test_an_address_that_the_inventory_names_literally_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: tried.append(address) or _refuse())
    probe(HealthCheck(url=f"http://{METADATA}/"))
    probe(HealthCheck(tcp="[fe80::1]:80"))
    assert tried == [(METADATA, 80), ("fe80::1", 80)]


def _refuse() -> None:
    raise ConnectionRefusedError


def test_a_name_that_changes_its_address_is_looked_up_once_and_the_first_answer_counts(
    monkeypatch: pytest.MonkeyPatch, web: WebServer, figures: Figures, scale: Scale
) -> None:
    rounds = scale(10, 200)
    for _ in range(rounds):
        asked = leads_to(monkeypatch, "127.0.0.1", METADATA)
        assert probe(HealthCheck(url=f"http://rebind.example.net:{web.port}/", timeout_s=5)) == ""
        assert asked == ["rebind.example.net"]
    assert set(WATCH.connects) == {("127.0.0.1", web.port)}
    figures.note(rebinding_names=rounds, second_lookups=0)


def test_a_redirect_is_named_and_not_followed(web: WebServer) -> None:
    web.answer = REDIRECT
    (seen,) = check_all({"a": HealthCheck(url=f"http://127.0.0.1:{web.port}/")}, timeout_s=5).values()
    assert (seen.status, seen.redirect_host) == (302, METADATA)
    assert WATCH.connects == [("127.0.0.1", web.port)]


def test_a_proxy_of_the_environment_is_not_used(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = WebServer(PAGE)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    try:
        checks = {
            "a": HealthCheck(url=f"http://127.0.0.1:{web.port}/"),
            "b": HealthCheck(url=f"https://127.0.0.1:{web.port}/"),
        }
        check_all(checks, timeout_s=5)
        of_endpoint(f"127.0.0.1:{web.port}")
    finally:
        proxy.close()
    assert proxy.requests == []
    assert {address for address in WATCH.connects if isinstance(address, tuple)} == {("127.0.0.1", web.port)}


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "unix:///x", "javascript:x"]
)
def test_only_http_and_https_are_spoken(url: str) -> None:
    assert listed(url, "url") is None
    assert "not an http or https URL" in probe(HealthCheck(url=url))
    assert WATCH.connects == []


def test_what_a_page_says_is_not_fetched(web: WebServer, tmp_path: Path) -> None:
    """A hostile page is read to its bound and shown by figures; nothing in it is a link to us."""
    body = f'<img src="http://{METADATA}/"><script src="//{METADATA}/x"></script>'.encode()
    web.answer = b"HTTP/1.1 200 OK\r\nRefresh: 0; url=http://%b/\r\nContent-Length: %d\r\n\r\n%b" % (
        METADATA.encode(),
        len(body),
        body,
    )
    world = world_of(tmp_path, web.port)
    host = world.hosts["web-1"]
    result = REGISTRY.get("http_check").function(Context(world.machines, timeout_s=10), host)
    assert METADATA not in json.dumps(result, default=str)
    assert set(WATCH.connects) == {("127.0.0.1", web.port)}


# --- the last wall ---------------------------------------------------------------------------------------------------


def test_the_unit_of_the_documentation_keeps_the_process_from_metadata_services() -> None:
    text = (ROOT / "docs/slack-setup.md").read_text(encoding="utf-8")
    assert "\nIPAddressDeny=link-local multicast\n" in text
    assert "IPAddressDeny=any" in text
    assert "IPAddressAllow=" in text
