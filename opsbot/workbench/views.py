"""Open modals per person, as a stack of at most three, and everybody's App Home."""

from dataclasses import dataclass, field

from opsbot.workbench.feed import Feed
from opsbot.workbench.ids import Ids
from opsbot.workbench.limits import Limits
from opsbot.workbench.wire import ControlError, Json, SlackError
from opsbot.workbench.world import World

_GIVEN = ("type", "callback_id", "external_id", "private_metadata", "title", "submit", "close", "blocks")
_FLAGS = ("clear_on_close", "notify_on_close", "submit_disabled")


@dataclass(slots=True)
class Views:
    """The views Slack shows: `stacks` by user, topmost last, and `homes` by user."""

    world: World
    feed: Feed
    ids: Ids
    limits: Limits
    stacks: dict[str, list[Json]] = field(default_factory=dict)
    homes: dict[str, Json] = field(default_factory=dict)

    def open(self, user: str, given: Json) -> Json:
        """Show a first modal. Replaces nothing: an open stack makes it a push."""
        return self.push(user, given) if self.stacks.get(user) else self._show(user, given)

    def push(self, user: str, given: Json) -> Json:
        """Put a modal on top of the stack. Raises SlackError `push_limit_reached` above three."""
        if len(self.stacks.get(user, [])) >= self.limits.view_stack_max:
            raise SlackError("push_limit_reached")
        return self._show(user, given)

    def update(self, view: Json, given: Json, expected_hash: str = "") -> Json:
        """Replace a view's content in place. Raises SlackError `hash_conflict` when it changed meanwhile."""
        if expected_hash and expected_hash != view["hash"]:
            raise SlackError("hash_conflict")
        fresh = self._complete(given, view["id"])
        fresh |= {"root_view_id": view["root_view_id"], "previous_view_id": view["previous_view_id"]}
        view.clear()
        view |= fresh
        self._publish_holder(view)
        return view

    def publish(self, user: str, given: Json, expected_hash: str = "") -> Json:
        """Set a person's App Home."""
        home = self.homes.get(user)
        if home is not None:
            return self.update(home, given, expected_hash)
        self.homes[user] = self._complete(given, self.ids.next("V"))
        self.feed.publish("home", user=user, view=self.homes[user])
        return self.homes[user]

    def find(self, view_id: str = "", external_id: str = "") -> Json:
        """Return an open view by either id. Raises SlackError `not_found`."""
        for view in (*self.homes.values(), *(v for stack in self.stacks.values() for v in stack)):
            if (view_id and view["id"] == view_id) or (external_id and view["external_id"] == external_id):
                return view
        raise SlackError("not_found")

    def held(self, user: str, view_id: str) -> Json:
        """Return a view the person sees. Raises ControlError when there is none with this id."""
        shown = [*self.stacks.get(user, []), *([self.homes[user]] if user in self.homes else [])]
        for view in shown:
            if view["id"] == view_id:
                return view
        raise ControlError(f"{user} has no open view {view_id}")

    def close(self, user: str, view_id: str = "") -> None:
        """Close a modal and what lies on it, or the whole stack when no id is given."""
        stack = self.stacks.get(user, [])
        index = next((i for i, view in enumerate(stack) if view["id"] == view_id), 0)
        del stack[index:]
        self.feed.publish("view", user=user, views=stack)

    def clear(self) -> None:
        """Forget every view."""
        self.stacks.clear()
        self.homes.clear()

    def show_errors(self, user: str, view: Json, errors: Json) -> None:
        """Show the errors a submission was answered with, by block_id."""
        self.feed.publish(
            "view", user=user, views=[v | {"errors": errors} if v is view else v for v in self.stacks[user]]
        )

    def _show(self, user: str, given: Json) -> Json:
        stack = self.stacks.setdefault(user, [])
        view = self._complete(given, self.ids.next("V"))
        if stack:
            view |= {"root_view_id": stack[0]["id"], "previous_view_id": stack[-1]["id"]}
        stack.append(view)
        self.feed.publish("view", user=user, views=stack)
        return view

    def _publish_holder(self, view: Json) -> None:
        for user, stack in self.stacks.items():
            if any(held is view for held in stack):
                self.feed.publish("view", user=user, views=stack)
        for user, home in self.homes.items():
            if home is view:
                self.feed.publish("home", user=user, view=home)

    def _complete(self, given: Json, view_id: str) -> Json:
        view: Json = {key: given.get(key, "") for key in _GIVEN}
        view |= {key: given.get(key) for key in ("title", "submit", "close")}
        view |= {key: bool(given.get(key, False)) for key in _FLAGS}
        view |= {
            "id": view_id,
            "team_id": self.world.team_id,
            "app_id": self.world.app_id,
            "app_installed_team_id": self.world.team_id,
            "bot_id": self.world.bot_id,
            "hash": f"{self.ids.ts('views')}.{self.ids.next('')}",
            "root_view_id": view_id,
            "previous_view_id": None,
            "state": {"values": {}},
        }
        return view
