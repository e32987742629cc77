"""The report of an evaluation in a browser: filters sift, transcripts open, and text of hosts stays text."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import Select

from opsbot.evaluation.html_report import page
from opsbot.evaluation.record import Line
from tests.e2e.page import start_browser
from tests.unit.eval_cases import a_record
from tests.unit.test_eval_report import EVIL, SOLVED, WRONG, outcome

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def driver() -> Iterator[WebDriver]:
    profile = tempfile.mkdtemp(prefix="eval-chromium-")
    driver = start_browser(profile)
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture
def report(driver: WebDriver, tmp_path: Path) -> WebDriver:
    record = a_record(transcript=(Line("person", "U0ONCALL", "Why?"), Line("model", "", EVIL)))
    path = tmp_path / "eval.html"
    path.write_text(
        page(outcome(replace(SOLVED, record=record), WRONG, replace(WRONG, level=4, agent="null", path="")))
    )
    driver.get(path.as_uri())
    return driver


def shown(driver: WebDriver) -> list[str]:
    rows = driver.find_elements(By.CSS_SELECTOR, "tbody:not([hidden])")
    return [str(row.get_attribute("data-agent")) for row in rows]


def test_attempts_are_sifted_by_level_agent_result_and_words(report: WebDriver) -> None:
    assert shown(report) == ["reference", "wrong", "null"]
    for name, value, left in (
        ("level", "4", ["null"]),
        ("agent", "wrong", ["wrong"]),
        ("result", "solved:yes", ["reference"]),
    ):
        choice = Select(report.find_element(By.ID, name))
        choice.select_by_value(value) if name != "level" else choice.select_by_visible_text(value)
        assert shown(report) == left
        assert report.find_element(By.ID, "count").text == "1 of 3 attempts"
        choice.select_by_index(0)
    report.find_element(By.ID, "words").send_keys("guess")
    assert shown(report) == ["wrong"]


def test_a_transcript_opens_and_what_a_host_wrote_stays_text(report: WebDriver) -> None:
    head = report.find_element(By.CSS_SELECTOR, "tr.head")
    detail = report.find_element(By.CSS_SELECTOR, "tr.detail")
    assert not detail.is_displayed()
    head.click()
    assert detail.is_displayed()
    assert head.find_element(By.TAG_NAME, "button").get_attribute("aria-expanded") == "true"
    assert EVIL in detail.text
    assert not detail.find_elements(By.CSS_SELECTOR, "script, img")
    assert report.get_log("browser") == []
