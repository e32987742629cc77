"""What goes with the buttons of a card: proof that a click is on that card, as the request stands now."""

import base64
import hashlib
import hmac
from dataclasses import dataclass

from opsbot.domain import Approval, MessageRef
from opsbot.errors import WrongCard

# Of the HMAC; 128 bits are more than anybody guesses while a request lasts.
_BYTES = 16


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button that was pressed: the message it was on, and the seal that came with it."""

    card: MessageRef
    seal: str


class ButtonSeals:
    """Seals bind a button to one request and one content of its card: its digest. The button carries no argument."""

    def __init__(self, key: bytes) -> None:
        # A key of its own, derived: a button's seal can never be mistaken for another one.
        self._key = hmac.digest(key, b"opsbot button seal", hashlib.sha256)

    def of(self, approval: Approval) -> str:
        """Return the seal for the buttons of this request as it stands."""
        code = hmac.digest(self._key, f"{approval.id}\n{approval.digest}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(code[:_BYTES]).decode().rstrip("=")

    def of_report(self, report_id: str, version: int) -> str:
        """Return the seal for the buttons and the form of a report in this version."""
        code = hmac.digest(self._key, f"report\n{report_id}\n{version}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(code[:_BYTES]).decode().rstrip("=")

    def fits_report(self, seal: str, report_id: str, version: int) -> bool:
        """Whether opsbot made this seal for the report in this version."""
        expected = self.of_report(report_id, version)
        return hmac.compare_digest(expected.encode(), seal.encode(errors="surrogatepass"))

    def check(self, approval: Approval, seal: str) -> None:
        """Raise WrongCard unless the seal is that of the request as it stands now."""
        if not hmac.compare_digest(self.of(approval).encode(), seal.encode(errors="surrogatepass")):
            raise WrongCard(
                "That button does not belong to this request as it stands now: the request changed, or the button is "
                "not one of opsbot's. Nothing was counted. Read its card again and use the buttons there."
            )
