"""Log lines in the forms that Debian 12 prints, with invented names, addresses and numbers.

The templates follow what journald shows on a Debian 12 host with sshd, sudo, systemd, cron, nginx, PostgreSQL, Redis,
the kernel, apt and NetworkManager (package versions of 2026-11). Nothing is copied from a real machine.
"""

import random
import string

TEMPLATES = (
    "sshd[{pid}]: Accepted publickey for {user} from {ip} port {port} ssh2: ED25519 SHA256:{b64}",
    "sshd[{pid}]: Failed password for invalid user {user} from {ip} port {port} ssh2",
    "sshd[{pid}]: Failed password for {user} from {ip} port {port} ssh2",
    "sshd[{pid}]: Connection closed by authenticating user {user} {ip} port {port} [preauth]",
    "sshd[{pid}]: pam_unix(sshd:session): session opened for user {user}(uid={num}) by (uid=0)",
    "sshd[{pid}]: error: maximum authentication attempts exceeded for {user} from {ip} port {port} ssh2 [preauth]",
    "sshd[{pid}]: Server listening on 0.0.0.0 port 22.",
    "sshd[{pid}]: userauth_pubkey: signature algorithm ssh-rsa not in PubkeyAcceptedAlgorithms [preauth]",
    "sshd[{pid}]: error: kex_exchange_identification: banner line contains invalid characters",
    "sudo[{pid}]: {user} : TTY=pts/0 ; PWD=/home/{user} ; USER=root ; COMMAND=/usr/bin/systemctl restart {unit}",
    "sudo[{pid}]: pam_unix(sudo:auth): authentication failure; logname= uid={num} euid=0 tty= ruser={user} rhost=",
    "sudo[{pid}]: {user} : a password is required ; TTY=unknown ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id",
    "systemd[1]: Started {unit} - {word} {word} service.",
    "systemd[1]: {unit}: Main process exited, code=exited, status={small}/n/a",
    "systemd[1]: {unit}: Failed with result 'exit-code'.",
    "systemd[1]: {unit}: Scheduled restart job, restart counter is at {small}.",
    "systemd[1]: {unit}: Consumed {small}.{small}s CPU time.",
    "systemd[1]: Starting systemd-tmpfiles-clean.service - Cleanup of Temporary Directories...",
    "systemd[1]: Reached target cryptsetup.target - Local Encrypted Volumes.",
    "systemd[1]: Started systemd-ask-password-console.path - Dispatch Password Requests to Console Directory Watch.",
    "systemd[1]: {unit}: A process of this unit has been killed by the OOM killer.",
    "systemd-logind[{pid}]: New session {small} of user {user}.",
    "systemd-resolved[{pid}]: Using degraded feature set UDP instead of UDP+EDNS0 for DNS server {ip}.",
    "systemd-networkd[{pid}]: eth0: DHCPv4 address {ip}/24, gateway {ip} acquired from {ip}",
    "CRON[{pid}]: ({user}) CMD (   cd / && run-parts --report /etc/cron.hourly)",
    "CRON[{pid}]: pam_unix(cron:session): session closed for user root",
    "kernel: [{num}.{num}] TCP: request_sock_TCP: Possible SYN flooding on port {port}. Sending cookies.",
    "kernel: Out of memory: Killed process {pid} ({word}) total-vm:{num}kB, anon-rss:{num}kB, file-rss:0kB",
    'kernel: audit: type=1400 audit({num}.{num}:{small}): apparmor="ALLOWED" operation="open" profile="{word}"',
    "kernel: usb 1-1: New USB device found, idVendor={hex4}, idProduct={hex4}, bcdDevice= 1.00",
    "kernel: Key type dns_resolver registered",
    "kernel: Loaded X.509 cert 'Debian Secure Boot CA: {hex40}'",
    "kernel: EXT4-fs (sda1): mounted filesystem {uuid} with ordered data mode. Quota mode: none.",
    "kernel: Command line: BOOT_IMAGE=/boot/vmlinuz-6.1.0-{small}-amd64 root=UUID={uuid} ro quiet",
    '{ip} - {user} [22/Nov/2026:10:{two}:{two} +0000] "GET /{word}?id={num} HTTP/1.1" 200 {num} "-" "curl/7.88.1"',
    '{ip} - - [22/Nov/2026:10:{two}:{two} +0000] "POST /login HTTP/2.0" 302 0 "https://{word}.example/" "Mozilla/5.0"',
    "2026/11/22 10:{two}:{two} [error] {pid}#{pid}: *{num} connect() failed (111: Connection refused) while connecting "
    'to upstream, client: {ip}, server: _, upstream: "http://127.0.0.1:{port}/{word}"',
    'nginx[{pid}]: nginx: [warn] conflicting server name "{word}.example" on 0.0.0.0:443, ignored',
    "2026-11-22 10:{two}:{two}.{num} UTC [{pid}] LOG:  checkpoint complete: wrote {num} buffers (0.{small}%)",
    '2026-11-22 10:{two}:{two} UTC [{pid}] {user}@{word} FATAL:  password authentication failed for user "{user}"',
    "2026-11-22 10:{two}:{two} UTC [{pid}] LOG:  duration: {num}.{small} ms  statement: SELECT key, value FROM {word}",
    '2026-11-22 10:{two}:{two} UTC [{pid}] ERROR:  duplicate key value violates unique constraint "{word}_pkey"',
    "2026-11-22 10:{two}:{two} UTC [{pid}] DETAIL:  Key (id)=({num}) already exists.",
    "{pid}:M 22 Nov 2026 10:{two}:{two}.{small} * DB saved on disk",
    "{pid}:M 22 Nov 2026 10:{two}:{two}.{small} # Warning: no config file specified, using the default config.",
    "apt[{pid}]: Get:{small} http://deb.example.org/debian bookworm/main amd64 {word} {small}.{small}-1 [{num} kB]",
    'gpg: key {HEX16}: public key "Debian Archive Automatic Signing Key (12/bookworm)" imported',
    "apt-key[{pid}]: Warning: apt-key is deprecated. Manage keyring files in trusted.gpg.d instead (see apt-key(8)).",
    "dpkg[{pid}]: status installed {word}:amd64 {small}.{small}.{small}-1+deb12u{small}",
    "NetworkManager[{pid}]: <info>  [{num}.{num}] device (eth0): state change: config -> ip-config (reason 'none')",
    "dbus-daemon[{pid}]: [system] Activating via systemd: service name='org.freedesktop.hostname1' unit='{unit}'",
    "chronyd[{pid}]: Selected source {ip} ({word}.pool.ntp.org)",
    "postfix/smtpd[{pid}]: disconnect from unknown[{ip}] ehlo=1 auth=0/1 commands=1/2",
    "postfix/smtpd[{pid}]: warning: unknown[{ip}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
    'containerd[{pid}]: time="2026-11-22T10:{two}:{two}Z" level=info msg="shim disconnected" id={hex64} namespace=moby',
    'dockerd[{pid}]: level=warning msg="Your kernel does not support swap memory limit" id={hex40}',
    "certbot[{pid}]: Cert not yet due for renewal: /etc/letsencrypt/live/{word}.example/privkey.pem",
    "fail2ban.actions[{pid}]: NOTICE  [sshd] Ban {ip}",
    "smartd[{pid}]: Device: /dev/sda [SAT], SMART Usage Attribute: 194 Temperature_Celsius changed from {two} to {two}",
    "git-daemon[{pid}]: Request upload-pack for '/{word}.git' commit {hex40}",
    "{word}[{pid}]: user.{word}: token expired after {num} s, asking for another",
    "{word}[{pid}]: cache key={word}:{num} hit=true ttl_s={num}",
    "{word}[{pid}]: request id={uuid} path=/api/v1/{word} status=200 duration_ms={small} tokens={num}",
    "{word}[{pid}]: loaded 3 keys from /etc/{word}/keys.d, primary key id {hex4}",
    "{word}[{pid}]: password policy: minimum length {small}, history {small}",
    "{word}[{pid}]: GET https://{word}.example:{port}/v2/{word}/manifests/sha256:{hex64} 200",
    "{word}[{pid}]: OPENSSL: TLS_AES_256_GCM_SHA384 session reused, ticket key name {hex40}",
)
_WORDS = (
    "billing",
    "cart",
    "search",
    "mailer",
    "gateway",
    "report",
    "worker",
    "cache",
    "index",
    "token-service",
    "vault",
)
_USERS = ("root", "opsbot", "deploy", "www-data", "postgres", "anna", "backup", "admin")
_UNITS = (
    "nginx.service",
    "cart-api.service",
    "redis-server.service",
    "ssh.service",
    "cron.service",
    "getty@tty1.service",
)


def log_lines(count: int, chance: random.Random) -> list[str]:
    """Return `count` lines, the templates in turn, filled in by `chance`."""
    return [_filled(TEMPLATES[index % len(TEMPLATES)], chance) for index in range(count)]


def _filled(template: str, chance: random.Random) -> str:
    hexadecimal = string.hexdigits.lower()[:16]

    def some(alphabet: str, length: int) -> str:
        return "".join(chance.choices(alphabet, k=length))

    uuid = "-".join(some(hexadecimal, length) for length in (8, 4, 4, 4, 12))
    return template.format(
        pid=chance.randint(100, 99999),
        ip=".".join(str(chance.randint(1, 254)) for _ in range(4)),
        port=chance.randint(1024, 65535),
        num=chance.randint(1000, 9_999_999),
        small=chance.randint(1, 99),
        two=f"{chance.randint(0, 59):02d}",
        user=chance.choice(_USERS),
        unit=chance.choice(_UNITS),
        word=chance.choice(_WORDS),
        uuid=uuid,
        b64=some(string.ascii_letters + string.digits + "+/", 43),
        hex4=some(hexadecimal, 4),
        hex40=some(hexadecimal, 40),
        hex64=some(hexadecimal, 64),
        HEX16=some(hexadecimal, 16).upper(),
    )
