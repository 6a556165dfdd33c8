"""How long a turn takes: ``python -m benchmarks.turns --workdir DIR --input test.jsonl [--candidates FILE]``.

What ``electra_jax.chat`` does at a turn, for the first turns of a file's conversations: a ranker chooses among
candidates, a model that writes does so, alone or with what a ranker retrieves. Each is asked for a reply to the turns
up to one of a person's: to all of them once, so that everything is compiled, and then again, timed one by one. A line
of JSON has the median and the longest of the seconds of a reply, and those that it took to begin, when the vectors of
the candidates are computed.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from electra_jax import cli
from electra_jax.config.conversations import ConversationsConfig
from electra_jax.errors import UserError
from electra_jax.inference.chatting import reply_to
from electra_jax.inference.load import load
from electra_jax.runtime.cpu_devices import one_device_per_core
from electra_jax.tasks.sources.conversations import EXTENSIONS, ConversationReader
from electra_jax.tasks.sources.own_files import checked_extension


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line of JSON."""
    parser = cli.bare_parser("benchmarks.turns", __doc__ or "")
    parser.add_argument("--workdir", type=cli.path, required=True, help="of the model that replies")
    parser.add_argument("--input", type=cli.path, required=True, help="conversations")
    parser.add_argument("--candidates", type=cli.path, help="as electra_jax.chat reads them")
    parser.add_argument("--ranker", type=cli.path, metavar="DIR", help="another model, which retrieves")
    parser.add_argument("--turns", type=int, default=20, help="replies that are timed")
    args = parser.parse_args(argv)
    one_device_per_core()
    asked = list(islice(turns_before_replies(args.input), max(0, args.turns)))
    if not asked:
        raise UserError(
            f"--input: {args.input} has no turns, or --turns is below 1: there is nothing to reply to"
        )
    model = load(args.workdir)
    start = time.perf_counter()
    talk = model.chat(args.candidates, ranker=None if args.ranker is None else load(args.ranker))
    begun = time.perf_counter() - start
    for turns in asked:
        reply_to(talk.replier, turns)
    seconds = []
    for turns in asked:
        start = time.perf_counter()
        reply_to(talk.replier, turns)
        seconds.append(time.perf_counter() - start)
    figures = {"median_seconds": statistics.median(seconds), "longest_seconds": max(seconds)}
    print(json.dumps({"turns": len(asked), **figures, "seconds_to_begin": begun}), flush=True)
    return 0


def turns_before_replies(path: Path) -> Iterator[list[str]]:
    """Yield the texts of each conversation up to the first, third, fifth turn and so on, as of one who began.

    Raises:
        UserError: a file that is none of conversations.
    """
    reader = ConversationReader(ConversationsConfig(speakers="none"), None, "conversations")
    for conversation in reader.records(path, checked_extension(path, "conversations", EXTENSIONS, "--input")):
        texts = [turn.text for turn in conversation.turns]
        for end in range(1, len(texts) + 1, 2):
            yield texts[:end]


if __name__ == "__main__":
    cli.run(main)
