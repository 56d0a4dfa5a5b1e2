"""A real Slurm of two nodes on one machine, for tests: started by root, stopped by the pids of what was started.

A node is a `slurmd` in UTS, mount and PID namespaces of its own: it has its own host name and process table, and a
SIGKILL of its first process takes everything on it at once, which is a power cut. The nodes share the machine's files
and its loopback network.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd")
NODES = ("node1", "node2")
GPUS = 2  # on each node; pretended ones
NAMESPACES = ("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")  # a killed test session leaves no daemon behind
# The shell stays as the first process, because it reaps the orphans of the jobs and slurmd would not.
NODE = 'hostname "$0" && mount --bind "$1" /etc/hosts && { slurmd -D -N "$0" & wait; }'
# The states from which a job does not come back by itself.
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "DEADLINE", "OUT_OF_MEMORY", "BOOT_FAIL")

# cred_expire is also how long a requeued job waits, and every wait is as short as Slurm's own timers allow.
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.sock,cred_expire=5
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=1000
GresTypes=gpu
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
SlurmdTimeout=10
MessageTimeout=5
TCPTimeout=2
ReturnToService=2
MinJobAge=7200
MaxArraySize={max_array_size}
AccountingStorageType=accounting_storage/none
PartitionName=main Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE Default=YES
PartitionName=grace Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=15
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
NODE_LINE = "NodeName={node} NodeAddr=127.0.0.1 Port={port} CPUs=32 RealMemory=64000 Gres=gpu:{gpus} State=UNKNOWN\n"


def missing() -> list[str]:
    """What this machine lacks for a cluster, in words."""
    lacks = [name for name in DAEMONS if not shutil.which(name)]
    if os.geteuid() != 0 or subprocess.run([*NAMESPACES, "true"], capture_output=True).returncode:
        lacks.append("root that may make namespaces")
    return lacks


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:  # all are held until all are known, so that no two are the same
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def ask(*command: str) -> str:
    """A command's output, whatever its exit code."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


class Cluster:
    """Partitions: `main` is preempted by `high` at once, `grace` is preempted by it after 15 seconds' notice."""

    def __init__(self, root: Path, max_array_size: int) -> None:
        self.root = root
        self.running: dict[str, subprocess.Popen[bytes]] = {}  # the daemons and nodes, by name, oldest first
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (root / name).mkdir()
        (root / "munge.key").touch(0o600)
        (root / "munge.key").write_bytes(secrets.token_bytes(1024))
        host = socket.gethostname().partition(".")[0]
        port, *node_ports = free_ports(1 + len(NODES))
        conf = CONF.format(root=root, host=host, port=port, max_array_size=max_array_size)
        for node, node_port in zip(NODES, node_ports, strict=True):
            conf += NODE_LINE.format(node=node, port=node_port, gpus=GPUS)
        self.conf = root / "slurm.conf"
        self.conf.write_text(conf)
        for number in range(GPUS):  # a GPU is a character device; this one is another /dev/null
            os.mknod(root / f"gpu{number}", 0o20666, os.makedev(1, 3))
        (root / "gres.conf").write_text(f"NodeName={','.join(NODES)} Name=gpu File={root}/gpu[0-{GPUS - 1}]\n")
        (root / "hosts").write_text(f"127.0.0.1 localhost {host} {' '.join(NODES)}\n")

    def start(self, name: str, *command: str) -> None:
        """A daemon in a session of its own, so that Ctrl-C is for the tests alone. It ends with the calling thread."""
        with (self.root / f"{name}.out").open("ab") as out:
            self.running[name] = subprocess.Popen(
                [*DIES_WITH_US, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def start_munge(self) -> None:
        files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid"}
        files |= {"log-file": "munged.log", "seed-file": "munge.seed"}
        self.start("munged", "munged", "--foreground", *(f"--{key}={self.root}/{file}" for key, file in files.items()))
        self.wait_for((self.root / "munge.sock").exists, "munge")

    def start_controller(self) -> None:
        self.start("slurmctld", "slurmctld", "-D")
        self.wait_for(lambda: "is UP" in ask("scontrol", "ping"), "the controller")

    def kill_controller(self) -> None:
        """What it has not yet written to its state directory (the last seconds, see `save_state`) is lost."""
        controller = self.running.pop("slurmctld")
        controller.kill()
        controller.wait()

    def save_state(self) -> None:
        """Wait until the controller has written down what it knows of the jobs; it does so every few seconds."""
        saved = self.root / "state" / "job_state"
        for _ in range(2):  # what ends first may have begun, and copied what it writes, before it was asked for
            asked = time.time()
            ask("scontrol", "reconfigure")
            since = functools.partial(self._newer, saved, asked)
            self.wait_for(since, "the controller's state file")

    @staticmethod
    def _newer(path: Path, moment: float) -> bool:
        return path.exists() and path.stat().st_mtime > moment

    def power_on(self, node: str) -> None:
        self.start(node, *NAMESPACES, "sh", "-c", NODE, node, str(self.root / "hosts"))

    def power_cut(self, node: str) -> None:
        """Everything on the node is gone when this returns; the controller notices 10 to 20 seconds later."""
        machine = self.running.pop(node)
        first = Path(f"/proc/{machine.pid}/task/{machine.pid}/children")
        self.wait_for(lambda: machine.poll() is not None or first.read_text(), f"the first process of {node}")
        if machine.poll() is None:
            os.kill(int(first.read_text()), signal.SIGKILL)
        machine.wait()  # the first process counts as ended when all others have ended

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                queue = ask("squeue", "--states=all") + ask("sinfo", "--long", "--Node")
                raise AssertionError(f"{what}: not within {seconds:.0f} s\n{queue}")
            time.sleep(0.05)

    def wait_idle(self) -> None:
        """Both nodes up, and no job on them."""
        both = "".join(f"{node} idle\n" for node in NODES)
        self.wait_for(lambda: ask("sinfo", "-h", "-N", "-p", "main", "-o", "%N %T") == both, "both nodes idle")

    def clear(self) -> None:
        """As after the start, whatever a test has left: a controller, both nodes up, no job."""
        if "slurmctld" not in self.running:
            self.start_controller()
        ask("scancel", "--full", "--user=root")
        for node in NODES:
            if node not in self.running:
                self.power_on(node)
        self.wait_idle()

    def stop(self) -> None:
        """The jobs end with their nodes."""
        for node in NODES:
            if node in self.running:
                self.power_cut(node)
        for daemon in self.running.values():
            daemon.kill()
            daemon.wait()

    def job(self, job_id: str) -> dict[str, str]:
        """What `scontrol show job` says of one job, or of one element ("7_3")."""
        records = self.jobs(job_id)
        assert len(records) == 1, f"Slurm has {len(records)} records of job {job_id}, not one"
        return records[0]

    def jobs(self, job_id: str) -> list[dict[str, str]]:
        """The same of every record that an array has; its elements that wait share one."""
        lines = ask("scontrol", "show", "job", "--oneliner", job_id).splitlines()
        return [dict(re.findall(r"(\S+?)=(.*?)(?= +[A-Z][\w/:]*=| *$)", line)) for line in lines]

    def submit(self, *arguments: str) -> str:
        """`sbatch` with these arguments; the job's id."""
        done = subprocess.run(["sbatch", "--parsable", *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def wait_for_state(self, job_id: str, *states: str, seconds: float = 60) -> dict[str, str]:
        """The job's facts, once it is in one of these states."""
        self.wait_for(lambda: self.job(job_id)["JobState"] in states, f"job {job_id} {' or '.join(states)}", seconds)
        return self.job(job_id)

    def wait_for_end(self, job_id: str, seconds: float = 240) -> dict[str, str]:
        return self.wait_for_state(job_id, *ENDED, seconds=seconds)


@contextmanager
def running_cluster(max_array_size: int = 1001) -> Iterator[Cluster]:
    """A cluster with both nodes idle; SLURM_CONF points to it meanwhile."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as directory:
        root = Path(directory)
        root.chmod(0o755)  # munge wants every directory above its socket open
        cluster = Cluster(root, max_array_size)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("SLURM_CONF", str(cluster.conf))
            try:
                cluster.start_munge()
                cluster.start_controller()
                cluster.clear()
                yield cluster
            finally:
                cluster.stop()
