"""The words of `/ops` and `!words`: what each looks like, what it does, and which tool answers it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """One line of the help text."""

    words: str
    does: str


@dataclass(frozen=True, slots=True)
class Form:
    """How the words after a command become a call: `first` names the arguments before the hosts, `last` a number
    that may follow them.
    """

    tool: str
    usage: Usage
    first: tuple[str, ...] = ()
    last: str = ""


READING = (
    Form("server_status", Usage("status HOST|GROUP|all", "load, memory, disks and failed units")),
    Form("service_status", Usage("services HOST|GROUP", "what runs there, failed first")),
    Form("service_status", Usage("service UNIT HOST|GROUP", "one service in detail"), ("unit",)),
    Form("service_logs", Usage("logs UNIT HOST [LINES]", "its newest log lines"), ("unit",), "lines"),
    Form("service_dependencies", Usage("needs UNIT HOST", "what it needs, and what needs it"), ("unit",)),
    Form("list_failed_units", Usage("failed HOST|GROUP|all", "what failed or keeps falling over, and why")),
    Form("whats_changed", Usage("changes HOST|GROUP [HOURS]", "reboots, starts, packages, files"), last="hours"),
    Form("compare_hosts", Usage("compare HOST|GROUP…", "what differs between these hosts")),
    Form("disk_usage", Usage("disk HOST|GROUP", "file systems, the fullest first")),
    Form("top_processes", Usage("top HOST|GROUP", "what uses the CPU and the memory")),
    Form("network_ports", Usage("ports HOST|GROUP", "who listens, and how many are connected")),
    Form("kernel_messages", Usage("kernel HOST|GROUP [HOURS]", "out of memory, disk errors, crashes"), last="hours"),
    Form("timers_and_cron", Usage("timers HOST|GROUP", "timers and cron jobs, the overdue first")),
    Form("package_updates", Usage("updates HOST|GROUP", "pending updates, and whether a reboot is needed")),
    Form("certificate_expiry", Usage("certs HOST|GROUP|all", "certificates, the next to expire first")),
    Form("http_check", Usage("http HOST|GROUP|all", "the health checks by HTTP")),
    Form("tcp_check", Usage("tcp HOST|GROUP|all", "the health checks by TCP")),
    Form("dns_check", Usage("dns HOST|GROUP", "whether the configured names resolve there")),
    Form("docker_containers", Usage("containers HOST|GROUP", "containers and their state")),
    Form(
        "docker_logs", Usage("container NAME HOST [LINES]", "a container's newest log lines"), ("container",), "lines"
    ),
    Form(
        "host_history",
        Usage("history METRIC HOST|GROUP [HOURS]", "load, cpu, memory, swap, disk, uptime or reachable over time"),
        ("metric",),
        "hours",
    ),
)
WRITING = (
    Form("restart_service", Usage("restart UNIT HOST… [because REASON]", "ask for a restart"), ("unit",)),
    Form("start_service", Usage("start UNIT HOST… [because REASON]", "ask for a start"), ("unit",)),
    Form("stop_service", Usage("stop UNIT HOST… [because REASON]", "ask for a stop; two people approve"), ("unit",)),
    Form("reload_service", Usage("reload UNIT HOST… [because REASON]", "ask to reload its configuration"), ("unit",)),
    Form("reset_failed", Usage("reset-failed UNIT HOST… [because REASON]", "ask to clear its failed state"), ("unit",)),
    Form(
        "restart_container",
        Usage("restart-container NAME HOST… [because REASON]", "ask to restart a container"),
        ("container",),
    ),
    Form("reboot_host", Usage("reboot HOST… [because REASON]", "ask for a reboot; two people approve")),
)
OTHERS = (
    Usage("do TOOL [HOST…] [NAME=VALUE…] [because REASON]", "any tool, with its arguments by name"),
    Usage("hosts [GROUP]", "the inventory"),
    Usage("runbook WORDS", "what the team wrote down about it"),
    Usage("incidents WORDS", "past incidents like it"),
    Usage("tools", "what the bot can do"),
    Usage("approvals", "open and recent requests"),
    Usage("explain ID", "everything recorded about a request"),
    Usage("withdraw ID", "take back a request of yours; end an approval for a while"),
    Usage("leave-out ID HOST…", "leave hosts out of a request, before approving it"),
    Usage("freeze SCOPE [for 2h|until 18:00] because REASON", "hold changes back there; whoever may ask may do it"),
    Usage("unfreeze ID|SCOPE because REASON", "end a freeze: who made it, or an approver"),
    Usage("freezes", "what holds changes back now, and by whom"),
    Usage("stop-all [REASON]", "stop every action at once; reads go on"),
    Usage("resume-all [REASON]", "let actions go on: two approvers"),
    Usage("usage [day|person|conversation|turn] [DAYS]", "what the model took: tokens, cost, share from its cache"),
    Usage("report", "in a thread: write its incident report, as a draft to edit and publish"),
    Usage("alert TEXT", "read a pasted alert, and look into it"),
    Usage("ask TEXT", "ask the model"),
    Usage("reset", "forget this thread's conversation"),
    Usage("help", "this list"),
)
USAGES = (*(form.usage for form in (*READING, *WRITING)), *OTHERS)
WORDS = tuple(usage.words.split()[0] for usage in USAGES)
# Commands that are taken in however many messages there are.
URGENT = frozenset({"stop-all", "resume-all", "freeze", "unfreeze", "freezes", "approvals", "withdraw", "leave-out"})
