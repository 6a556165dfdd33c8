"""Stands in for gcloud: knows the commands and flags of ``gcloud compute tpus`` that the launcher may use, writes down
each call, and runs what is sent to a worker in a directory of this machine that is the worker's home.

Everything is in the directory FAKE: ``calls.jsonl``; ``states``, the answers to ``describe``, the last one for ever;
``preempt_at_step``, where the worker is taken away once when its run gets there; ``unreachable``, how often ssh fails.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

FAKE = Path(os.environ["FAKE"])
WORKERS = 2

FLAGS = {
    ("queued-resources", "create"): {
        "accelerator-type", "runtime-version", "node-id", "node-count", "node-prefix", "spot", "zone", "project"
    },
    ("queued-resources", "describe"): {"format", "zone", "project"},
    ("queued-resources", "delete"): {"force", "quiet", "zone", "project"},
    ("tpu-vm", "ssh"): {"worker", "command", "zone", "project"},
    ("tpu-vm", "scp"): {"worker", "zone", "project"},
}  # fmt: skip


def main(argv: list[str]) -> int:
    assert argv[:2] == ["compute", "tpus"], argv
    verb = tuple(argv[2:4])
    words = [word for word in argv[4:] if not word.startswith("--")]
    flags = dict(word[2:].partition("=")[::2] for word in argv[4:] if word.startswith("--"))
    assert set(flags) <= FLAGS[verb], f"gcloud {' '.join(verb)} has no flags {set(flags) - FLAGS[verb]}"
    with (FAKE / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps({"verb": " ".join(verb), "words": words, "flags": flags}) + "\n")
    return globals()[verb[1]](words, flags)


def create(words, flags):
    if taken("refuse_create"):
        print("ERROR: (gcloud.compute.tpus.queued-resources.create) quota exceeded", file=sys.stderr)
        return 1
    assert not (FAKE / "nodes").exists(), "the queued resource is there already"
    count = int(flags.get("node-count", 1))
    names = [f"{flags['node-prefix']}-{n}" for n in range(count)] if count > 1 else [flags["node-id"]]
    for name in names:
        for worker in range(WORKERS):
            (FAKE / "nodes" / name / str(worker)).mkdir(parents=True)
    return 0


def describe(words, flags):
    states = (FAKE / "states").read_text().split()
    print(states[0])
    if len(states) > 1:
        replace(FAKE / "states", "\n".join(states[1:]))
    return 0


def delete(words, flags):
    shutil.rmtree(FAKE / "nodes")
    return 0


def scp(words, flags):
    source, target = words
    node, name = target.split(":")
    for home in homes(node, flags["worker"]):
        shutil.copy(source, home / name)
    return 0


def ssh(words, flags):
    if taken("unreachable"):
        return 255
    statuses = [run(home, flags["command"]) for home in homes(words[0], flags["worker"])]
    return next((status for status in statuses if status), 0)


def homes(node, worker):
    folder = FAKE / "nodes" / node
    return [home for home in sorted(folder.iterdir()) if worker in ("all", home.name)]


def run(home, command):
    environment = os.environ | {"HOME": str(home), "ELECTRA_SHARE": str(FAKE / "share")}
    process = subprocess.Popen(["bash", "-c", command], cwd=home, env=environment)
    while process.poll() is None:
        if command.endswith(" follow") and preempted(home):
            process.kill()
            return 255
        time.sleep(0.02)
    return process.returncode


def preempted(home):
    """Takes the machines away, once, when the run has come far enough."""
    limit, step = FAKE / "preempt_at_step", FAKE / "share" / "step"
    if not limit.exists() or not step.exists() or int(step.read_text() or 0) < int(limit.read_text()):
        return False
    limit.unlink()
    for pid in (FAKE / "nodes").glob("*/*/electra_jax.pid"):
        os.killpg(int(pid.read_text()), signal.SIGKILL)
    replace(FAKE / "states", "SUSPENDED ACTIVE")
    return True


def taken(counter):
    """Whether the number in the file is still above 0; counts it down."""
    file = FAKE / counter
    left = int(file.read_text()) if file.exists() else 0
    if left:
        replace(file, str(left - 1))
    return left > 0


def replace(file, text):
    """Writes at once, as calls that run beside this one read the same files."""
    new = file.with_name(f"{file.name}.{os.getpid()}")
    new.write_text(text)
    new.replace(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
