"""Whole messages, views and stream chunks: every block, and the rules that span several of them."""

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View
from slackblocks import _limits as block_kit
from slackblocks import _surfaces

from opsbot.workbench.limits import Limits
from opsbot.workbench.validation.blocks import BLOCKS
from opsbot.workbench.validation.checks import (
    Report,
    anything,
    boolean,
    by_type,
    listing,
    one_of,
    record,
    string,
)
from opsbot.workbench.validation.ids import controls, nested_blocks
from opsbot.workbench.validation.objects import URL_SOURCE, plain_text
from opsbot.workbench.wire import Json

_BLOCK = by_type(BLOCKS)
_BY_SURFACE: Mapping[str, frozenset[str]] = {
    str(surface): kinds for surface, kinds in _surfaces._BLOCK_TYPES_BY_SURFACE.items()
}
# slack_sdk 3.47 has no class for these, so it cannot give its second opinion.
_WITHOUT_MODEL = frozenset({"data_table"})
_VIEW = record(
    {"type": one_of("modal", "home"), "blocks": anything},
    {
        "title": plain_text(block_kit.VIEW_TITLE_MAX_LENGTH),
        "submit": plain_text(block_kit.VIEW_SUBMIT_MAX_LENGTH),
        "close": plain_text(block_kit.VIEW_CLOSE_MAX_LENGTH),
        "callback_id": string(block_kit.VIEW_CALLBACK_ID_MAX_LENGTH, 0),
        "external_id": string(block_kit.VIEW_EXTERNAL_ID_MAX_LENGTH, 0),
        "private_metadata": string(block_kit.VIEW_PRIVATE_METADATA_MAX_LENGTH, 0),
        "clear_on_close": boolean,
        "notify_on_close": boolean,
        "submit_disabled": boolean,
    },
)
_CHUNK = by_type(
    {
        "markdown_text": record({"text": string(block_kit.MARKDOWN_TEXT_MAX_LENGTH)}),
        "plan_update": record({"title": string(block_kit.TEXT_MAX_LENGTH)}),
        "task_update": record(
            {
                "id": string(255),
                "title": string(block_kit.TEXT_MAX_LENGTH),
                "status": one_of("pending", "in_progress", "complete", "error"),
            },
            {
                "details": string(block_kit.TEXT_MAX_LENGTH),
                "output": string(block_kit.TEXT_MAX_LENGTH),
                "sources": listing(URL_SOURCE, 100),
            },
        ),
        "blocks": record({"blocks": anything}),
    }
)


def check_message(blocks: list[Json], limits: Limits, pointer: str = "/blocks") -> list[str]:
    """Return the faults of a message's blocks, each with its JSON pointer; empty means Slack would take them."""
    report = Report()
    _check_blocks(blocks, "message", pointer, report)
    if len(blocks) > block_kit.MESSAGE_BLOCKS_MAX_ITEMS:
        report.add(pointer, f"no more than {block_kit.MESSAGE_BLOCKS_MAX_ITEMS} items allowed")
    total = sum(len(str(b.get("text", ""))) for b in _flat(blocks) if b.get("type") == "markdown")
    if total > limits.markdown_max:
        report.add(pointer, f"markdown blocks exceed {limits.markdown_max} characters in total")
    if sum(b.get("type") == "table" for b in _flat(blocks)) > 1:
        report.add(pointer, "only one table is allowed per message")
    return report.faults


def check_view(view: Json, surface: str, limits: Limits) -> list[str]:
    """Return the faults of a view for its surface, `modal` or `home`."""
    report = Report()
    # What the app read from an earlier view and sent back is ignored, as by Slack.
    given = {key: value for key, value in view.items() if key in _KNOWN_VIEW_KEYS or key not in _READ_ONLY}
    _VIEW(given, "/view", report)
    if view.get("type") != surface:
        report.add("/view/type", f"must be {surface}")
    blocks = view.get("blocks")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        report.add("/view/blocks", "must be an array of objects")
        return report.faults
    if not 1 <= len(blocks) <= block_kit.VIEW_BLOCKS_MAX_ITEMS:
        report.add("/view/blocks", f"between 1 and {block_kit.VIEW_BLOCKS_MAX_ITEMS} items allowed")
    _check_blocks(blocks, surface, "/view/blocks", report)
    _check_frame(view, blocks, report)
    return report.faults


def check_chunks(chunks: list[Json], limits: Limits) -> list[str]:
    """Return the faults of stream chunks."""
    report = Report()
    for index, chunk in enumerate(chunks):
        pointer = f"/chunks/{index}"
        _CHUNK(chunk, pointer, report)
        if chunk.get("type") == "blocks" and isinstance(chunk.get("blocks"), list):
            report.faults += check_message(chunk["blocks"], limits, f"{pointer}/blocks")
    return report.faults


_KNOWN_VIEW_KEYS = frozenset({"type", "blocks", "title", "submit", "close", "callback_id"})
_READ_ONLY = frozenset(
    {"id", "team_id", "app_id", "app_installed_team_id", "bot_id", "hash", "state", "root_view_id", "previous_view_id"}
)


def _check_frame(view: Json, blocks: list[Json], report: Report) -> None:
    if view.get("type") == "modal":
        if not view.get("title"):
            report.add("/view", "missing required field: title")
        if any(block.get("type") == "input" for block in blocks) and not view.get("submit"):
            report.add("/view", "submit is required when an input block is present")
    elif view.get("submit") or view.get("close"):
        report.add("/view", "home view cannot have submit and close")
    if not report.faults:
        try:
            View(**copy.deepcopy(view)).to_dict()
        except (SlackObjectFormationError, TypeError, AttributeError, KeyError) as error:
            report.add("/view", str(error))


def _check_blocks(blocks: list[Json], surface: str, pointer: str, report: Report) -> None:
    for index, block in enumerate(blocks):
        at = f"{pointer}/{index}"
        before = len(report.faults)
        _BLOCK(block, at, report)
        if len(report.faults) == before:
            _ask_the_sdk(block, at, report)
        _check_surface(block, surface, at, report)
    _check_unique(blocks, pointer, report)


def _check_surface(block: Json, surface: str, at: str, report: Report) -> None:
    kind = str(block.get("type"))
    allowed = _BY_SURFACE.get(surface, frozenset())
    if kind in BLOCKS and kind not in allowed:
        report.add(at, f"block type {kind} is not supported in a {surface}")
    if kind == "task_card" and block.get("status") == "pending":
        report.add(f"{at}/status", "a standalone task card cannot be pending")
    for index, child in enumerate(block.get("child_blocks") or ()):
        if isinstance(child, dict):
            _check_surface(child, surface, f"{at}/child_blocks/{index}", report)


def _ask_the_sdk(block: Json, at: str, report: Report) -> None:
    if block.get("type") in _WITHOUT_MODEL:
        return
    try:
        parsed = Block.parse(copy.deepcopy(block))
        if parsed is None:
            report.add(at, f"unsupported type: {block.get('type')}")
        else:
            parsed.to_dict()
    except (SlackObjectFormationError, TypeError, AttributeError, KeyError, ValueError) as error:
        report.add(at, str(error))


def _check_unique(blocks: list[Json], pointer: str, report: Report) -> None:
    block_ids = Counter(block["block_id"] for block in _flat(blocks) if block.get("block_id"))
    for block_id in _repeated(block_ids):
        report.add(pointer, f"duplicate block_id: {block_id}")
    for index, block in enumerate(blocks):
        # An action_id identifies a control within its block.
        for inner in _flat([block]):
            action_ids = Counter(c["action_id"] for c in controls(inner) if c.get("action_id"))
            for action_id in _repeated(action_ids):
                report.add(f"{pointer}/{index}", f"duplicate action_id: {action_id}")


def _repeated(counts: "Counter[Any]") -> list[Any]:
    return [value for value, count in counts.items() if count > 1]


def _flat(blocks: list[Json]) -> list[Json]:
    found: list[Json] = []
    for block in blocks:
        if isinstance(block, dict):
            found += [block, *_flat(nested_blocks(block))]
    return found
