"""The gate: a forced command for sshd that lets through what looks at a host, and nothing else."""

import hashlib
import shlex
from collections.abc import Iterable

from opsbot.domain import Host
from opsbot.errors import BadArguments
from opsbot.looks import Look, Slot

PATH = "/usr/local/lib/opsbot/gate"
# In a comment of the script: what a rule is about.
_SHOWN = 100
_SCRIPT = """\
set -f
LC_ALL=C; export LC_ALL
newline='
'
rest=${SSH_ORIGINAL_COMMAND-}
unset SSH_ORIGINAL_COMMAND
said=$rest

refuse() {
  shown=$(printf %s "$said" | head -c 300 | tr -c '[:print:]' '?')
  logger -t opsbot-gate -p auth.warning -- "refused for ${SSH_CONNECTION%% *}: $shown" 2>/dev/null
  echo "opsbot-gate: this key may only look, and $1." >&2
  exit 126
}

# Moves the next word of $rest to $word, without its quotes; fails at anything but one blank between two words.
take() {
  word=
  case $rest in
  \\'*)
    while :; do
      rest=${rest#\\'}
      case $rest in *\\'*) ;; *) return 1 ;; esac
      word=$word${rest%%\\'*}
      rest=${rest#*\\'}
      case $rest in \\"\\'\\"\\'*) word=$word\\'; rest=${rest#\\"\\'\\"} ;; *) break ;; esac
    done ;;
  *)
    word=${rest%% *}
    case $word in ''|*[!A-Za-z0-9@%+=:,./_-]*) return 1 ;; esac
    rest=${rest#"$word"} ;;
  esac
  case $rest in '') ;; ' '?*) rest=${rest# } ;; *) return 1 ;; esac
}

is_unit() {
  case $1 in *[!A-Za-z0-9:_.@\\\\-]*|*@*@*|*@) return 1 ;; [A-Za-z0-9]*) [ ${#1} -le 255 ] ;; *) return 1 ;; esac
}
is_container() {
  case $1 in *[!A-Za-z0-9_.-]*) return 1 ;; [A-Za-z0-9]*) [ ${#1} -le 255 ] ;; *) return 1 ;; esac
}
is_number() {
  case $1 in ''|*[!0-9]*) return 1 ;; *) [ ${#1} -le 10 ] ;; esac
}
is_time() {
  case $1 in *[!A-Za-z0-9" ":.+@-]*) return 1 ;; [A-Za-z0-9+@-]*) [ ${#1} -le 61 ] ;; *) return 1 ;; esac
}
is_path() {
  case $1 in *[[:cntrl:]]*|*/../*|*/..) return 1 ;; /*) [ ${#1} -le 4096 ] ;; *) return 1 ;; esac
}

# fits PATTERN WORD: `=` and the word itself, `#` and the SHA-256 of a script, or `KIND|before|after`.
fits() {
  case $1 in
  =*) [ "$2" = "${1#=}" ]; return ;;
  \\#*) case $2 in *"$newline"*) [ "$script" = "${1#?}" ] ;; *) return 1 ;; esac; return ;;
  esac
  before=${1#*|}; after=${before#*|}; before=${before%%|*}
  case $2 in "$before"*"$after") ;; *) return 1 ;; esac
  inner=${2#"$before"}; inner=${inner%"$after"}
  [ "$before$inner$after" = "$2" ] && "is_${1%%|*}" "$inner"
}

rule() {
  [ $# -eq "$count" ] || return 1
  number=0
  for pattern; do
    number=$((number + 1))
    eval "word=\\$word_$number"
    fits "$pattern" "$word" || return 1
  done
}

allowed() {
  RULES
  false
}

[ "$rest" ] || refuse 'it opens no shell'
count=0 script=
while [ "$rest" ]; do
  take || refuse 'this line is not spelled as opsbot spells one'
  count=$((count + 1))
  [ $count -le 4096 ] || refuse 'this line is too long'
  eval "word_$count=\\$word"
  case $word in *"$newline"*)
    [ -z "$script" ] || refuse 'this line holds two scripts'
    script=$(printf %s "$word" | sha256sum) || refuse 'this host has no sha256sum'
    script=${script%% *} ;;
  esac
done
allowed || refuse 'this command does not look, or the gate is older than the inventory or the tools'
set --
number=0
while [ $number -lt $count ]; do
  number=$((number + 1))
  eval "set -- \\"\\$@\\" \\"\\$word_$number\\""
done
# Only the probe channel, which begins with exec, reads what is sent to it.
if [ "$1" = exec ]; then shift; exec "$@"; fi
exec "$@" </dev/null
"""


def gate_for(host: Host, looks: Iterable[Look], *, line: str) -> str:
    """Return the whole script for this host; `line` is the line of authorized_keys to show with it."""
    rules = "\n".join(dict.fromkeys(_rule(look) for look in looks))
    return f"{_head(host, line)}{_SCRIPT.replace('  RULES', rules)}"


def key_line(host: Host, public_key: str, *, behind: Iterable[Host] = (), sources: str = "") -> str:
    """Return the line of authorized_keys that holds a key to the gate.

    `behind` names the hosts that are reached through this one: connecting to their SSH ports stays possible.
    `sources`: addresses the bot comes from, as sshd(8) takes them in `from=`.

    Raises:
        BadArguments: `sources` or the key would mean something else in such a line.
    """
    if any(character in '"\\\n\r' or not character.isprintable() for character in sources + public_key):
        raise BadArguments("The sources and the public key stand in one line of authorized_keys: no quotes there.")
    options = ["restrict", f'command="{PATH}"']
    places = [f'permitopen="{_bracketed(other.address)}:{other.port}"' for other in behind]
    options += ["port-forwarding", *places] if places else []
    options += [f'from="{sources}"'] if sources else []
    return f"{','.join(options)} {public_key}"


def _head(host: Host, line: str) -> str:
    user = host.read_user or host.user
    return f"""\
#!/bin/sh
# opsbot's gate for {host.name}: which commands the key of the account that looks ({user}) may run. Printed by
# `opsbot gate {host.name}`; print it again after a change of the inventory or of tools, and after an upgrade of opsbot.
# Install it owned by root, mode 0755, as {PATH}, and name it in authorized_keys of {user}:
#   {line}
# It takes the line sshd hands over apart into words itself, compares every word, and runs these words without any
# shell in between. Whatever is not exactly one of the rules below is refused and logged (`journalctl -t opsbot-gate`).
"""


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _rule(look: Look) -> str:
    """Spell a template as a line of the script; above it what it is, where that is a script."""
    patterns = " ".join(shlex.quote(_pattern(word)) for word in look)
    scripts = [word for word in look if isinstance(word, str) and "\n" in word]
    about = next((line for word in scripts for line in word.splitlines() if line.strip()), "")
    return f"  # {_printable(about)}\n  rule {patterns} ||" if about else f"  rule {patterns} ||"


def _pattern(word: str | Slot) -> str:
    if isinstance(word, Slot):
        return f"{word.kind}|{word.before}|{word.after}"
    return f"#{hashlib.sha256(word.encode()).hexdigest()}" if "\n" in word else f"={word}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() and c.isascii() else "?" for c in text.lstrip("# "))[:_SHOWN]
