"""Proves that the tests' cluster is one: nodes with names, power cuts, a killed controller, preemption, requeue.

What the tests of `text2lm` on Slurm take for granted is checked here on Slurm itself, with jobs of a few shell lines.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

from tests.slurm.cluster import Cluster

# The first attempt waits to be ended from outside, a later one ends by itself.
ATTEMPT = 'echo "attempt ${SLURM_RESTART_COUNT:-0} of $SLURM_JOB_ID on $(hostname)"'
WAITING_JOB = f'{ATTEMPT}; [ "${{SLURM_RESTART_COUNT:-0}}" != 0 ] || sleep 300'


def submit(cluster: Cluster, log: Path, script: str, *options: str) -> str:
    return cluster.submit("--requeue", "--open-mode=append", f"--output={log}", *options, "--wrap", script)


def attempts(log: Path) -> list[str]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [line for line in lines if line.startswith("attempt ")]


def test_a_job_of_two_nodes_sees_two_host_names_and_the_gpus_of_each(cluster: Cluster) -> None:
    srun = ["srun", "--nodes=2", "--gpus-per-node=2", "sh", "-c", 'echo "$(hostname) $CUDA_VISIBLE_DEVICES"']
    done = subprocess.run(srun, capture_output=True, text=True, timeout=60)
    assert sorted(done.stdout.splitlines()) == ["node1 0,1", "node2 0,1"], done.stderr


def test_the_nodes_reach_each_other_by_name(cluster: Cluster, tmp_path: Path) -> None:
    """What gloo needs: a rank on node2 connects to the port that a rank on node1 listens on."""
    port = tmp_path / "port"
    listen = (
        f"import socket; s = socket.create_server(('node1', 0)); open('{port}', 'w').write(str(s.getsockname()[1]))"
    )
    listen += "; print(s.accept()[0].recv(9).decode())"
    connect = f"import socket; s = socket.create_connection(('node1', int(open('{port}').read()))); s.send(b'hello')"
    script = f'case $(hostname) in node1) python3 -c "{listen}";; *) until [ -s {port} ]; do sleep 0.1; done'
    script += f'; python3 -c "{connect}";; esac'
    done = subprocess.run(["srun", "--nodes=2", "sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_a_power_cut_requeues_the_job_on_the_other_node(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = submit(cluster, log, WAITING_JOB)
    cluster.wait_for(lambda: attempts(log), "the first attempt")
    node = cluster.job(job)["NodeList"]
    cluster.power_cut(node)
    facts = cluster.wait_for_end(job)
    other = {"node1": "node2", "node2": "node1"}[node]
    assert (facts["JobState"], facts["Restarts"], facts["NodeList"]) == ("COMPLETED", "1", other)
    assert attempts(log) == [f"attempt 0 of {job} on {node}", f"attempt 1 of {job} on {other}"]


def test_a_controller_that_was_killed_finds_its_running_job_again(cluster: Cluster, tmp_path: Path) -> None:
    log, end = tmp_path / "log", tmp_path / "end"
    job = submit(cluster, log, f"{ATTEMPT}; until [ -e {end} ]; do sleep 0.1; done; echo went on")
    cluster.wait_for(lambda: attempts(log), "the first attempt")
    cluster.save_state()
    cluster.kill_controller()
    assert subprocess.run(["squeue"], capture_output=True, timeout=60).returncode != 0
    cluster.start_controller()
    assert cluster.job(job)["JobState"] == "RUNNING"
    end.touch()
    facts = cluster.wait_for_end(job)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "0")
    assert log.read_text().splitlines()[1:] == ["went on"]


def test_the_partition_high_takes_a_node_from_a_job_of_main_which_comes_back(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = submit(cluster, log, WAITING_JOB, "--partition=main", "--nodes=2", "--exclusive")
    cluster.wait_for(lambda: attempts(log), "the first attempt")
    first = submit(cluster, tmp_path / "high", "hostname", "--partition=high", "--exclusive")
    assert cluster.wait_for_end(first)["JobState"] == "COMPLETED"
    facts = cluster.wait_for_end(job)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1")
    assert "DUE TO PREEMPTION" in log.read_text() and len(attempts(log)) == 2


def test_the_partition_grace_warns_a_job_before_it_takes_the_node(cluster: Cluster, tmp_path: Path) -> None:
    """The tasks get TERM, and as they end by themselves, the job is done and does not come back."""
    log = tmp_path / "log"
    task = "trap 'echo warned; exit 0' TERM; echo attempt ready; while :; do sleep 0.1; done"
    job = submit(cluster, log, f'srun sh -c "{task}"', "--partition=grace", "--exclusive", "--nodes=2")
    cluster.wait_for(lambda: attempts(log), "the first attempt")
    submit(cluster, tmp_path / "high", "hostname", "--partition=high", "--exclusive")
    facts = cluster.wait_for_end(job)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "0")
    assert "warned" in log.read_text()


def test_a_job_that_requeues_itself_keeps_its_id_and_can_leave_a_node_out(cluster: Cluster, tmp_path: Path) -> None:
    """TERM, which a requeue sends to every process of the job, is ignored: else it would end `scontrol update` too."""
    log = tmp_path / "log"
    again = (
        "trap '' TERM; scontrol requeue $SLURM_JOB_ID && scontrol update JobId=$SLURM_JOB_ID ExcNodeList=$(hostname)"
    )
    job = submit(cluster, log, f'{ATTEMPT}; [ "${{SLURM_RESTART_COUNT:-0}}" != 0 ] || {{ {again}; sleep 300; }}')
    facts = cluster.wait_for_end(job)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1")
    assert attempts(log) == [f"attempt 0 of {job} on node1", f"attempt 1 of {job} on node2"]


def living(conf: str) -> list[str]:
    """The processes of a cluster: its daemons and what its jobs started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"SLURM_CONF={conf}\0".encode() in (process / "environ").read_bytes():
                found.append((process / "comm").read_text().strip())
    return sorted(found)


OTHER_SESSION = """
import time
from tests.slurm.cluster import running_cluster
with running_cluster(max_array_size=4) as cluster:
    job = cluster.submit("--output=/dev/null", "--wrap", "exec sleep 300")
    cluster.wait_for_state(job, "RUNNING")
    print(cluster.conf, flush=True)
    time.sleep(300)
"""


def test_two_clusters_do_not_meet_and_nothing_outlives_a_killed_session(cluster: Cluster) -> None:
    other = subprocess.Popen([sys.executable, "-c", OTHER_SESSION], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout
        conf = other.stdout.readline().strip()
        all_kinds = {"munged", "slurmctld", "slurmd", "slurmstepd", "sleep"}
        cluster.wait_for(lambda: all_kinds <= set(living(conf)), "the other cluster and its job")
        sbatch = ["sbatch", "--output=/dev/null", "--wrap=true"]
        there = os.environ | {"SLURM_CONF": conf}
        assert subprocess.run([*sbatch, "--array=0-3"], env=there, timeout=60).returncode == 0
        refused = subprocess.run([*sbatch, "--array=0-4"], env=there, capture_output=True, text=True, timeout=60)
        assert refused.returncode == 1 and "Invalid job array specification" in refused.stderr
        array = cluster.submit(*sbatch[1:], "--array=0-4")
        cluster.wait_for(lambda: {job["JobState"] for job in cluster.jobs(array)} == {"COMPLETED"}, "the array here")
    finally:
        other.kill()
        other.wait()
        assert other.stdout
        other.stdout.close()
        rmtree(Path(conf).parent)
    cluster.wait_for(lambda: not living(conf), "the end of the other cluster's processes")
    cluster.wait_idle()
