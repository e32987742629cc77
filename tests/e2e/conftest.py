"""Fixtures of the browser tests: one Chromium per test module, servers in a background loop."""

import os
from collections.abc import Iterator

import pytest

from tests.e2e.page import Page, why_no_browser
from tests.e2e.scripted_workbench import Background, ScriptedWorkbench


@pytest.fixture(autouse=True, scope="session")
def _browser_present() -> None:
    reason = why_no_browser()
    if reason and os.environ.get("BROWSER_REQUIRED") == "1":
        pytest.fail(f"BROWSER_REQUIRED=1, but {reason}")
    if reason:
        pytest.skip(reason)


@pytest.fixture(autouse=True, scope="session")
def _loopback_past_proxies() -> Iterator[None]:
    """The driver is spoken to over loopback; a proxy of the environment must not see it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost")
        # slack_sdk (3.47) takes these for loopback too and knows no NO_PROXY.
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    """A loop beside the test."""
    loop = Background()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def bench(background: Background) -> Iterator[ScriptedWorkbench]:
    """A workbench that says what the test wants."""
    server = ScriptedWorkbench(background)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def window(bench: ScriptedWorkbench) -> Iterator[Page]:
    """The page on the scripted workbench, kept for the module."""
    with Page(bench.url) as page:
        yield page


@pytest.fixture
def page(window: Page, bench: ScriptedWorkbench) -> Page:
    """The page, freshly loaded on the small workspace."""
    bench.show()
    window.open()
    window.complaints()
    return window
