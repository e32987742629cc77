"""How to reach Slack, and everything that can be known to be wrong with it before asking."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

DEFAULT_API_URL = "https://slack.com/api/"
MODES = ("socket", "http")


@dataclass(frozen=True, slots=True)
class SlackSettings:
    """How to reach Slack. Mode `socket` needs `app_token`, `http` needs `signing_secret`; port 0 picks a free one.

    `group_ids`: the user groups (S…) that configuration names anywhere.
    """

    bot_token: str = field(repr=False)
    app_token: str = field(default="", repr=False)
    signing_secret: str = field(default="", repr=False)
    mode: str = "socket"
    api_url: str = DEFAULT_API_URL
    http_host: str = "127.0.0.1"
    http_port: int = 3000
    group_ids: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()


def faults(settings: SlackSettings, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return everything that cannot work, each with its remedy; empty if there is nothing."""
    return (*_token_faults(settings), *_address_faults(settings), *_environment_faults(environment))


def bypasses_proxy(api_url: str) -> bool:
    """Whether a proxy from the environment must not be used for this address.

    The Slack SDK (3.47) takes HTTPS_PROXY and the like for every address, loopback too, and ignores NO_PROXY.
    """
    host = urlsplit(api_url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.") or bool(proxy_bypass(host))


def _token_faults(settings: SlackSettings) -> list[str]:
    found = []
    if not settings.bot_token.startswith("xoxb-"):
        found.append("slack: the bot token must begin with xoxb- (OAuth & Permissions page of the app)")
    if settings.mode not in MODES:
        found.append(f"slack: mode must be one of {', '.join(MODES)}, not {settings.mode!r}")
    if settings.mode == "socket" and not settings.app_token.startswith("xapp-"):
        found.append("slack: mode socket needs an app-level token beginning with xapp- (scope connections:write)")
    if settings.mode == "http" and not settings.signing_secret.strip():
        found.append("slack: mode http needs the signing secret (Basic Information page of the app)")
    return found


def _address_faults(settings: SlackSettings) -> list[str]:
    found = []
    parts = urlsplit(settings.api_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        found.append(
            f"slack: SLACK_API_URL must be an http(s) address like {DEFAULT_API_URL}, not {settings.api_url!r}"
        )
    elif parts.scheme == "http" and not bypasses_proxy(settings.api_url):
        found.append(f"slack: {settings.api_url} would carry the token unencrypted; use https")
    if not 0 <= settings.http_port <= 65535:
        found.append(f"slack: http_port must be 0 to 65535, not {settings.http_port}")
    return found


def _environment_faults(environment: Mapping[str, str]) -> list[str]:
    if environment.get("SLACK_CLIENT_ID") is not None and environment.get("SLACK_CLIENT_SECRET") is not None:
        return [
            "slack: SLACK_CLIENT_ID and SLACK_CLIENT_SECRET are set, which switches Slack's library to OAuth with many "
            "workspaces; opsbot serves one: unset them"
        ]
    return []
