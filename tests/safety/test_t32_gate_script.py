"""T32: the gate's script, with one of its guards taken out at a time: each time a line is judged wrongly."""

import random
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from opsbot import gate as gate_module
from opsbot.looks import Slot
from tests.safety.conftest import Figures, Scale
from tests.safety.gates import Gate
from tests.safety.test_t32_read_key import ACTING_HOST, CONTROL_GROUP, HOSTILE, acting_lines

pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True, slots=True)
class Weaker:
    """The script with one place changed, and which that is."""

    what: str
    script: str


OVERLAP = '[ "$before$inner$after" = "$2" ]'
PATTERN = '"$before"*"$after" in: case $2 in'
# What is changed, and into what: a refusal that lets through, a bound that is none, a comparison that always holds.
CHANGES = (
    (r"return 1\b", "return 0"),
    (r"\|\| refuse '[^']*'", "|| :"),
    (r"\[ \$\{#1\} -le \d+ \]", "true"),
    (r'\[ "\$2" = "\$\{1#=\}" \]', "true"),
    (r'\[ "\$script" = "\$\{1#\?\}" \]', "true"),
    (r'\[ "\$before\$inner\$after" = "\$2" \]', "true"),
    (r'\[ \$# -eq "\$count" \]', "true"),
    (r'"is_\$\{1%%\|\*\}" "\$inner"', "true"),
    (r'"\$before"\*"\$after"', "*"),
    (r"\*@\*@\*\|\*@", "''"),
    (r"\*/\.\./\*\|\*/\.\.", "''"),
    (r"\n  false\n", "\n  true\n"),
)
# Nothing wrong gets through for want of one of these, since another guard stands behind; each with that other one.
BEHIND = {
    "'it opens no shell'": "a line of no words is no rule's",
    "'this line is too long'": "sshd's own limit, and the count that a rule compares",
    "'this line holds two scripts'": "the second script's checksum is that of no script in the first's place",
    "'this host has no sha256sum'": "an empty checksum is no script's",
    "'this line is not spelled as opsbot spells one'": "whatever words it came to are compared",
    r"return 1 in: case $rest in *\'*)": "a quotation without an end comes to one word more, and a rule counts",
    "return 1 in: case $word in": "the word is compared, and no shell sees it",
    "return 1 in: case $rest in '')": "blanks between words are no word, and the words are compared",
    OVERLAP: "a word that fits the pattern begins and ends as it must, one after the other",
    PATTERN: "what is left between beginning and end makes the word again",
}
# Guards that stand behind each other: without both of them something gets through.
PAIR = ((OVERLAP, "true"), ('"$before"*"$after"', "*"))
LONG = "n" * 300
GOOD = {"unit": "nginx.service", "container": "web", "path": "/srv", "number": "5", "time": "2h"}
BAD = {
    "unit": ("a*", "-H", "a@b@c", "a@", LONG, "", "a b"),
    "container": ("a*", "-x", LONG, "", "a/b"),
    "path": ("srv", "/a/../b", "/a/..", "/a\nb", "/" + "a" * 4096, ""),
    "number": ("5x", "-5", "12345678901", ""),
    "time": ("2h;", " 2h", "a" * 62, "", "$(x)"),
}


def weakened() -> Iterator[Weaker]:
    """Yield the script with each guard taken out in turn."""
    script = gate_module._SCRIPT
    for pattern, instead in CHANGES:
        places = list(re.finditer(pattern, script))
        assert places, f"{pattern} stands nowhere in the script"
        for place in places:
            line = script[script.rfind("\n", 0, place.start()) + 1 : script.find("\n", place.end())].strip()
            changed = script[: place.start()] + instead + script[place.end() :]
            yield Weaker(f"{place.group().strip()} in: {line}", changed)


def lines(gate: Gate, folder: Path) -> list[str]:
    """Lines that have to be refused: hostile ones, acting ones, and every look with each of its words spoiled."""
    found = [line.format(mark=folder / "mark") for line in HOSTILE] + acting_lines()
    for look in gate.looks:
        words = [word if isinstance(word, str) else f"{word.before}{GOOD[word.kind]}{word.after}" for word in look]
        found += [
            shlex.join((*words, "more")),
            shlex.join(words[:-1]),
            shlex.join(words) + "'",
            shlex.join(words) + " ",
        ]
        for number, word in enumerate(look):
            found += [shlex.join((*words[:number], each, *words[number + 1 :])) for each in _spoiled(word)]
    return [line for line in dict.fromkeys(found) if not gate.knows(_words(line))]


def _spoiled(word: str | Slot) -> list[str]:
    if isinstance(word, str):
        return [f"x{word}", f"{word}x"]
    return [GOOD[word.kind], *(f"{word.before}{value}{word.after}" for value in BAD[word.kind])]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return []


def noticed(weaker: Gate, refused: list[str]) -> bool:
    """Whether some line that has to be refused goes through."""
    return any(weaker.words(line) is not None for line in refused if "\0" not in line)


def test_every_guard_of_the_script_keeps_something_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: Figures, scale: Scale
) -> None:
    whole = Gate(ACTING_HOST, tmp_path)
    refused = lines(whole, tmp_path)
    assert whole.words(f"{CONTROL_GROUP} nginx.service") is not None
    every = list(weakened())
    tried = random.Random(scale.full).sample(every, scale(3, len(every)))
    holes = []
    for each in tried:
        monkeypatch.setattr(gate_module, "_SCRIPT", each.script)
        if not noticed(Gate(ACTING_HOST, tmp_path), refused):
            holes.append(each.what)
    unexplained = [what for what in holes if not any(known in what for known in BEHIND)]
    assert not unexplained, "\n".join(unexplained)
    figures.note(guards_of_the_gate_taken_out=len(tried), that_nothing_noticed=len(unexplained))


def test_guards_that_stand_behind_each_other_keep_something_out_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = lines(Gate(ACTING_HOST, tmp_path), tmp_path)
    script = gate_module._SCRIPT
    for guard, instead in PAIR:
        assert guard in script
        script = script.replace(guard, instead)
    monkeypatch.setattr(gate_module, "_SCRIPT", script)
    assert noticed(Gate(ACTING_HOST, tmp_path), refused)
