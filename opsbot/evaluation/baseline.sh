# The baseline of a host of the evaluation: take it, go back to it, or print what can be compared with it.
# Runs as root on the host; /run is memory, so a boot forgets everything.
B=/run/eval
TREES="etc usr/local opt srv home root var/backups var/spool/cron"
cd / || exit 1

services() { systemctl list-units --type=service --state="$1" --no-legend --plain |
  awk '{ print $1 }' | grep -vE '^(user@|user-runtime-dir@|systemd-|getty|console)' | sort; }
files() { find $TREES -xdev \( -type f -o -type l \) 2>/dev/null | sort; }
ids() { for unit in $(cat $B/running); do echo "$unit $(systemctl show -p InvocationID --value "$unit")"; done; }

print() {
  services running | sed 's/^/running /'
  services failed | sed 's/^/failed /'
  files | sha1sum | sed 's/^/files /'
  find $TREES -xdev -type f -print0 2>/dev/null | sort -z | xargs -0 cat | sha1sum | sed 's/^/content /'
  ss -Hltn | awk '{ print "listens " $4 }' | sort
  find srv/data tmp var/tmp -mindepth 1 -maxdepth 1 ! -name 'systemd-private-*' ! -name '.*-unix' ! -name '*.state' |
    sed 's/^/left /'
}

case "$1" in
  take)
    mkdir -p $B
    systemctl daemon-reload; systemctl reset-failed
    files > $B/files; services running > $B/running
    tar cpf $B/tree.tar $TREES 2>/dev/null
    ids > $B/ids; print > $B/print ;;
  restore)
    services running > $B/now
    for unit in $(comm -13 $B/running $B/now); do systemctl kill -s KILL "$unit"; systemctl stop "$unit"; done
    systemctl stop 'eval-*' 2>/dev/null
    find srv/data tmp var/tmp -mindepth 1 -maxdepth 1 ! -name 'systemd-private-*' ! -name '.*-unix' ! -name '*.state' \
      -exec rm -rf {} + 2>/dev/null
    files > $B/now
    comm -13 $B/files $B/now > $B/extra
    while read -r file; do rm -f "/$file"; done < $B/extra
    # Only what differs: a file that is written anew has changed for whoever looks at its times.
    tar dpf $B/tree.tar 2>&1 | sed -E 's/^tar: //; s/: .*//' | sort -u > $B/differs
    tar xpf $B/tree.tar -T $B/differs 2>/dev/null
    systemctl daemon-reload; systemctl reset-failed
    # A service may have taken over, by a reload, what is no longer there.
    for unit in $(cat $B/running); do
      name=${unit%.service}; name=${name%%-*}
      ! grep -qhE "^etc/$name[./]" $B/extra $B/differs || systemctl restart "$unit"; done
    ids | grep -vxFf $B/ids | while read -r unit _; do
      systemctl kill -s KILL "$unit" 2>/dev/null; systemctl restart "$unit"; done
    for unit in $(cat $B/running); do systemctl is-active -q "$unit" || systemctl restart "$unit"; done
    journalctl -q --rotate; journalctl -q --vacuum-time=1us
    ids > $B/ids ;;
  compare)
    tries=0
    while print > $B/now; ! cmp -s $B/print $B/now; do
      tries=$((tries + 1)); [ $tries -lt 40 ] || { diff $B/print $B/now; exit 1; }
      sleep 0.25
    done ;;
  units)
    systemctl show '*.service' -p Id,ActiveState,InvocationID --no-pager ;;
esac
