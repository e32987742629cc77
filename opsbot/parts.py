"""The parts of the service, each made once for a process."""

from dataclasses import dataclass

from opsbot.actions import Catalogue
from opsbot.alarms import Alarms
from opsbot.delivery import Delivery
from opsbot.desk import ApprovalDesk
from opsbot.dialogue import Dialogue
from opsbot.escalation import Escalation
from opsbot.executor import Executor
from opsbot.identity import Identify
from opsbot.intake import Intake
from opsbot.life import Organs
from opsbot.looking import Looks
from opsbot.metering import Meter
from opsbot.overhearing import Overhearing
from opsbot.policy import PolicyRules
from opsbot.ports import Clock, Store
from opsbot.recorder import Recorder
from opsbot.replica import Replica
from opsbot.reporting import Reporting
from opsbot.sampling import Sampling
from opsbot.shelving import Shelving
from opsbot.sights import Sights
from opsbot.stopping import Stopping
from opsbot.strangers import Strangers
from opsbot.throttle import Throttle
from opsbot.usage import UsageReports


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service works with; put together by bootstrap."""

    store: Store
    replica: Replica
    identify: Identify
    catalogue: Catalogue
    executor: Executor
    rules: PolicyRules
    intake: Intake
    clock: Clock
    delivery: Delivery
    desk: ApprovalDesk
    escalation: Escalation
    dialogue: Dialogue
    recorder: Recorder
    sampling: Sampling
    shelving: Shelving
    throttle: Throttle
    stopping: Stopping
    looks: Looks
    strangers: Strangers
    meter: Meter
    usage: UsageReports
    reporting: Reporting
    alarms: Alarms
    sights: Sights
    overhearing: Overhearing
    bot_name: str = "opsbot"

    @property
    def organs(self) -> Organs:
        """The parts that live."""
        return Organs(
            self.store,
            self.replica,
            self.executor,
            self.clock,
            self.delivery,
            self.desk,
            self.dialogue,
            self.escalation,
            self.recorder,
            self.sampling,
            self.shelving,
            self.stopping,
            self.meter,
        )
