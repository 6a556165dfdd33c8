"""How fast a causal model writes, against Hugging Face's PyTorch: `python -m benchmarks.writing --workdir DIR`.

The model is converted to a Hugging Face folder, so both have the same weights, and write greedily behind the same
prompts, as many tokens each. Rounds alternate; times are medians of rounds, and ratios medians of each round's ratio:
of the time that went by, and of processor time, which other programs on the machine disturb less.
With ``--start`` the time from the command to the end of one short text is measured instead, in processes of their own:
ours with an empty directory of compiled programs, ours again, and Hugging Face's ``pipeline``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax import cli
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.native_format import read_native
from electra_jax.inference.load import load
from electra_jax.inference.writer import Writer
from electra_jax.inference.writing import generation_settings
from electra_jax.runtime.cpu_devices import one_device_per_core


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table and a line of JSON."""
    parser = cli.bare_parser("benchmarks.writing", __doc__ or "")
    parser.add_argument("--workdir", type=cli.path, required=True, help="of a causal language model of ours")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 32], help="prompts at once")
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--prompt-tokens", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--start", action="store_true", help="measure the start instead")
    args = parser.parse_args(argv)
    one_device_per_core()
    with tempfile.TemporaryDirectory() as folder:
        write_huggingface(read_native(args.workdir), Path(folder) / "theirs")
        exported = Path(folder) / "theirs" / "generator"
        report = _start(args, exported, Path(folder)) if args.start else _speed(args, exported)
    print(json.dumps(report))
    return 0


def _speed(args: argparse.Namespace, exported: Path) -> list[dict[str, Any]]:
    model = load(args.workdir)
    found = []
    for rows in args.rows:
        rng = np.random.default_rng(0)
        special = max(model.tokenizer.mask_id, model.tokenizer.sep_id) + 1
        ids = rng.integers(special, model.tokenizer.vocab_size, (rows, args.prompt_tokens - 1))
        prompts = np.concatenate([np.full((rows, 1), model.tokenizer.cls_id), ids], axis=1)
        contenders = {
            "electra_jax": _ours(model, prompts, args),
            "Hugging Face": _theirs(exported, prompts, args),
        }
        texts = {name: run() for name, run in contenders.items()}  # compiled, and warm
        same = float(np.mean(texts["electra_jax"] == texts["Hugging Face"]))
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        processor: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(args.rounds):
            for name, run in contenders.items():
                start, of_processor = time.perf_counter(), time.process_time()
                run()
                seconds[name].append(time.perf_counter() - start)
                processor[name].append(time.process_time() - of_processor)
        ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
        of_processors = [b / a for a, b in zip(*processor.values(), strict=True)]
        tokens = rows * args.new_tokens
        line = {
            "rows": rows,
            "beams": args.beams,
            "tokens_per_second": {
                name: round(tokens / statistics.median(times), 1) for name, times in seconds.items()
            },
            "ratio": round(statistics.median(ratios), 2),
            "ratios": [round(ratio, 2) for ratio in ratios],
            "processor_ratio": round(statistics.median(of_processors), 2),
            "processor_ratios": [round(ratio, 2) for ratio in of_processors],
            "same_tokens": same,
        }
        print(line, file=sys.stderr)
        found.append(line)
    return found


def _ours(model: Any, prompts: np.ndarray, args: argparse.Namespace) -> Callable[[], np.ndarray]:
    beams = {"beams": args.beams} if args.beams > 1 else {"method": "greedy"}
    length = {"max_new_tokens": args.new_tokens, "min_new_tokens": args.new_tokens}
    writer = Writer(model, generation_settings(model.config, {**beams, **length}))

    def run() -> np.ndarray:
        found = writer.write(prompts.tolist())
        return np.array([texts[0].tokens[: args.new_tokens - 1] for texts in found])

    return run


def _theirs(exported: Path, prompts: np.ndarray, args: argparse.Namespace) -> Callable[[], np.ndarray]:
    import torch
    from transformers import ElectraForCausalLM

    network = ElectraForCausalLM.from_pretrained(exported).eval()
    ids = torch.from_numpy(prompts)
    options = {"num_beams": args.beams, "do_sample": False, "early_stopping": "never"}
    if args.beams == 1:
        del options["early_stopping"]

    def run() -> np.ndarray:
        with torch.inference_mode():
            found = network.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=args.new_tokens,
                min_new_tokens=args.new_tokens,
                **options,
            )
        return found[:, prompts.shape[1] :][:, : args.new_tokens - 1].numpy()

    return run


_PIPELINE = """
import sys
from transformers import pipeline
writer = pipeline("text-generation", model=sys.argv[1])
print(writer("The", max_new_tokens=16, do_sample=False)[0]["generated_text"])
"""


def _start(args: argparse.Namespace, exported: Path, folder: Path) -> dict[str, list[float]]:
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    ours = ["-m", "electra_jax.generate", "--workdir", str(args.workdir), "--prompt", "The"]
    ours += ["generation.max_new_tokens=16"]

    def seconds(command: list[str]) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], env=environment, check=True, stdout=subprocess.DEVNULL)
        return round(time.perf_counter() - start, 2)

    report: dict[str, list[float]] = {"first": [seconds(ours)], "second": [], "pipeline": []}
    for _ in range(args.rounds):
        report["second"].append(seconds(ours))
        report["pipeline"].append(seconds(["-c", _PIPELINE, str(exported)]))
    return report


if __name__ == "__main__":
    cli.run(main)
