"""A task of the evaluation: what is broken, what is asked, what a good answer needs, and scripts to prove it."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from opsbot.config_types import Section, Text
from opsbot.domain import Json

Host = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
Id = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
FactName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
Script = Annotated[str, Field(min_length=1, max_length=20_000)]
Level = Annotated[int, Field(ge=1, le=4)]


class Part(StrEnum):
    """The parts of a grade."""

    EVIDENCE = "evidence"
    ANSWER = "answer"
    ACTIONS = "actions"
    FORBIDDEN = "forbidden"
    END_STATE = "end_state"
    COST = "cost"


class FleetFault(Section):
    """A fault of the fleet tool on a host, with its words: `refuse`, or `skew 3600`."""

    host: Host
    fault: Text


class Command(Section):
    """A shell script run as root on a host, beside the bot."""

    host: Host
    script: Script


class Certified(Section):
    """A certificate that signs itself, put on a host; it ends in so many days (negative: ended)."""

    host: Host
    certificate: Text
    days: int


class Until(Section):
    """A condition to wait for: a script that ends with status 0."""

    host: Host
    until: Script


Step = FleetFault | Certified | Until | Command


class Wanted(Section):
    """An action to the letter: tool, hosts, and its other arguments. `*` stands for any one value."""

    tool: Text
    hosts: tuple[Host, ...]
    arguments: dict[str, Json] = Field(default_factory=dict)


class Reply(Section):
    """What the person says when the bot's words match."""

    when: Text
    say: Text


class Person(Section):
    """The people of the task: what their owners approve; everything else is denied. Answers to questions, each once."""

    approve: tuple[Wanted, ...] = ()
    replies: tuple[Reply, ...] = ()


class Evidence(Section):
    """A result that the answer could rest on: of one of these tools, about this host, matching the pattern.

    `host` "": a tool that asks no host, or says so of one that cannot be asked. `before_action`: it has to be there
    before anything was proposed.
    """

    tools: Annotated[tuple[Text, ...], Field(min_length=1)]
    host: str = ""
    shows: Text = "."
    before_action: bool = True


class EndCheck(Section):
    """What has to hold on a host in the end: a script, run as root, that ends with status 0."""

    host: Host
    script: Script
    why: Text


class Most(Section):
    """What may be used at most: model calls, tool calls, tokens in and out."""

    rounds: Annotated[int, Field(ge=1)] = 8
    calls: Annotated[int, Field(ge=1)] = 14
    tokens: Annotated[int, Field(ge=1000)] = 80_000


class Grade(Section):
    """What solves the task. Patterns are regular expressions without case; `{{name}}` stands for a fact's value.

    `actions` have to be done, each once. `may_propose` may be proposed besides. `may_look_at`: hosts besides those of
    the task that may be looked at. `restless`: `unit@host` that starts or ends by itself.
    """

    evidence: tuple[Evidence, ...] = ()
    says: tuple[Text, ...] = ()
    never_says: tuple[Text, ...] = ()
    actions: tuple[Wanted, ...] = ()
    may_propose: tuple[Wanted, ...] = ()
    may_look_at: tuple[Host, ...] = ()
    restless: tuple[Text, ...] = ()
    end: tuple[EndCheck, ...] = ()
    most: Most = Most()


class ScriptedCall(Section):
    """A call of a tool by a script."""

    tool: Text
    arguments: dict[str, Json] = Field(default_factory=dict)


class ScriptedReply(Section):
    """One reply of a scripted model: calls, words, or both.

    `{{tool~pattern}}` stands for the first group of the pattern in the newest result of that tool.
    """

    calls: tuple[ScriptedCall, ...] = ()
    say: str = ""


class WrongPath(Section):
    """A way to fail, and the parts of the grade that have to notice. Its words may use facts: `{{name}}`."""

    name: Text
    fails: Annotated[tuple[Part, ...], Field(min_length=1)]
    replies: Annotated[tuple[ScriptedReply, ...], Field(min_length=1)]


class Task(Section):
    """One task. `hosts`: those it is about. `facts`: values read on a host after the setup, by name."""

    id: Id
    level: Level
    about: Text
    faults: tuple[Text, ...] = ()
    prompt: Text
    hosts: tuple[Host, ...] = ()
    setup: tuple[Step, ...] = ()
    facts: dict[FactName, Command] = Field(default_factory=dict)
    person: Person = Person()
    grade: Grade
    reference: Annotated[tuple[ScriptedReply, ...], Field(min_length=1)]
    wrong: Annotated[tuple[WrongPath, ...], Field(min_length=1)]


class TaskFile(Section):
    """A file of tasks."""

    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]


class CastHost(Section):
    """A host of the cast: the fleet's machine, how the inventory describes it, and how it is made ready, as root."""

    machine: Annotated[str, Field(pattern=r"^h[1-9][0-9]?$")]
    entry: dict[str, Json] = Field(default_factory=dict)
    dress: Script = "true"


class Cast(Section):
    """The hosts that every task finds. `dress` is run on each of them first."""

    user: Literal["bot"] = "bot"
    dress: Script = "true"
    hosts: Annotated[dict[Host, CastHost], Field(min_length=1)]
