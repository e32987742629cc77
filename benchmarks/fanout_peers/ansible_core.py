"""ansible-core: `ansible all -m raw`, a whole process a round, connections kept by ControlPersist."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from peer import COMMAND, job, serve

work = job()
folder = Path(tempfile.mkdtemp(prefix="fanout"))
inventory = folder / "hosts.ini"
options = (
    f"-F/dev/null -oUserKnownHostsFile={work.known_hosts} -oGlobalKnownHostsFile=/dev/null "
    "-oStrictHostKeyChecking=yes -oIdentitiesOnly=yes -oControlMaster=auto -oControlPersist=120"
)
inventory.write_text(
    "[all]\n"
    + "\n".join(work.addresses)
    + f"\n[all:vars]\nansible_user={work.user}\nansible_port={work.port}\n"
    + f"ansible_ssh_private_key_file={work.key_file}\nansible_ssh_common_args={options}\n"
)
(folder / "ansible.cfg").write_text(
    f"[defaults]\nforks={work.parallel}\n[ssh_connection]\npipelining=True\ncontrol_path_dir={folder}/cp\n"
)
environment = {**os.environ, "ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_HOME": str(folder / "home")}
command = [str(Path(sys.executable).with_name("ansible")), "all", "-i", str(inventory), "-m", "raw", "-a", COMMAND]


def ask() -> int:
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return ran.stdout.count("MemTotal")


serve(ask)
