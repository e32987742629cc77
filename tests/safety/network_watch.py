"""What this process does with the network, as Python tells its audit hooks."""

import sys

LOOKS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.sendto")


class Watch:
    """Takes down look-ups and connections while it is `on`. An audit hook stays for good, so there is one: WATCH."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        self.connects: list[object] = []
        self.names: list[object] = []
        sys.addaudithook(self._hook)

    def clear(self) -> None:
        """Forget what was seen."""
        self.seen, self.connects, self.names = [], [], []

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on or event not in LOOKS:
            return
        self.seen.append(f"{event} {arguments[1:]!r}")
        if event in ("socket.connect", "socket.sendto"):
            self.connects.append(arguments[1])
        else:
            self.names.append(arguments[0])


WATCH = Watch()
