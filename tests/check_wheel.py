"""Installs a wheel in an empty environment elsewhere, trains five steps there and loads the result.

    python tests/check_wheel.py dist/electra_jax-VERSION-py3-none-any.whl

Not a test of the suite, since it downloads what the wheel requires; `make test-wheel` runs it, and CI does.
"""

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOADS = """
import electra_jax
model = electra_jax.load("run")
found = model.detect(["The file was not found."])
assert len(found) == 1 and len(found[0]) > 3, found
print(electra_jax.__file__)
"""


def main() -> None:
    """Checks the wheel that the command line names."""
    wheel = Path(sys.argv[1]).resolve()
    check_contents(wheel)
    with tempfile.TemporaryDirectory(prefix="electra_jax-wheel-") as name:
        folder = Path(name)
        venv.create(folder / "env", with_pip=True)
        programs = folder / "env" / "bin"
        empty = folder / "empty"
        empty.mkdir()

        def call(*command: str) -> str:
            environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
            ended = subprocess.run(
                [str(programs / command[0]), *command[1:]],
                cwd=empty,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                check=True,
            )
            return ended.stdout

        call("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
        call("python", "-m", "pip", "check")
        assert "  train " in call("electra-jax", "--help")
        assert "train.steps  (int" in call("electra-jax", "config")
        assert "mrpc" in call("electra-jax", "train", "--config", "finetune/mrpc", "--print-config")
        settings = ["data.cache_dir=cache", "train.steps=5", "train.eval_batches=1", "train.show_examples=1"]
        call("electra-jax", "train", "--config", "tiny", "--workdir", "run", *settings)
        assert Path(call("python", "-c", LOADS).strip()).is_relative_to(folder)
    print(f"{wheel.name}: trained five steps of tiny, and loaded them, in an empty environment")


def check_contents(wheel: Path) -> None:
    """Asserts that the wheel holds every file of the package that is tracked, and nothing beside the package."""
    listed = subprocess.run(
        ["git", "ls-files", "electra_jax", "configs"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = {
        name.replace("configs/", "electra_jax/configs/", 1)
        for name in listed
        if name != "electra_jax/configs"
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == wanted, f"missing: {sorted(wanted - held)}; not ours: {sorted(held - wanted)}"


if __name__ == "__main__":
    main()
