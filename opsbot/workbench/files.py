"""Files: bytes people attach and the app uploads, and where to fetch them."""

import mimetypes
from dataclasses import dataclass, field

from opsbot.workbench.clock import Clock
from opsbot.workbench.ids import Ids
from opsbot.workbench.wire import Json, SlackError


@dataclass(slots=True)
class File:
    """One file. Before `is_complete` only its uploader knows of it."""

    id: str
    name: str
    user: str
    created_at: int
    mimetype: str = "application/octet-stream"
    title: str = ""
    content: bytes = b""
    # What getUploadURLExternal was told, and whether the bytes came; a file of a person has neither.
    announced_bytes: int = 0
    is_uploaded: bool = False
    alt_txt: str = ""
    is_complete: bool = False
    channels: list[str] = field(default_factory=list)

    def shown(self, base_url: str) -> Json:
        """Return Slack's file object; `url_private` needs the bot token."""
        filetype = self.name.rsplit(".", 1)[-1] if "." in self.name else "text"
        return {
            "id": self.id,
            "created": self.created_at,
            "timestamp": self.created_at,
            "name": self.name,
            "title": self.title or self.name,
            "alt_txt": self.alt_txt,
            "mimetype": self.mimetype,
            "filetype": filetype,
            "pretty_type": filetype.upper(),
            "user": self.user,
            "size": len(self.content),
            "mode": "hosted",
            "is_external": False,
            "is_public": True,
            "url_private": f"{base_url}/files/{self.id}",
            "url_private_download": f"{base_url}/files/{self.id}?download=1",
            "permalink": f"{base_url}/files/{self.id}",
            "channels": list(self.channels),
        }


class Files:
    """All files by id."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock, self._ids = clock, ids
        self._files: dict[str, File] = {}

    def create(self, name: str, user: str) -> File:
        """Make room for a file; its bytes follow."""
        mimetype = mimetypes.guess_type(name)[0] or "application/octet-stream"
        file = File(self._ids.next("F"), name, user, int(self._clock.now()), mimetype)
        self._files[file.id] = file
        return file

    def get(self, file_id: str) -> File:
        """Return a file. Raises SlackError `file_not_found`."""
        if file_id not in self._files:
            raise SlackError("file_not_found")
        return self._files[file_id]

    def clear(self) -> None:
        """Forget every file."""
        self._files.clear()
