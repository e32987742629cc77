"""Commands carried out: each is answered in private, or in the thread it was written in."""

from dataclasses import dataclass, replace

from opsbot import answers, commands, grammar, replies
from opsbot.actions import Prepared
from opsbot.background import Background
from opsbot.domain import Actor, Chart, Content, InboxItem, IncomingCommand, Report, Risk, Text, UserMessage
from opsbot.errors import BadArguments, ChatError, StoreError
from opsbot.identity import account
from opsbot.inquiries import Inquiries
from opsbot.parts import Parts
from opsbot.schema import typed_words


@dataclass(frozen=True, slots=True)
class Answering:
    """Does what commands say."""

    parts: Parts
    background: Background
    inquiries: Inquiries

    async def answer(self, event: IncomingCommand, item: InboxItem) -> None:
        """Do what the command says. Whoever comes here may ask. Raises OpsbotError when it cannot be done."""
        match grammar.parse(event.text):
            case commands.Read() as read:
                await self._answer_read(event, item, read)
            case commands.Propose() as proposal:
                await self._propose(event, item, proposal)
            case commands.Ask(text):
                await self._ask(event, item, text)
            case commands.ListTools() | commands.ListApprovals() | commands.ShowUsage() as listing:
                await self._reply(event, item, await self._listed(listing, event.actor))
            case commands.Explain(approval_id):
                await self._reply(event, item, await self.inquiries.story(approval_id))
            case commands.Withdraw() | commands.LeaveOut() as amendment:
                await self._amend(event, item, amendment)
            case commands.Reset():
                await self._reset(event, item)
            case commands.TakeAlert() | commands.MakeReport() as incident:
                await self._on_incident(event, item, incident)
            case commands.Help():
                await self._reply(event, item, await self._noted(answers.help_report(self.parts.bot_name)))
            case _ as brake:
                await self._brake(event, item, brake)

    async def _answer_read(self, event: IncomingCommand, item: InboxItem, read: commands.Read) -> None:
        await self._show(event, item, self.parts.catalogue.from_words(read.tool, read.hosts, dict(read.arguments)))

    async def _show(self, event: IncomingCommand, item: InboxItem, prepared: Prepared) -> None:
        await self._reply(event, item, await self._noted(await self.parts.looks.answer(event, prepared)))

    async def _noted(self, report: Report) -> Report:
        """Say in front of an answer that actions are stopped, while they are."""
        try:
            note = await self.parts.stopping.note()
        except StoreError:
            return report  # which says so itself
        return replace(report, text=f"{note}\n{report.text}".strip()) if note else report

    async def _brake(self, event: IncomingCommand, item: InboxItem, command: commands.Brake) -> None:
        report = await self.parts.stopping.answer(command, event.actor, event.place)
        self.background.begin_guarded("cards", self.parts.desk.show_open())
        await self._reply(event, item, report)

    async def _propose(self, event: IncomingCommand, item: InboxItem, proposal: commands.Propose) -> None:
        tool = self.parts.catalogue.registry.get(proposal.tool)
        arguments = typed_words(tool, {name: str(value) for name, value in proposal.arguments})
        if proposal.hosts and not tool.takes_host:
            raise BadArguments(f"{tool.name} is not about a host; leave {' '.join(proposal.hosts)[:80]!a} out.")
        prepared = self.parts.catalogue.from_words(proposal.tool, proposal.hosts, arguments)
        if tool.risk is Risk.READ:
            await self._show(event, item, prepared)
            return
        approval = await self.parts.desk.propose(
            event.place, event.actor, prepared, call_id=f"command:{item.id}", reason=proposal.reason
        )
        text = f"Asked as request {approval.id}: somebody who may approve it has to press the button on the card."
        if approval.stands_on:
            text = f"Request {approval.id} runs now: request {approval.stands_on} was approved for a while."
        await self._tell(event, Text(text, trusted=True))

    async def _ask(self, event: IncomingCommand, item: InboxItem, text: str) -> None:
        """Give a question from a slash command a thread of its own."""
        place = event.place
        if not place.thread_id:
            opening = Text(f"<@{event.actor.user_id}> asks: {text}", trusted=True)
            ref = await self.parts.delivery.send(f"ask:{item.id}", place, opening)
            if ref is None:
                raise ChatError("Slack did not take the message just now; please ask again.")
            place = replace(place, thread_id=ref.message_id)
        message = UserMessage(text, account(event.actor), item.received_at)
        await self.parts.dialogue.hear(place, message)

    async def _on_incident(
        self, event: IncomingCommand, item: InboxItem, command: commands.TakeAlert | commands.MakeReport
    ) -> None:
        if isinstance(command, commands.TakeAlert):
            await self._take_alert(event, item, command.text)
        else:
            await self.parts.reporting.make(event.place, event.actor, f"command:{item.id}")

    async def _take_alert(self, event: IncomingCommand, item: InboxItem, text: str) -> None:
        """Look into an alert, in the thread or in one of its own that begins with how it was read."""
        alert = await self.parts.alarms.read(text, event.actor, event.place)
        ref = await self.parts.delivery.send(f"alert:{item.id}", event.place, Text(alert.line, trusted=True))
        place = event.place
        if not place.thread_id:
            if ref is None:
                raise ChatError("Slack did not take the message just now; please ask again.")
            place = replace(place, thread_id=ref.message_id)
        await self.parts.dialogue.hear(place, UserMessage(alert.text, account(event.actor), item.received_at))

    async def _listed(
        self, listing: commands.ListTools | commands.ListApprovals | commands.ShowUsage, actor: Actor
    ) -> Report:
        match listing:
            case commands.ListTools():
                return answers.tools_report(self.parts.catalogue)
            case commands.ListApprovals():
                return await self.inquiries.listed()
            case commands.ShowUsage():
                return await self.parts.usage.answer(listing, actor)

    async def _amend(
        self, event: IncomingCommand, item: InboxItem, amendment: commands.Withdraw | commands.LeaveOut
    ) -> None:
        approval, desk = await self.inquiries.find(amendment.approval_id), self.parts.desk
        if isinstance(amendment, commands.Withdraw):
            said = replies.withdrawn(await desk.withdraw(approval.id, event.actor, pressed=None))
        else:
            said = replies.narrowed(await desk.narrow(approval.id, event.actor, amendment.hosts, pressed=None))
        await self._reply(event, item, Text(said, trusted=True))

    async def _reset(self, event: IncomingCommand, item: InboxItem) -> None:
        if not event.place.thread_id:
            raise BadArguments("A reset is for one thread: write `!reset` in it, mentioning me in a channel.")
        await self.parts.dialogue.reset(event.place, event.actor)
        await self._reply(event, item, Text("Forgotten. Open requests and the audit stay.", trusted=True))

    async def _reply(self, event: IncomingCommand, item: InboxItem, content: Content) -> None:
        """Answer a slash command privately, a `!command` in its thread; charts follow the answer they belong to."""
        charts: tuple[Chart, ...] = ()
        if isinstance(content, Report):
            content, charts = replace(content, charts=()), content.charts
        private = bool(event.reply_to) or not event.place.thread_id
        if private:
            await self._tell(event, content)
        else:
            await self.parts.delivery.send(f"command:{item.id}", event.place, content)
        await self.parts.delivery.pictures(event.place, event.actor, charts, private=private, reply_to=event.reply_to)

    async def _tell(self, event: IncomingCommand, content: Content) -> None:
        await self.parts.delivery.whisper(event.place, event.actor, content, reply_to=event.reply_to)
