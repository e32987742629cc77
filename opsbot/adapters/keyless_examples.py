"""What people say to the keyless model, by intent; "the server" and "the service" stand for any names."""

from enum import StrEnum


class Intent(StrEnum):
    """What a person wants."""

    STATUS = "status"
    HOSTS = "hosts"
    SERVICE = "service"
    LOGS = "logs"
    RESTART = "restart"
    START = "start"
    STOP = "stop"
    RELOAD = "reload"
    REBOOT = "reboot"
    BEYOND = "beyond"
    HELP = "help"
    WHO = "who"
    GREETING = "greeting"
    THANKS = "thanks"
    UNCLEAR = "unclear"


# What changes a host, and BEYOND, have none on purpose: that is taken from the verb alone, never from likeness.
EXAMPLES: dict[Intent, tuple[str, ...]] = {
    Intent.STATUS: (
        "how is this machine?",
        "how is the server",
        "how is the server doing",
        "how are my servers",
        "how are the servers doing today",
        "how are things",
        "is everything ok",
        "is everything fine",
        "is all well",
        "status",
        "status of the server",
        "status report",
        "check the server",
        "check all servers",
        "health of the server",
        "is the server up",
        "is the server healthy",
        "what is wrong with the server",
        "what is going on with the server",
        "the server is slow",
        "why is the server slow",
        "load of the server",
        "what is the load on the server",
        "cpu usage of the server",
        "how busy is the server",
        "how much memory is free on the server",
        "memory usage of the server",
        "is the server swapping",
        "disk space on the server",
        "is the disk full on the server",
        "how full are the disks",
        "how much disk space is left",
        "uptime of the server",
        "show me the uptime of all servers",
        "how long has the server been up",
        "anything broken",
        "any problems on my servers",
        "give me an overview",
        "show load",
        "disk usage",
        "ram usage",
        "is the server reachable",
        "show the status of all servers",
    ),
    Intent.HOSTS: (
        "list my servers",
        "list hosts",
        "list all machines",
        "which hosts do you know",
        "which servers do we have",
        "what servers are there",
        "show the inventory",
        "show me all hosts",
        "what machines can you see",
        "what groups are there",
        "how many servers do we have",
        "which services can you restart",
        "what can you restart",
        "hosts",
        "inventory",
    ),
    Intent.SERVICE: (
        "is the service running",
        "is the service running on the server",
        "is the service up",
        "is the service alive on the server",
        "is the service ok",
        "how is the service",
        "how is the service doing",
        "status of the service",
        "status of the service on the server",
        "state of the service on the server",
        "check the service on the server",
        "what services are running on the server",
        "list the services of the server",
        "which services failed on the server",
        "are there failed services",
        "which services are failing",
        "what is running on the server",
        "services on the server",
        "when was the service restarted",
        "when was the service restarted on the server",
        "since when does the service run on the server",
        "did the service crash on the server",
        "why did the service restart on the server",
        "what is wrong with the service on the server",
    ),
    Intent.LOGS: (
        "show me the logs",
        "show me the logs of the service on the server",
        "logs of the service",
        "the service logs",
        "log of the service on the server",
        "last lines of the service log on the server",
        "tail the service log",
        "journal of the service",
        "what does the service say in its journal",
        "any errors in the service logs on the server",
        "what did the service log",
        "can i get the logs of the service",
        "tail the service on the server",
        "errors in the service",
        "why does the service fail, show its log",
    ),
    Intent.HELP: (
        "help",
        "help me",
        "what can you do",
        "what can i ask you",
        "how do you work",
        "how can i use you",
        "what commands are there",
        "show me examples",
        "what do you understand",
    ),
    Intent.WHO: (
        "who are you",
        "what are you",
        "are you a bot",
        "are you an ai",
        "are you a language model",
        "what is your name",
        "introduce yourself",
        "which model are you",
    ),
    Intent.GREETING: (
        "hello",
        "hi",
        "hi there",
        "hey",
        "good morning",
        "good evening",
        "hello bot",
        "are you there",
        "ping",
    ),
    Intent.THANKS: (
        "thanks",
        "thank you",
        "thank you very much",
        "many thanks",
        "great, thanks",
        "cool thanks",
        "well done",
        "perfect",
        "good job",
    ),
    # Talk that must not come near anything above.
    Intent.UNCLEAR: (
        "tell me a joke",
        "what is the weather",
        "write a poem",
        "what do you think about football",
        "i had a great lunch today",
        "how was your weekend",
        "who won the game",
        "translate this sentence",
        "what time is it",
        "i am tired",
        "what is the meaning of life",
        "how are you feeling",
        "write code for me",
    ),
}
