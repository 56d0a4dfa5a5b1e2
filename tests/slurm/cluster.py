"""A real one-node Slurm, started for a test session and stopped by the pids of what was started."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.sock,cred_expire=5
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0
KillWait=5
ReturnToService=2
MinJobAge=7200
AccountingStorageType=accounting_storage/none
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=32 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """What this machine lacks for a cluster, in words."""
    lacks = [name for name in DAEMONS if not shutil.which(name)]
    return [*lacks, *([] if os.geteuid() == 0 else ["root"])]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def cluster() -> Iterator[None]:
    """Start the daemons, wait until the node is idle, point SLURM_CONF at them; stop them at the end."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as directory:
        root = Path(directory)
        root.chmod(0o755)  # munge wants every directory above its socket open
        yield from running(root)


def running(root: Path) -> Iterator[None]:
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (root / name).mkdir(parents=True)
    key = root / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    conf = root / "slurm.conf"
    conf.write_text(CONF.format(root=root, host=host, port=free_port(), node_port=free_port()))
    for number in range(2):  # a GPU is a character device; this one is another /dev/null
        os.mknod(root / f"gpu{number}", 0o20666, os.makedev(1, 3))
    (root / "gres.conf").write_text(f"NodeName=node1 Name=gpu File={root}/gpu[0-1]\n")
    os.environ["SLURM_CONF"] = str(conf)
    munge = ["munged", "--foreground", f"--key-file={key}", f"--socket={root}/munge.sock"]
    munge += [f"--pid-file={root}/munged.pid", f"--log-file={root}/munged.log", f"--seed-file={root}/munge.seed"]
    daemons = [subprocess.Popen(munge)]
    try:
        wait_for(lambda: (root / "munge.sock").exists(), "munge")
        daemons.append(subprocess.Popen(["slurmctld", "-D", "-f", str(conf)], stderr=subprocess.DEVNULL))
        daemons.append(subprocess.Popen(["slurmd", "-D", "-N", "node1", "-f", str(conf)], stderr=subprocess.DEVNULL))
        wait_for(lambda: "idle" in ask("sinfo", "-h", "-o", "%T"), "the node")
        yield
    finally:
        ask("scancel", "--full", "--user=root")
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)
        del os.environ["SLURM_CONF"]


def ask(*command: str) -> str:
    """A command's output, whatever its exit code."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def job_facts(job_id: str) -> dict[str, str]:
    """What `scontrol show job` says."""
    words = ask("scontrol", "show", "job", job_id).split()
    return dict(word.split("=", 1) for word in words if "=" in word)


def wait_for(condition: object, what: str, seconds: float = 60) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come up in {seconds:.0f} s"
        time.sleep(0.05)
