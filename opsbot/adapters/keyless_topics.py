"""Requests told by a word of their own (ports, updates, certificates, …) and not by likeness: which tool, with what."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from opsbot.domain import Json


@dataclass(frozen=True, slots=True)
class Topic:
    """A tool for sentences in which `words` is found; `arguments` are what the words say beyond the hosts."""

    tool: str
    words: re.Pattern[str]
    arguments: Mapping[str, Json] = field(default_factory=dict)


def _topic(tool: str, words: str, **arguments: Json) -> Topic:
    return Topic(tool, re.compile(rf"\b(?:{words})\b"), arguments)


_USING = (
    r"(?:us(?:es|ing)|eat(?:s|ing)|hog(?:s|ging)|consum(?:es|ing)|tak(?:es|ing)|fill(?:s|ing))"
    r"(?: up)?(?: all| so much| the| my)*"
)
# The first that fits counts.
TOPICS = (
    _topic(
        "whats_changed",
        r"what(?:'s| has| have| is| was)?(?: been)? (?:changed|new)|(?:recent|any|list|show)(?: the)? changes",
    ),
    _topic("compare_hosts", r"compare|differ(?:s|ent|ence|ences)?|what differs|same on"),
    _topic(
        "top_processes",
        rf"{_USING} (?:memory|ram)|top (?:memory|ram)",
        by="memory",
    ),
    _topic(
        "top_processes",
        rf"(?:top )?process(?:es)?|{_USING} cpu|top cpu",
    ),
    _topic("network_ports", r"(?:open |listening )?ports?|listen(?:s|ing|ers)?|(?:network )?connections|connected"),
    _topic("timers_and_cron", r"timers?|cron(?:jobs?|tabs?)?|scheduled (?:jobs?|tasks?)"),
    _topic("kernel_messages", r"kernel (?:messages?|log|errors?)|oom(?:[ -]kill\w*)?|out of memory|dmesg|disk errors?"),
    _topic(
        "package_updates",
        r"(?:pending |security |package |available )?updates?|upgradable|outdated packages|"
        r"needs? (?:a |an |to )?(?:be )?(?:reboot(?:ed)?|updat(?:ed|ing))|reboot (?:needed|required)",
    ),
    _topic("certificate_expiry", r"cert(?:ificate)?s?|(?:tls|ssl)"),
    _topic("http_check", r"health checks?|http checks?"),
    _topic("tcp_check", r"tcp checks?"),
    _topic("dns_check", r"dns|name resolution|resolv\w+"),
    _topic("docker_containers", r"containers?|docker|podman"),
    _topic(
        "disk_usage",
        rf"(?:largest|biggest) (?:director(?:y|ies)|folders?|files?)|file ?systems?|{_USING} (?:disks?|space|storage)",
    ),
    _topic("list_failed_units", r"flapping|keeps? (?:failing|falling over|crashing)|failed units"),
)
_HISTORY = re.compile(
    r"\b(?:history|trends?|chart|graph|plot|since when|how long (?:has|have|is|are)|over time|outages?|"
    r"(?:over|in|for|during) (?:the )?(?:last|past))\b"
)
_METRICS = (
    (re.compile(r"\bcpu\b"), "cpu"),
    (re.compile(r"\b(?:memory|ram)\b"), "memory"),
    (re.compile(r"\bswap\w*\b"), "swap"),
    (re.compile(r"\b(?:disks?|space)\b"), "disk"),
    (re.compile(r"\bload\b"), "load"),
    (re.compile(r"\buptimes?\b"), "uptime"),
    (re.compile(r"\bfailed (?:units?|services?)\b"), "failed_units"),
    (re.compile(r"\b(?:down|unreachable|reachable|gone|outages?|offline)\b"), "reachable"),
)
_AGO = re.compile(r"\b(?:last|past) (?:(\d{1,3}) )?(hour|day|week)s?\b")
_HOURS = {"hour": 1, "day": 24, "week": 168}
# As the tool has it.
_HOURS_MAX = 336


def topic_of(words: str) -> Topic | None:
    """Return what a lower-case sentence is about, if a word of it says so."""
    if _HISTORY.search(words):
        return _history(words)
    return next((topic for topic in TOPICS if topic.words.search(words)), None)


def _history(words: str) -> Topic | None:
    metric = next((name for pattern, name in _METRICS if pattern.search(words)), None)
    if metric is None or (metric == "reachable" and "the service" in words):
        return None  # how long a service is down is asked of the host itself
    ago = _AGO.search(words)
    hours = min(_HOURS_MAX, int(ago[1] or 1) * _HOURS[ago[2]]) if ago else None
    return Topic("host_history", _HISTORY, {"metric": metric, "hours": hours or None})
