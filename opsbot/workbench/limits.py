"""What Slack's documentation leaves open or may change: life times, counts and sizes, as settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Platform figures (seconds of virtual time, counts, characters), as known in late 2026."""

    ack_timeout_s: float = 3.0
    # Measured from the previous attempt, for events only.
    retry_delays_s: tuple[float, ...] = (3.0, 60.0, 300.0)
    first_delivery_is_numbered: bool = True
    max_connections: int = 10
    trigger_life_s: float = 3.0
    response_url_uses: int = 5
    response_url_life_s: float = 30 * 60.0
    # Reported in python-slack-sdk #1859 and node-slack-sdk #2702.
    stream_life_s: float = 306.0
    status_life_s: float = 120.0
    session_life_s: float = 3600.0
    text_max: int = 40_000
    markdown_max: int = 12_000
    # docs.slack.dev, files.getUploadURLExternal, 2026-11; the largest file is Slack's general 1 GB.
    alt_text_max: int = 1000
    file_max_bytes: int = 1_000_000_000
    view_max_bytes: int = 250_000
    view_stack_max: int = 3
    log_entries: int = 5_000
