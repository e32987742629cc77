#!/usr/bin/env python3
"""Proves over paramiko that the fleet behaves: services, rights, then every fault.
usage: smoke.py [services|faults|all]   (fleet must be up with >= 2 hosts)"""
import contextlib, json, subprocess, sys, threading, time
from pathlib import Path
import logging, paramiko
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

FLEET = str(Path(__file__).resolve().parent / "fleet")
inv = json.loads(subprocess.check_output([FLEET, "inventory"]))
A = {h["name"]: h["addr"] for h in inv["hosts"]}
bad = []


def connect(name="h1", user="bot", timeout=5, password=None):
    c = paramiko.SSHClient()
    c.load_host_keys(inv["known_hosts"])
    c.set_missing_host_key_policy(paramiko.RejectPolicy())
    kw = dict(password=password) if password else dict(key_filename=inv["key"])
    c.connect(A[name], username=user, timeout=timeout, banner_timeout=timeout, auth_timeout=timeout,
              channel_timeout=timeout, allow_agent=False, look_for_keys=False, **kw)
    return c


def run(c, cmd, timeout=30):
    i, o, e = c.exec_command(cmd, timeout=timeout)
    out, err = o.read(), e.read()
    return o.channel.recv_exit_status(), out, err


def check(label, ok, note=""):
    print(f"{'ok  ' if ok else 'FAIL'} {label:44} {note}", flush=True)
    if not ok: bad.append(label)


def fleet(*a): subprocess.run([FLEET, *map(str, a)], check=True, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def timed(box):
    t = time.time(); yield; box.append(time.time() - t)


def attempt(f):
    t = time.time()
    try: r = f(); what = f"returned {r!r}"[:90]
    except Exception as e: r = e; what = f"{type(e).__module__}.{type(e).__name__}: {e}".replace("\n", " ")[:150]
    return r, f"{time.time() - t:6.2f} s  {what}"


def services():
    for n in A:
        box = []
        with timed(box): c = connect(n)
        with timed(box): rc, out, _ = run(c, "systemctl is-active nginx.service redis-server.service")
        check(f"{n} connect+is-active", (rc, out) == (0, b"active\nactive\n"), f"connect {box[0]*1000:.0f} ms, exec {box[1]*1000:.0f} ms")
        c.close()
    c = connect()
    lat = []
    for _ in range(10):
        with timed(lat): run(c, "systemctl show nginx.service -p ActiveState,SubState,MainPID,NRestarts")
    check("systemctl show x10 on one connection", True, f"median {sorted(lat)[5]*1000:.0f} ms")
    lat = []
    for _ in range(5):
        with timed(lat): connect().close()
    check("connect x5 (warm)", True, f"median {sorted(lat)[2]*1000:.0f} ms")
    pid = lambda u: run(c, f"systemctl show {u} -p MainPID --value")[1]
    a = pid("nginx.service"); box = []
    with timed(box): rc, out, err = run(c, "sudo -n systemctl --no-pager restart -- nginx.service")
    check("sudo systemctl restart nginx", rc == 0 and pid("nginx.service") != a, f"{box[0]*1000:.0f} ms {err!r}")
    rc, out, err = run(c, "sudo -n systemctl --no-pager restart -- ssh.service")
    check("sudo outside the list refused", rc == 1 and b"password is required" in err)
    rc, out, err = run(c, "systemctl restart nginx.service")
    check("no sudo, no polkit: refused", rc == 1, repr(err[:60]))
    d = connect(user="deploy"); rc, out, err = run(d, "systemctl restart nginx.service")
    check("polkit rule lets deploy restart nginx", rc == 0, repr(err[:60]))
    rc, out, err = run(d, "systemctl stop nginx.service")
    check("polkit refuses deploy another verb", rc != 0)
    d.close()
    rc, out, err = run(c, "journalctl -u nginx.service -n 20 -o json --no-pager")
    check("journalctl -o json", rc == 0 and all(json.loads(l)["_HOSTNAME"] == "h1" for l in out.splitlines()), f"{len(out)} bytes")
    rc, out, err = run(c, "systemctl is-active nope.service; systemctl is-active masked.service; systemctl is-active slowstart.service")
    check("is-active of missing/masked/never started", out == b"inactive\ninactive\ninactive\n", repr(out))
    rc, out, err = run(c, "systemctl show nope.service masked.service -p Id,LoadState,UnitFileState")
    check("LoadState tells them apart", b"LoadState=not-found" in out and b"LoadState=masked" in out)
    n0 = int(run(c, "systemctl show flapper -p NRestarts --value")[1]); seen = set(); t = time.time()
    while time.time() - t < 9:
        seen.add(run(c, "systemctl show flapper -p ActiveState,SubState --value")[1].decode().replace("\n", "/")); time.sleep(.2)
    n1 = int(run(c, "systemctl show flapper -p NRestarts --value")[1])
    check("flapper flaps", n1 > n0 and len(seen) > 1, f"NRestarts {n0}->{n1}, states {sorted(seen)}")
    box = []
    with timed(box): rc, out, err = run(c, "sudo -n systemctl --no-pager restart -- brittle.service")
    for _ in range(20):                 # journald may be behind systemctl's answer on a loaded machine
        rc2, out, _ = run(c, "systemctl show brittle -p ActiveState,Result,ExecMainStatus; journalctl -u brittle -n 8 -o cat --no-pager")
        if b"unknown key" in out: break
        time.sleep(.25)
    check("brittle fails to restart", rc == 1 and b"ActiveState=failed" in out and b"unknown key" in out, f"{box[0]*1000:.0f} ms {err[:70]!r}")
    box = []
    with timed(box): rc, out, err = run(c, "sudo -n systemctl --no-pager restart -- stubborn.service", 30)
    check("stubborn: killed after 5 s", rc == 0 and 4.5 < box[0] < 9, f"{box[0]:.1f} s")
    box = []
    with timed(box): rc, out, err = run(c, "sudo -n systemctl --no-pager restart -- slowstop.service", 60)
    check("slowstop: restart takes 10 s", rc == 0 and 9 < box[0] < 15, f"{box[0]:.1f} s")
    box = []
    with timed(box): rc, out, err = run(c, "sudo -n systemctl --no-pager restart -- slowstart.service", 60)
    check("slowstart: start takes 8 s", rc == 0 and 7 < box[0] < 13, f"{box[0]:.1f} s")
    rc, out, err = run(c, "journalctl -u latin1 --no-pager -o cat"); rc, outa, _ = run(c, "journalctl -a -u latin1 --no-pager -o cat"); rc, outj, _ = run(c, "journalctl -u latin1 --no-pager -o json")
    def isutf8(b):
        try: b.decode(); return True
        except UnicodeDecodeError: return False
    check("non-UTF-8 log line", True, f"cat utf8={isutf8(out)} {out[:30]!r}; -a utf8={isutf8(outa)}; json MESSAGE types {[type(json.loads(l)['MESSAGE']).__name__ for l in outj.splitlines()]}")
    rc, out, err = run(c, r"printf 'caf\351\377\n'")
    check("raw command output not UTF-8", out == b"caf\xe9\xff\n")
    try: w = connect(user="pw", password="correct horse"); w.close(); ok = True
    except Exception as e: ok = repr(e)
    check("password login (user pw)", ok is True, str(ok))
    c.close()


def faults():
    T = 5
    base = lambda: run(connect(timeout=T), "systemctl is-active nginx.service", T)[1]
    def during(kind, args, f, want, label=None):
        fleet("fault", "h1", kind, *args)
        r, note = attempt(f)
        with contextlib.suppress(Exception): fleet("heal", "h1", kind)
        try: ok = want(r)
        except Exception: ok = False
        check(label or kind, ok, note)
        for _ in range(40):
            r2, note2 = attempt(base)
            if r2 == b"active\n": return
            time.sleep(.25)
        check(f"{kind}: healed", False, note2)
    err = lambda *names: (lambda r: isinstance(r, Exception) and any(n in repr(r) + type(r).__name__ for n in names))
    during("down", [], base, err("No route", "timed out", "TimeoutError", "NoValidConnections"))
    during("blackhole", [], base, err("timed out", "TimeoutError"))
    during("refuse", [], base, err("NoValidConnections", "refused"))
    during("icmp", [], base, err("NoValidConnections", "No route", "unreachable"))
    during("hang-banner", [], base, err("SSHException", "banner"))
    during("freeze", [], base, err("SSHException", "banner"))
    during("garbage", [], base, err("SSHException", "banner", "Invalid"))
    during("hostkey", [], base, err("BadHostKey"))
    during("auth", [], base, err("Authentication"))
    during("sudo", [], lambda: run(connect(), "sudo -n systemctl --no-pager restart -- nginx.service")[::2], lambda r: r[0] == 1)
    def many():
        socks = [__import__("socket").create_connection((A["h1"], 22)) for _ in range(3)]; time.sleep(.2)
        try: return base()
        finally: [s.close() for s in socks]
    during("maxstartups", [], many, err("SSHException", "EOF", "banner", "reset"))
    during("pid1-hang", [], base, err("timed out", "Timeout"), "pid1-hang: new login (pam_systemd hangs too)")
    c = connect(); run(c, "true")
    during("pid1-hang", [], lambda: run(c, "systemctl is-active nginx", 5), err("timed out", "Timeout"), "pid1-hang: open connection")
    during("badconf", [], lambda: run(connect(), "sudo -n systemctl --no-pager reload -- nginx.service; sudo -n systemctl --no-pager restart -- nginx.service; echo $?; systemctl is-active nginx.service")[1], lambda r: r == b"1\nfailed\n")
    fleet("exec", "h1", "systemctl", "restart", "nginx")
    during("diskfull", ["/"], lambda: run(connect(), "df -P / | tail -1; echo x > ~/f; echo $?")[1:], lambda r: b"100%" in r[0] and b"No space" in r[1])
    during("diskfull", ["/srv/data"], lambda: run(connect(), "df -P /srv/data | tail -1; echo x > /srv/data/f")[1:], lambda r: b"100%" in r[0] and b"No space" in r[1], "diskfull /srv/data")
    during("skew", ["-7200"], lambda: int(run(connect(), "date +%s")[1]) - time.time(), lambda r: -7203 < r < -7197)
    during("slowcmd", [3], lambda: (time.time(), run(connect(), "true"), time.time()), lambda r: 3 <= r[2] - r[0] < 8)
    during("cpu", ["4"], lambda: (time.sleep(5), run(connect(), "cat /proc/loadavg")[1])[1], lambda r: float(r.split()[0]) > 0)
    def ping():
        c = connect(timeout=20); t = time.time()
        for _ in range(5): run(c, "true")
        return round((time.time() - t) / 5, 3)
    during("wire", [100], ping, lambda r: r > .35, "wire 100 ms each way: exec")
    during("wire", [50, 20, 5], ping, lambda r: r > .15, "wire 50+-20 ms, 5 % loss: exec")
    during("loss", [20], ping, lambda r: isinstance(r, float), "loss 20 %: exec")
    during("rate", [64], lambda: len(run(connect(timeout=20), "head -c 40000 /dev/urandom", 60)[1]), lambda r: r == 40000, "rate 64 kbit: 40 kB")
    # connection cut in mid-command, four ways
    for kind in ("cut", "kill-sessions", "down", "refuse", "poweroff", "freeze"):
        c = connect(); 
        t = threading.Timer(1, lambda: fleet("fault", "h1", kind)); t.start()
        r, note = attempt(lambda: run(c, "echo begin; sleep 20; echo end", 8))
        t.join()
        if kind in ("down", "refuse", "poweroff", "freeze"): fleet("heal", "h1", kind)
        check(f"mid-command {kind}", isinstance(r, Exception) or r[0] != 0, note + (f" transport active={c.get_transport().is_active()}" ))
        c.close()
        for _ in range(40):
            if attempt(base)[0] == b"active\n": break
            time.sleep(.25)
    c = connect(); t = time.time(); run(c, "true"); fleet("fault", "h1", "reboot")
    r, note = attempt(lambda: run(c, "sleep 20", 25))
    t = time.time()
    while attempt(base)[0] != b"active\n" and time.time() - t < 60: time.sleep(.1)
    rc, out, _ = run(connect(), "journalctl --list-boots --no-pager | wc -l")
    check("reboot: back with its journal", int(out) >= 2, f"session: {note}; back after {time.time()-t:.1f} s; boots {out.decode().strip()}")
    box = []
    with timed(box): fleet("fault", "h1", "journal", 100)
    c = connect()
    with timed(box): rc, out, _ = run(c, "journalctl -u spew.service -o cat --no-pager", 300)
    check("100 MB journal", len(out) > 80e6, f"written in {box[0]:.1f} s, read {len(out)/1e6:.0f} MB in {box[1]:.1f} s")
    with timed(box): rc, out, _ = run(c, "head -c 100000000 /dev/zero", 300)
    check("100 MB command output", len(out) == 100000000, f"{box[2]:.1f} s")
    run(c, "true"); fleet("exec", "h1", "journalctl", "-q", "--rotate"); fleet("exec", "h1", "journalctl", "-q", "--vacuum-size=8M")
    c.close()


what = (sys.argv[1:] or ["all"])[0]
t0 = time.time()
if what in ("all", "services"): services()
if what in ("all", "faults"): faults()
if what == "uptime": print(run(connect(), "uptime; uptime -s; date; cut -d. -f1 /proc/uptime; systemctl show -p UserspaceTimestamp; ps -o etime,lstart,cmd -p 1")[1].decode())
print(f"{'FAILED: ' + ', '.join(bad) if bad else 'all passed'} in {time.time() - t0:.0f} s")
sys.exit(bool(bad))
