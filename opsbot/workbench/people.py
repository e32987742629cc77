"""What people do in the workspace, and what the app is sent because of it."""

import base64
import binascii
import copy
from dataclasses import replace

from opsbot.workbench.answers import Answers
from opsbot.workbench.controls import find_control, used_control
from opsbot.workbench.conversations import Message
from opsbot.workbench.delivery import Answer, Courier, Parcel
from opsbot.workbench.payloads import Payloads
from opsbot.workbench.richtext import escaped_command
from opsbot.workbench.web_api.call import Desk
from opsbot.workbench.web_api.conversations import react, unreact
from opsbot.workbench.wire import ControlError, Json
from opsbot.workbench.world import User


class People:
    """Every act of a person, as the page and the tests ask for it. Raises ControlError when impossible."""

    def __init__(self, desk: Desk, courier: Courier, answers: Answers) -> None:
        self._desk, self._workspace = desk, desk.workspace
        self._courier, self._answers = courier, answers
        self._payloads = Payloads(desk.workspace)

    def says(self, user: str, channel: str, typed: str, thread_ts: str, files: list[Json]) -> Message:
        """Post a message, in a thread when `thread_ts` is given."""
        found = self._workspace.conversations.channel(channel)
        if self._person(user).id not in found.members:
            raise ControlError(f"{user} is not in {found.id}")
        if found.is_im and not self._workspace.manifest.takes_direct_messages:
            raise ControlError("the manifest does not open the Messages tab (features.app_home)")
        if not typed.strip() and not files:
            raise ControlError("an empty message cannot be posted")
        root = self._workspace.conversations.find(found.id, thread_ts) if thread_ts else None
        if thread_ts and root is None:
            raise ControlError(f"no message {thread_ts} in {found.id}")
        attached = [self._attach(user, found.id, file) for file in files]
        return self._desk.posting.post_as_person(
            user=user, channel=found.id, typed=typed, thread_ts=root.root_ts if root else "", files=attached
        )

    def posts_as_other_app(self, channel: str, typed: str, thread_ts: str, *, is_workflow: bool) -> Message:
        """Post a message of another app, or of a workflow."""
        found = self._workspace.conversations.channel(channel)
        return self._desk.posting.post_as_other_app(found.id, typed, is_workflow=is_workflow, thread_ts=thread_ts)

    def becomes(self, user: str, marks: Json) -> None:
        """Change what an account is: a guest, deactivated, a member again."""
        unknown = set(marks) - {"is_restricted", "is_ultra_restricted", "deleted"}
        if unknown or not all(isinstance(mark, bool) for mark in marks.values()):
            raise ControlError("marks are is_restricted, is_ultra_restricted and deleted, each true or false")
        person = replace(self._person(user, deleted=True), **marks)
        self._workspace.world = self._workspace.world.with_person(person)

    async def runs_command(self, user: str, channel: str, command: str, text: str) -> Answer:
        """Run a slash command; the text of its acknowledgement becomes an ephemeral message."""
        declared = self._workspace.manifest.command(command)
        found = self._workspace.conversations.channel(channel)
        person = self._person(user)
        if declared is None:
            self._workspace.feed.notice(user, f"{command} is not a valid command.")
            raise ControlError(f"{command} is not declared in the manifest")
        if declared.get("should_escape"):
            text = escaped_command(text, self._workspace.world)
        fields, url = self._payloads.command(person, found, command, text)
        answer = await self._courier.send_interaction(Parcel("slash_commands", command, fields, True))
        if answer.failure:
            self._report(user, f"{command} failed with the error", answer)
        elif answer.payload:
            self._answers.post_acknowledgement(url, answer.payload)
        return answer

    async def acts(self, user: str, place: Json, given: Json) -> Answer:
        """Use a control in a message (`channel`, `message_ts`) or a view (`view_id`)."""
        person = self._person(user)
        ids = (str(given.get("block_id", "")), str(given.get("action_id", "")))
        action_ts = self._workspace.ids.ts("actions")
        if place.get("view_id"):
            view = self._workspace.views.held(user, str(place["view_id"]))
            view["state"] = given.get("state") or view["state"]
            action = used_control(find_control(view["blocks"], *ids), given, action_ts)
            payload = self._payloads.view_action(person, view, action)
        else:
            message = self._seen(person, place)
            action = used_control(find_control(message.body.get("blocks", []), *ids), given, action_ts)
            payload = self._payloads.message_action(person, message, action, given.get("state") or {"values": {}})
        return await self._interact(user, ids[1], payload)

    async def submits(self, user: str, view_id: str, state: Json) -> Answer:
        """Submit a modal and do what the app answers: close, show errors, update, push or clear."""
        view = self._workspace.views.held(user, view_id)
        view["state"] = {"values": state.get("values", {})}
        payload = self._payloads.view_submission(self._person(user), view)
        answer = await self._interact(user, str(view["callback_id"]), payload, accepts_response=True)
        if not answer.failure:
            self._answers.finish_submission(user, view, answer.payload if isinstance(answer.payload, dict) else {})
        return answer

    async def closes(self, user: str, view_id: str, *, is_cleared: bool) -> Answer:
        """Close a modal; the app is told when the view asked for it."""
        view = copy.deepcopy(self._workspace.views.held(user, view_id))
        self._workspace.views.close(user, "" if is_cleared else view_id)
        if not view["notify_on_close"]:
            return Answer()
        payload = self._payloads.view_closed(self._person(user), view, is_cleared=is_cleared)
        return await self._interact(user, str(view["callback_id"]), payload)

    async def uses_shortcut(self, user: str, callback_id: str, place: Json) -> Answer:
        """Use a global shortcut, or a message shortcut when `place` names a message."""
        if self._workspace.manifest.shortcut(callback_id) is None:
            raise ControlError(f"shortcut {callback_id!r} is not declared in the manifest")
        person = self._person(user)
        if place.get("message_ts"):
            payload = self._payloads.message_shortcut(person, callback_id, self._seen(person, place))
        else:
            payload = self._payloads.global_shortcut(person, callback_id)
        return await self._interact(user, callback_id, payload)

    async def searches(self, user: str, place: Json, given: Json) -> Json:
        """Type into an external select; return `options` or `option_groups` as the app answered."""
        person = self._person(user)
        ids = (str(given.get("block_id", "")), str(given.get("action_id", "")))
        if place.get("view_id"):
            view = self._workspace.views.held(user, str(place["view_id"]))
            source: Json = {"container": {"type": "view", "view_id": view["id"]}, "view": dict(view)}
            element = find_control(view["blocks"], *ids)
        else:
            message = self._seen(person, place)
            container = {"type": "message", "message_ts": message.ts, "channel_id": message.channel}
            source = {"container": container, "channel": {"id": message.channel}, "message": dict(message.body)}
            element = find_control(message.body.get("blocks", []), *ids)
        payload = self._payloads.suggestion(person, source, element, str(given.get("value", "")))
        answer = await self._interact(user, ids[1], payload, accepts_response=True)
        return answer.payload if isinstance(answer.payload, dict) else {"options": []}

    def reacts(self, user: str, channel: str, ts: str, name: str, *, remove: bool = False) -> None:
        """Add or remove a reaction."""
        message = self._workspace.conversations.get(self._workspace.conversations.channel(channel).id, ts)
        change = unreact if remove else react
        change(self._desk, message, self._person(user).id, name)

    def opens_home(self, user: str, tab: str) -> None:
        """Open a tab of the app: `home` or `messages`."""
        if tab == "home" and not self._workspace.manifest.has_home_tab:
            raise ControlError("the manifest has no Home tab (features.app_home.home_tab_enabled)")
        if tab not in ("home", "messages"):
            raise ControlError(f"tab must be home or messages, not {tab!r}")
        channel = self._workspace.conversations.channel(self._person(user).id)
        event: Json = {"type": "app_home_opened", "user": user, "channel": channel.id, "tab": tab}
        event["event_ts"] = self._workspace.ids.ts("events")
        if tab == "home" and user in self._workspace.views.homes:
            event["view"] = dict(self._workspace.views.homes[user])
        if self._workspace.contexts.get(user) and self._workspace.manifest.subscribes("app_context_changed"):
            event["context"] = {"entities": self._workspace.contexts[user]}
        self._desk.events.emit(event)

    def looks_at(self, user: str, entities: list[Json]) -> None:
        """Change what the person has open beside the app."""
        self._workspace.contexts[self._person(user).id] = entities
        channel = self._workspace.conversations.channel(user)
        event = {"type": "app_context_changed", "channel": channel.id, "user": user, "context": {"entities": entities}}
        self._desk.events.emit({**event, "event_ts": self._workspace.ids.ts("events")})

    def stops(self, user: str, channel: str, thread_ts: str) -> None:
        """Press stop: the open streams of the thread take no more text, and the app is told."""
        found = self._workspace.conversations.channel(channel)
        session = self._workspace.agent.sessions.get((found.id, thread_ts))
        streams = [m for m in self._workspace.conversations.messages(found.id) if _is_streaming(m, thread_ts)]
        if not streams and (session is None or session.status != "processing"):
            raise ControlError(f"nothing to stop in thread {thread_ts} of {found.id}")
        for message in streams:
            if message.stream is not None:
                message.stream.was_stopped_by_user = True
        event: Json = {"type": "agent_session_stopped", "channel": found.id, "user": self._person(user).id}
        event |= {"thread_ts": thread_ts, "streaming_message_ts": [message.ts for message in streams]}
        self._desk.events.emit({**event, "event_ts": self._workspace.ids.ts("events")})

    async def _interact(self, user: str, name: str, payload: Json, *, accepts_response: bool = False) -> Answer:
        if not self._workspace.manifest.is_interactive:
            raise ControlError("interactivity is off in the manifest (settings.interactivity)")
        parcel = Parcel("interactive", f"{payload['type']} {name}", payload, accepts_response)
        answer = await self._courier.send_interaction(parcel)
        if answer.failure:
            self._report(user, "The app didn't respond:", answer)
        return answer

    def _report(self, user: str, what: str, answer: Answer) -> None:
        # "dispatch_failed" and "operation_timeout" are the words Slack shows people.
        reason = "operation_timeout" if answer.failure == "http_timeout" else "dispatch_failed"
        self._workspace.feed.notice(user, f"{what} {reason}")

    def _person(self, user: str, *, deleted: bool = False) -> User:
        found = self._workspace.world.user(user)
        if found is None or found.is_bot:
            raise ControlError(f"no person {user!r}")
        if found.deleted and not deleted:
            raise ControlError(f"the account {user} is deactivated")
        return found

    def _seen(self, person: User, place: Json) -> Message:
        channel = self._workspace.conversations.channel(str(place.get("channel", "")))
        message = self._workspace.conversations.find(channel.id, str(place.get("message_ts", "")))
        if message is None or message.ephemeral_for not in ("", person.id) or person.id not in channel.members:
            raise ControlError(f"{person.id} sees no message {place.get('message_ts')} in {channel.id}")
        return message

    def _attach(self, user: str, channel: str, given: Json) -> Json:
        file = self._workspace.files.create(str(given.get("name", "file")), user)
        file.mimetype = str(given.get("mimetype") or file.mimetype)
        try:
            file.content = base64.b64decode(str(given.get("content_base64", "")), validate=True)
        except binascii.Error as error:
            raise ControlError(f"content_base64 of {file.name} is not base64") from error
        file.is_complete = True
        file.channels.append(channel)
        return file.shown(self._workspace.base_url)


def _is_streaming(message: Message, thread_ts: str) -> bool:
    return message.root_ts == thread_ts and message.stream is not None and message.stream.is_open
