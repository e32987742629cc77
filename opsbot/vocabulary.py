"""Which words of a host cannot carry a message: figures, times, states, standard names, and names of the inventory."""

import re
from collections.abc import Iterable

from opsbot.domain import Host

_FIGURE = r"[-+<>~]?\d[\d,._]*\s?(?:%|[KMGTPE]i?B|B|bytes|ms|s|min|h|d|days?)?"
_DURATION = r"\d+[dhms](?: \d+[dhms])?"
_TIME = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?: ?UTC|Z|[+-]\d\d:?\d\d)?"
_ADDRESS = r"[\d.]{7,15}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}"
# What the distributions' /etc/os-release calls itself (PRETTY_NAME), without words of one's own.
_SYSTEM = (
    r"(?:Debian GNU/Linux|Ubuntu|Rocky Linux|AlmaLinux|Fedora Linux|Red Hat Enterprise Linux|CentOS (?:Linux|Stream)"
    r"|Oracle Linux Server|Alpine Linux|Amazon Linux|Arch Linux|openSUSE \w{4,10}|SUSE Linux Enterprise Server)"
    r"(?: v?\d[\d.]*)?(?: LTS| SP\d)?(?: \([A-Za-z]{3,12}\))?"
)
# `6.1.0-42-amd64`, `5.14.0-503.el9.x86_64`: figures, and the words distributions build kernels for.
_KERNEL = (
    r"\d+(?:[.-]\d+)*(?:[-.+~_](?:\d+|amd64|arm64|x86_64|aarch64|generic|cloud|rt|lts|virt|aws|azure|gcp|kvm|pve"
    r"|el\d+(?:_\d+)?|fc\d+|amzn\d+|deb\d+u?\d*|bpo|rpi|v\d+|default|standard))*"
)
_CHECKED = r"(?:GET|TCP) [\w.:/\[\]-]{1,200} answered \d{3}"
_CLOSED = re.compile("|".join((_FIGURE, _DURATION, _TIME, _ADDRESS, _SYSTEM, _KERNEL, _CHECKED)), re.ASCII)

# systemd.unit(5), systemd.service(5), `systemctl --state=help` (systemd 252), supervisord 4: every state and result.
_STATES = """
    loaded not-found bad-setting error masked stub merged active reloading inactive failed activating deactivating
    maintenance dead condition start-pre start start-post running exited reload stop stop-watchdog stop-sigterm
    stop-sigkill stop-post final-watchdog final-sigterm final-sigkill auto-restart cleaning listening mounted mounting
    waiting elapsed plugged tentative abandoned success protocol timeout exit-code signal core-dump watchdog
    start-limit-hit resources oom-kill exec-condition
    STOPPED STARTING RUNNING BACKOFF STOPPING EXITED FATAL UNKNOWN
"""
# systemd.special(7), hier(7): units that are everywhere, and where file systems are mounted.
_PLACES = """
    multi-user.target graphical.target default.target basic.target sysinit.target sockets.target timers.target
    network.target network-online.target local-fs.target remote-fs.target shutdown.target system.slice
    / /boot /boot/efi /efi /home /root /opt /srv /tmp /usr /usr/local /var /var/lib /var/log /var/tmp /var/cache /run
    /data /mnt /media
"""
_OWN = ("", "unknown", "none", "passed", "no check configured")
_WORDS = frozenset((*_OWN, *f"{_STATES}{_PLACES}".split()))


class Vocabulary:
    """The closed words, and the names of an inventory. Whatever is not in it is free text."""

    def __init__(self, hosts: Iterable[Host] = (), groups: Iterable[str] = ()) -> None:
        self._names = frozenset(name for host in hosts for name in _names_of(host)).union(groups)

    def holds(self, text: str) -> bool:
        """Whether the whole text is one of the words, a figure, a time, or a name the inventory knows."""
        return text in _WORDS or text in self._names or _CLOSED.fullmatch(text) is not None


def _names_of(host: Host) -> Iterable[str]:
    yield from (host.name, host.address, host.environment, host.jump, *host.groups, *host.actions)
    yield from (f"tag:{tag}" for tag in host.tags)
    yield from (*host.tags, *host.containers, *host.certificates, *host.config_files, *host.dns_names)
    yield from (name for unit in (*host.units, *host.health) for name in (unit, f"{unit}.service"))
    for check in host.health.values():
        yield from (check.url, check.tcp, f"GET {check.url}", f"TCP {check.tcp}")
