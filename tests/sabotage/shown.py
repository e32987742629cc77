"""Defences about pictures that people show, to take out one by one and in pairs."""

from tests.sabotage.copy import Change, Sabotage

_FETCH = "tests/wire/test_slack_attachments.py"
_ROOM = "tests/unit/test_darkroom.py"
_HOUSE = "tests/scenario/test_shown_pictures.py"
_VISION = "tests/wire/test_vision.py"


def _one(name: str, file: str, before: str, after: str, *tests: str) -> Sabotage:
    return Sabotage(name, (Change(f"opsbot/{file}", before, after),), tests)


SHOWN: tuple[Sabotage, ...] = (
    _one(
        "pictures: the token goes anywhere",
        "adapters/slack/attachments.py",
        "        if not self._is_slacks(url):",
        "        if False:",
        _FETCH,
    ),
    _one(
        "pictures: names in an address may be anybody's",
        "adapters/slack/attachments.py",
        "        if parts.username is not None or parts.password is not None:",
        "        if False:",
        _FETCH,
    ),
    Sabotage(
        "pictures: redirects are followed",
        (
            Change("opsbot/adapters/slack/attachments.py", "allow_redirects=False", "allow_redirects=True"),
            Change("opsbot/adapters/slack/attachments.py", "    if 300 <= response.status < 400:", "    if False:"),
        ),
        (_FETCH,),
    ),
    _one(
        "pictures: what comes is not measured",
        "adapters/slack/attachments.py",
        "        if size_bytes > MAX_BYTES:",
        "        if False:",
        _FETCH,
    ),
    _one(
        "pictures: compressed answers are taken",
        "adapters/slack/attachments.py",
        '    if response.headers.get("Content-Encoding", "identity") != "identity":',
        "    if False:",
        _FETCH,
    ),
    _one(
        "pictures: any kind of file is decoded",
        "adapters/darkroom.py",
        '    raise BadArguments(f"its content',
        '    return\n    raise BadArguments(f"its content',
        _ROOM,
    ),
    _one(
        "pictures: bombs are decoded",
        "adapters/darkroom_worker.py",
        "    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:",
        "    if False:",
        _ROOM,
    ),
    _one(
        "pictures: notes in the file go on",
        "adapters/darkroom_worker.py",
        "            seen = _seen(opened)",
        '            return {"media_type": "image/png", "width": opened.width, "height": opened.height}, raw',
        _ROOM,
    ),
    _one(
        "pictures: what the decoder says is believed",
        "adapters/darkroom.py",
        "    if not small or start is None or not content.startswith(start):",
        "    if False:",
        _ROOM,
    ),
    _one(
        "pictures: words of a decoder that failed are shown",
        "adapters/darkroom.py",
        "if error.refused else _FAILED",
        "if error.detail else _FAILED",
        _ROOM,
    ),
    _one(
        "pictures: a picture is trusted",
        "taint.py",
        "                if message.shown:",
        "                if False:",
        _HOUSE,
    ),
    _one(
        "pictures: the model is not told that they are data",
        "adapters/openai_history.py",
        "*([_CAUTION] if shown else [])",
        "*([] if shown else [])",
        _VISION,
    ),
    _one(
        "pictures: any number is taken",
        "sights.py",
        "        if number >= MAX_ON_MESSAGE:",
        "        if False:",
        _HOUSE,
    ),
    _one(
        "pictures: a model that refused them is asked again and again",
        "adapters/openai_model.py",
        "        self._can.go_blind()",
        "        pass",
        _VISION,
    ),
)
