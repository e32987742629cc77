"""What people ask runbooks, and where the answer stands: written before anything was tuned, and not changed since.

Each case: the words, the file, and the heading that answers. `WORDS` share rare words with the text, `MEANING` say it
in other words, `NOWHERE` has no answer in any of the runbooks. Every third case is held out: settings are chosen
without it. One author wrote texts and questions, so the figures are an upper bound.
"""

WORDS = (
    ("nginx 502 bad gateway", "nginx.md", "502 Bad Gateway"),
    ("upstream 504 time-out proxy_read_timeout", "nginx.md", "504 Gateway Time-out"),
    ("accept4() failed too many open files", "nginx.md", "Too many open files"),
    ("OOM command not allowed when used memory", "redis.md", "Memory limit reached"),
    ("MISCONF redis cannot persist on disk", "redis.md", "Snapshot fails and writes are refused"),
    ("replica full resync repl-backlog-size", "redis.md", "Replica lost its connection"),
    ("lsof deleted file still held", "disk-full.md", "Space is gone but no file is large"),
    ("inodes used up", "disk-full.md", "No room for new files though space is free"),
    ("journalctl vacuum-size", "disk-full.md", "What may be deleted"),
    ("sorry, too many clients already", "postgresql.md", "Too many clients"),
    ("pg_stat_replication standby behind", "postgresql.md", "The standby falls behind"),
    ("pg_blocking_pids", "postgresql.md", "Queries hang on locks"),
    ("replication slot keeps WAL", "postgresql.md", "WAL grows without end"),
    ("kernel out of memory killed process java", "memory.md", "The kernel killed a process"),
    ("processes in state D", "cpu-and-load.md", "High load with an idle processor"),
    ("steal time", "cpu-and-load.md", "Steal time on a virtual machine"),
    ("certbot renew dry-run", "certificates.md", "Automatic renewal failed"),
    ("unable to get local issuer certificate", "certificates.md", "Chain incomplete"),
    ("ssh permission denied authorized_keys", "ssh.md", "Permission denied"),
    ("NXDOMAIN internal zone", "dns.md", "NXDOMAIN for an internal zone"),
    ("chronyc makestep", "clock.md", "The time is wrong"),
    ("start request repeated too quickly", "systemd-units.md", "Start request repeated too quickly"),
    ("restic unlock stale lock", "backups.md", "The nightly job failed"),
    ("nf_conntrack table full dropping packet", "network.md", "Conntrack table full"),
    ("docker system df image prune", "containers.md", "Docker uses up the disk"),
)

MEANING = (
    ("the website shows an error page because the backend is dead", "nginx.md", "502 Bad Gateway"),
    ("configuration typo, web server will not take the new settings", "nginx.md", "Reload refused"),
    ("requests take forever until they are cut off by the proxy", "nginx.md", "504 Gateway Time-out"),
    ("cache refuses new entries, it has no room left", "redis.md", "Memory limit reached"),
    ("cache answers with great delay", "redis.md", "Everything is slow"),
    ("partition at 100%, where did it all go", "disk-full.md", "Find what fills it"),
    ("which things can I safely remove to gain storage", "disk-full.md", "What may be deleted"),
    ("du shows much less than df", "disk-full.md", "Space is gone but no file is large"),
    ("database rejects further logins, connection pool exhausted", "postgresql.md", "Too many clients"),
    ("secondary database server lags", "postgresql.md", "The standby falls behind"),
    ("a schema change blocks every statement", "postgresql.md", "Queries hang on locks"),
    ("save a copy of the database first", "postgresql.md", "Take a dump before you change anything"),
    ("application consumes more RAM each week", "memory.md", "It grows day by day"),
    ("machine is thrashing", "memory.md", "Swapping all the time"),
    ("server sluggish though CPU usage is near zero", "cpu-and-load.md", "High load with an idle processor"),
    ("a program burns 100% of a processor", "cpu-and-load.md", "One process takes a whole core"),
    ("browser says the site's certificate is out of date", "certificates.md", "Expired"),
    ("letsencrypt did not renew", "certificates.md", "Automatic renewal failed"),
    ("I am locked out, my key is not accepted", "ssh.md", "Permission denied"),
    ("fingerprint warning when logging in to the machine", "ssh.md", "The host key changed"),
    ("hostname lookups fail", "dns.md", "Names cannot be resolved"),
    ("we moved the site but clients still go to the former IP", "dns.md", "An old address is returned"),
    ("machine is five minutes ahead", "clock.md", "The time is wrong"),
    ("service crashes immediately when launched", "systemd-units.md", "It dies right after the start"),
    (
        "I edited the service definition and nothing happened",
        "systemd-units.md",
        "A change of the unit file has no effect",
    ),
    ("shutdown of a daemon is very slow", "systemd-units.md", "Stop takes minutes"),
    ("someone erased an important document, get it back", "backups.md", "Bring back a file"),
    ("last night's copy did not happen", "backups.md", "The nightly job failed"),
    ("cannot connect to the service from another box, firewall?", "network.md", "A port cannot be reached"),
    ("unreliable link, some traffic is dropped", "network.md", "Packets get lost"),
    ("pod in a crash loop", "containers.md", "A container restarts again and again"),
    ("cannot download the new version from the registry", "containers.md", "An image cannot be pulled"),
)

NOWHERE = (
    "how do I book a meeting room",
    "printer on the third floor is out of toner",
    "kafka consumer group rebalancing",
    "vacation policy",
    "ldap password expiry for employees",
    "elasticsearch shard allocation",
)
