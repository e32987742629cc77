"""Names in a sentence, matched against the real inventory: hosts, groups, services, and what is none of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from opsbot.domain import Connection, Host
from opsbot.inventory import EVERY_HOST, near_misses

_TOKEN = re.compile(r"[A-Za-z0-9](?:[\w.@:-]*[\w])?", re.ASCII)
_EVERYTHING = re.compile(
    r"\b(?:all|every|each)\b|\beverything\b|\b(?:my|our|the) (?:servers|hosts|machines|fleet)\b|^(?:servers|machines)\b"
)
_HERE = re.compile(
    r"\bthis (?:machine|server|host|computer|box|laptop|pc|system)\b|\b(?:localhost|right here|on here)\b"
)
_SUFFIX = re.compile(r"\.(?:service|timer|socket)$")
# Words that stand where a name could stand, and are none.
_NO_NAMES_TEXT = """
a an the this that these those it its them they there here my our your his her me i you we us own is
are was were be been do does did has have had not no any some all every each everything anything
nothing something which what who when why how where and or but of on at in for from with to by as
than then now today tonight yesterday tomorrow last please again once also just still up down ok
okay fine well good bad alive dead running broken healthy active failed slow fast full free left
busy service services server servers host hosts machine machines box group groups unit units log
logs journal line lines error errors status state health check show list tell give see look restart
bounce kick recycle restarted start stop reload reboot
memory cpu disk disks load swap uptime space usage fire top time times
night day week minute minutes hour hours fleet inventory system systems latest newest recent new old
other both one two happening wrong going doing much many can could would will should may might must
if so hmm oh hey hi hello
"""
_NO_NAMES = frozenset(_NO_NAMES_TEXT.split())
_BETWEEN_NAMES = frozenset(
    ["on", "at", "and", "the", "this", "please", "service", "server", "host", "machine", "group", "all"]
)
_SERVICE_PLACES = (
    re.compile(r"\b(?:restart|bounce|kick|recycle|start|stop|reload) (?:the |my |our )?(?:service |unit )?(\S+)"),
    re.compile(r"\b(?:service|unit) (?:called |named )?(\S+)"),
    re.compile(r"(\S+) (?:service|unit|logs?|journal)\b"),
    re.compile(r"\b(?:logs?|journal|lines|state|status) (?:of|from|for) (?:the )?(\S+)"),
    re.compile(
        r"\bis (?:the )?(\S+) (?:still |really )?(?:running|up|alive|active|down|dead|ok|okay|broken|healthy)\b"
    ),
    re.compile(r"\b(?:when was|why did|did|why does|what does|what did) (?:the )?(\S+) "),
)
_HOST_PLACES = re.compile(r"\b(?:on|at|host|hosts|server|machine|group|box) (?:the |my |our )?(\S+)")
# `web-2`, `db03`: hardly ever an ordinary word, so not to be passed over even if nothing like it exists.
_NUMBERED = re.compile(r"[A-Za-z][A-Za-z.-]*\d+", re.ASCII)
_LINES = re.compile(r"\b(\d{1,4}) (?:log )?lines?\b|\b(?:last|newest|latest) (\d{1,4})\b")


@dataclass(frozen=True, slots=True)
class Slots:
    """What a sentence names. `hosts` may hold groups and `all`; `unknown` are names that the inventory lacks."""

    hosts: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    free_units: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    here: bool = False
    everything: bool = False
    lines: int | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """The names that exist."""

    hosts: Sequence[Host]
    groups: Mapping[str, tuple[str, ...]]

    @property
    def places(self) -> tuple[str, ...]:
        """Every name that stands for hosts."""
        return (*(host.name for host in self.hosts), *self.groups)

    @property
    def units(self) -> tuple[str, ...]:
        """Every service that some host allows to be restarted, as the inventory spells it."""
        return tuple(dict.fromkeys(unit for host in self.hosts for unit in host.units))

    def local(self) -> tuple[str, ...]:
        """The bot's own machine, as the inventory names it."""
        return tuple(host.name for host in self.hosts if host.connection is Connection.LOCAL)

    def allowing(self, unit: str) -> tuple[str, ...]:
        """Hosts on which this service may be restarted."""
        return tuple(host.name for host in self.hosts if bare(unit) in {bare(known) for known in host.units})

    def near(self, name: str) -> tuple[str, ...]:
        """Existing names that look like this one."""
        return near_misses(name, [*self.places, *{bare(unit): None for unit in self.units}])


def bare(unit: str) -> str:
    """Return a service's name without its suffix."""
    return _SUFFIX.sub("", unit)


def read(text: str, names: Names) -> Slots:
    """Find the names in a sentence."""
    places = {name.lower(): name for name in names.places}
    units = {key: key for unit in names.units for key in (unit.lower(), bare(unit).lower())}
    tokens = [token for token in _TOKEN.findall(text) if token.lower() not in _NO_NAMES]
    hosts = _unique(places[token.lower()] for token in tokens if token.lower() in places)
    lowered = text.lower()
    strangers = [t for t in tokens if t.lower() not in places and t.lower() not in units]
    at_host_place = _caught([_HOST_PLACES], lowered, strangers)
    at_service_place = [t for t in _caught(_SERVICE_PLACES, lowered, strangers) if t not in at_host_place]
    elsewhere = [t for t in strangers if t not in at_service_place]
    lookalikes = [t for t in elsewhere if _NUMBERED.fullmatch(t) or (_looks_like_a_name(t) and names.near(t))]
    return Slots(
        hosts=hosts,
        units=_unique(token.lower() for token in tokens if token.lower() in units and token.lower() not in places),
        free_units=_unique(at_service_place),
        unknown=_unique([*at_host_place, *lookalikes]),
        here=bool(_HERE.search(lowered)),
        everything=bool(_EVERYTHING.search(lowered)) or EVERY_HOST in hosts,
        lines=_lines(lowered),
    )


def only_names(text: str, names: Names) -> bool:
    """Whether a message consists of names alone, so that it can be the answer to a question."""
    known = {name.lower() for name in names.places}
    known |= {form.lower() for unit in names.units for form in (unit, bare(unit))}
    words = [token.lower() for token in _TOKEN.findall(text)]
    return bool(words) and all(word in known or word in _BETWEEN_NAMES for word in words)


def neutral(text: str, slots: Slots) -> str:
    """Replace names by "the server" and "the service", so that sentences are compared by what they say."""
    replaced = text
    for name, words in [
        *((name, "the server") for name in (*slots.hosts, *slots.unknown)),
        *((name, "the service") for name in (*slots.units, *slots.free_units)),
    ]:
        article = r"(?:the |my |our )?"
        kind = r"(?: (?:group|hosts?|servers?|machine))?" if words == "the server" else r"(?: (?:service|unit))?"
        replaced = re.sub(
            rf"{article}(?<![\w.-]){re.escape(name)}(?![\w-]){kind}", words, replaced, flags=re.IGNORECASE
        )
    return re.sub(r"the server(?:(?:,| and|, and) the server)+", "the server", replaced)


def _caught(patterns: Iterable[re.Pattern[str]], text: str, candidates: Sequence[str]) -> list[str]:
    found = []
    for pattern in patterns:
        for match in pattern.finditer(text):
            token = _TOKEN.match(match.group(1))
            found += [c for c in candidates if token and c.lower() == token.group()]
    return found


def _looks_like_a_name(token: str) -> bool:
    return "-" in token or len(token) >= 5 or any(char.isdigit() for char in token[1:])


def _lines(text: str) -> int | None:
    match = _LINES.search(text)
    return int(match.group(1) or match.group(2)) if match else None


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
