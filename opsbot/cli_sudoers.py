"""Print the sudo rules of hosts."""

import argparse
import sys

from opsbot.cli_config import config_of
from opsbot.sudoers import file_for, grave_actions


def sudoers(options: argparse.Namespace) -> int:
    """Print a sudoers file per host on stdout; warn on stderr of what takes a service or a host away."""
    hosts = config_of(options).inventory().resolve(options.names)
    texts = [file_for(host, user=options.user or "", engine=options.engine) for host in hosts]
    for host, text in zip(hosts, texts, strict=True):
        title = f"# ===== {host.name} =====\n" if len(hosts) > 1 else ""
        sys.stdout.write(f"{title}{text}" if host is hosts[-1] else f"{title}{text}\n")
    for host in hosts:
        grave = ", ".join(grave_actions(host))
        if grave:
            sys.stderr.write(f"opsbot: warning: {host.name} allows {grave}; read what the file says about it.\n")
    return 0
