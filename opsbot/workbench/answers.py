"""What the app says back outside the Web API: acknowledgement payloads, response URLs, view responses."""

from typing import Any

from opsbot.workbench.conversations import Message
from opsbot.workbench.passes import ResponseUrl
from opsbot.workbench.posting import Posting
from opsbot.workbench.validation import check_message
from opsbot.workbench.web_api.views import checked_view
from opsbot.workbench.wire import Json, SlackError
from opsbot.workbench.workspace import Workspace


class Answers:
    """Turns answers of the app into messages and views."""

    def __init__(self, workspace: Workspace, posting: Posting) -> None:
        self._workspace, self._posting = workspace, posting

    def respond(self, url: ResponseUrl, answer: Json) -> None:
        """Carry out a POST to a response URL. Raises SlackError when it is refused."""
        original = self._workspace.conversations.find(url.channel, url.message_ts)
        if answer.get("delete_original"):
            if original is not None:
                self._posting.remove(original)
            return
        content = self._content(answer)
        if answer.get("replace_original") and original is not None:
            self._posting.edit(original, content, mark_edited=False)
            return
        self._post(url, answer, content)

    def post_acknowledgement(self, url: ResponseUrl, payload: Any) -> None:
        """Post what a slash command was acknowledged with; a faulty payload is reported to the person."""
        answer = {"text": payload} if isinstance(payload, str) else dict(payload)
        if not any(answer.get(key) for key in ("text", "blocks", "attachments")):
            return
        try:
            self._post(url, answer, self._content(answer))
        except SlackError as error:
            self._workspace.feed.notice(url.user, f"The acknowledgement was refused: {error.code}")

    def finish_submission(self, user: str, view: Json, answer: Json) -> None:
        """Do what a view_submission was acknowledged with."""
        views = self._workspace.views
        match answer.get("response_action"):
            case "errors":
                views.show_errors(user, view, answer.get("errors", {}))
            case "clear":
                views.close(user)
            case "update" | "push" as action:
                self._show_view(user, view, action, answer.get("view", {}))
            case _:
                views.close(user, view["id"])

    def _show_view(self, user: str, view: Json, action: str, given: Json) -> None:
        views = self._workspace.views
        try:
            checked = checked_view(self._workspace, given, "modal")
            if action == "update":
                views.update(view, checked)
            else:
                views.push(user, checked)
        except SlackError as error:
            self._workspace.feed.notice(user, f"The view was refused: {error.code}")
            details = error.details.get("response_metadata")
            self._workspace.feed.record(
                direction="out", kind="refusal", name=f"response_action {action}", summary=error.code, response=details
            )

    def _content(self, answer: Json) -> Json:
        content = {key: answer[key] for key in ("text", "blocks", "attachments") if answer.get(key) is not None}
        if not any(content.values()):
            raise SlackError("no_text")
        limits = self._workspace.limits
        if len(content.get("text", "")) > limits.text_max:
            raise SlackError("msg_too_long")
        faults = check_message(content.get("blocks", []), limits)
        if faults:
            raise SlackError("invalid_blocks", response_metadata={"messages": faults})
        return content

    def _post(self, url: ResponseUrl, answer: Json, content: Json) -> Message:
        thread_ts = answer.get("thread_ts") or url.thread_ts
        if thread_ts:
            content = {**content, "thread_ts": thread_ts}
        reader = "" if answer.get("response_type") == "in_channel" else url.user
        return self._posting.post_as_bot(url.channel, content, ephemeral_for=reader, metadata=answer.get("metadata"))
