"""The workbench page in a real headless Chromium, driven as a person would use it."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CHROMEDRIVER = os.environ.get("CHROMEDRIVER", "/usr/bin/chromedriver")
# Generous: the machine may be busy with other tests, and nothing waits longer than it must.
PATIENCE_S = 30.0
_POLL_S = 0.05
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
)
_UNSETTLED = (StaleElementReferenceException, ElementClickInterceptedException, ElementNotInteractableException)
# Buttons a person could press now, by what they say or are called; the last one is the newest.
_FIND_BUTTON = """
const [label, within] = arguments;
const top = document.querySelector("dialog[open]:last-of-type") ?? document;
const roots = within ? [...document.querySelectorAll(within)] : [top];
const names = (node) => [node.innerText, node.getAttribute("aria-label"), node.title].map((name) => name?.trim());
const usable = (node) => node.getClientRects().length > 0 && !node.disabled;
const buttons = roots.flatMap((root) => [...root.querySelectorAll("button, summary")]);
return buttons.filter((node) => usable(node) && names(node).includes(label)).at(-1) ?? null;
"""
_TEXTS = """
const roots = [...document.querySelectorAll(arguments[0])].filter((node) => node.getClientRects().length > 0);
const messages = roots.flatMap((root) => [...root.querySelectorAll("article.message .message-body")]);
return messages.map((node) => node.innerText);
"""
_WHERE = {"": ".channel-pane, .thread-pane", "channel": ".channel-pane", "thread": ".thread-pane"}
Found = TypeVar("Found")


def why_no_browser() -> str:
    """Say what is missing to run a browser, "" if nothing is."""
    missing = [path for path in (CHROMIUM, CHROMEDRIVER) if shutil.which(path) is None]
    return f"no browser: {' and '.join(missing)} not found (Debian: chromium, chromium-driver)" if missing else ""


class Page:
    """A browser window on the workbench. Methods wait until their effect can be seen, or fail saying what is shown."""

    def __init__(self, url: str, *, dark: bool = False, width: int = 1440, height: int = 950) -> None:
        self.url = url
        self._profile = tempfile.mkdtemp(prefix="workbench-chromium-")
        self.driver = start_browser(self._profile)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.open()

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def open(self, path: str = "/") -> None:
        """Load the page and wait for the workspace to be drawn."""
        self.driver.get("about:blank")
        self.driver.get(self.url.rstrip("/") + path)
        self.wait(lambda: self.find(".switch[aria-pressed='true']"), "the page to draw the workspace")

    def close(self) -> None:
        """End the browser."""
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    # --- what a person does ------------------------------------------------------------------------------------------

    def act_as(self, name: str) -> None:
        """Switch the acting person."""
        self._press(lambda: self.find(f".switch[data-name='{name}']"), f"a person called {name}")
        self.wait(lambda: self.find(f".switch[data-name='{name}'][aria-pressed='true']"), f"to act as {name}")

    def open_channel(self, name: str) -> None:
        """Open a channel by name, or by the bot's name its direct message."""
        self._press(lambda: self.find(f".place[data-place='{name}']"), f"a place called {name}")
        self.wait(lambda: self.find(f".place[data-place='{name}'][aria-current]"), f"{name} to open")

    def open_home(self) -> None:
        """Open the App Home."""
        self.open_channel("App Home")

    def open_thread(self, containing: str) -> None:
        """Open the thread of the newest channel message that contains a text."""
        script = """
            const rows = [...document.querySelectorAll(".channel-pane article.message")];
            const row = rows.filter((node) => node.innerText.includes(arguments[0])).at(-1);
            return row?.querySelector(".thread-link") ?? null;"""
        self._press(lambda: self.run(script, containing), f"a thread of a message with {containing!r}")
        self.wait(lambda: self.visible(".thread-pane"), "the thread to open")

    def close_thread(self) -> None:
        """Close the thread pane."""
        self.click_button("Close the thread", within=".thread-pane")
        self.wait(lambda: not self.visible(".thread-pane"), "the thread to close")

    def send(self, text: str) -> None:
        """Write into the channel and press Enter; returns when the workbench took it."""
        self._write("channel", text)

    def reply(self, text: str) -> None:
        """Write into the open thread and press Enter."""
        self.wait(lambda: self.visible(".thread-pane"), "an open thread to reply in")
        self._write("thread", text)

    def click_button(self, label: str, *, within: str = "", confirm: bool = True) -> None:
        """Press the newest visible button with this label; `within` is a CSS selector to look in.

        If the button asks for confirmation, agree (or, with `confirm=False`, do not). Returns when the workbench
        has answered the click.
        """
        found = self._press(lambda: self.run(_FIND_BUTTON, label, within), f"a button {label!r}")
        if found.get("asks"):
            answer = "yes" if confirm else "no"
            self._press(lambda: self.find(f"dialog[open] [data-confirm='{answer}']"), "the confirmation")
            self.wait(lambda: not self.find(".dialog[open]"), "the confirmation to close")
        self.wait(lambda: not self.find(".pending"), f"the answer to {label!r}")

    def press(self, *keys: str) -> None:
        """Type keys where the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    # --- what a person sees ------------------------------------------------------------------------------------------

    def texts(self, where: str = "") -> list[str]:
        """The visible messages, oldest first, each with its head; `where`: channel, thread, or "" for both."""
        texts: list[str] = self.run(_TEXTS, _WHERE[where])
        return texts

    def body(self) -> str:
        """All visible text of the page."""
        return str(self.run("return document.body.innerText"))

    def wait_text(self, text: str, timeout_s: float = PATIENCE_S, *, where: str = "") -> str:
        """Wait until a message (or with none, the page) contains a text; return the newest such message."""

        def newest() -> str:
            return next((seen for seen in reversed(self.texts(where)) if text in seen), "")

        def anywhere() -> str:
            return newest() or (self.body() if not where and text in self.body() else "")

        return self.wait(anywhere, f"the text {text!r}", timeout_s)

    def wait_gone(self, text: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until no visible message contains a text."""
        self.wait(lambda: not any(text in seen for seen in self.texts()), f"the text {text!r} to go", timeout_s)

    def buttons(self, within: str = ".message") -> list[str]:
        """Labels of the visible buttons of apps."""
        script = """
            const found = [...document.querySelectorAll(arguments[0] + " .button")];
            return found.filter((node) => node.getClientRects().length).map((node) => node.innerText.trim());"""
        labels: list[str] = self.run(script, within)
        return labels

    def screenshot(self, path: str | Path) -> None:
        """Save a picture of the window as PNG."""
        self.driver.save_screenshot(str(path))

    def complaints(self) -> list[str]:
        """Errors and refusals the browser's console holds since the last call."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    # --- tools for tests ---------------------------------------------------------------------------------------------

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript in the page and return its value."""
        return self.driver.execute_script(script, *arguments)

    def run_async(self, script: str, *arguments: object) -> Any:
        """Run the body of an async JavaScript function in the page and return its value."""
        wrapped = (
            "const done = arguments[arguments.length - 1]; const given = [...arguments].slice(0, -1);"
            f"(async (...arguments_) => {{ {script} }})(...given).then(done, (error) => done('FAILED ' + error.stack));"
        )
        return self.driver.execute_async_script(wrapped, *arguments)

    def find(self, selector: str) -> WebElement | None:
        """The first element of a CSS selector, or None."""
        return next(iter(self.driver.find_elements(By.CSS_SELECTOR, selector)), None)

    def element(self, selector: str) -> WebElement:
        """The first element of a CSS selector, once it is there."""
        found = self.wait(lambda: self.find(selector), f"an element {selector}")
        assert found is not None
        return found

    def visible(self, selector: str) -> bool:
        """Whether an element of the selector is drawn."""
        script = "return [...document.querySelectorAll(arguments[0])].some((n) => n.getClientRects().length > 0)"
        return bool(self.run(script, selector))

    def wait(self, condition: Callable[[], Found], what: str, timeout_s: float = PATIENCE_S) -> Found:
        """Poll until the condition is true and return its value. Raises AssertionError with what is on the page."""
        until = time.monotonic() + timeout_s
        while True:
            # An element may be redrawn between being found and being looked at: look again.
            with contextlib.suppress(StaleElementReferenceException):
                if value := condition():
                    return value
            if time.monotonic() > until:
                seen = self.body()
                raise AssertionError(f"waited {timeout_s:g} s for {what}; the page shows:\n{seen[-3000:]}")
            time.sleep(_POLL_S)

    def _press(self, find: Callable[[], WebElement | None], what: str) -> dict[str, bool]:
        def pressed() -> dict[str, bool] | None:
            node = find()
            if node is None:
                return None
            try:
                facts = {"pressed": True, "asks": node.get_attribute("data-confirms") == "yes"}
                self.run("arguments[0].scrollIntoView({block: 'nearest'})", node)
                node.click()
            except _UNSETTLED:
                return None
            return facts

        found = self.wait(pressed, what)
        assert found is not None
        return found

    def _write(self, composer: str, text: str) -> None:
        field = self.wait(lambda: self.find(f"[data-composer='{composer}']"), f"the {composer} composer")
        assert field is not None
        self.run("arguments[0].focus()", field)
        for index, line in enumerate(text.split("\n")):
            if index:
                field.send_keys(Keys.SHIFT, Keys.ENTER)
                field.send_keys(Keys.NULL)
            field.send_keys(line)
        field.send_keys(Keys.ENTER)
        self.wait(lambda: field.get_property("value") == "", f"{text!r} to be taken")


def start_browser(profile: str) -> webdriver.Chrome:
    """Start Chromium with a profile of its own; nothing is looked up or reported elsewhere."""
    options = Options()
    options.binary_location = CHROMIUM
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # The driver's path is given, so nothing is looked up; these two keep it so.
    environment = {**os.environ, "SE_OFFLINE": "true", "SE_AVOID_STATS": "true"}
    return webdriver.Chrome(options=options, service=Service(executable_path=CHROMEDRIVER, env=environment))
