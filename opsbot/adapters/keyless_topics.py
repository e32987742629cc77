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
_HISTORY = re.compile(r"\b(?:history|trend|chart|graph|plot|since when|over (?:the )?(?:last|past))\b")
_METRICS = (
    (re.compile(r"\bcpu\b"), "cpu_percent"),
    (re.compile(r"\b(?:memory|ram)\b"), "memory_used_percent"),
    (re.compile(r"\bswap\w*\b"), "swap_used_percent"),
    (re.compile(r"\b(?:disks?|space)\b"), "disk_used_percent"),
    (re.compile(r"\bload\b"), "load_1m"),
    (re.compile(r"\b(?:down|unreachable|reachable|gone)\b"), "reachable"),
)


def topic_of(words: str) -> Topic | None:
    """Return what a lower-case sentence is about, if a word of it says so."""
    if _HISTORY.search(words):
        metric = next((name for pattern, name in _METRICS if pattern.search(words)), None)
        return Topic("host_history", _HISTORY, {"metric": metric}) if metric else None
    return next((topic for topic in TOPICS if topic.words.search(words)), None)
