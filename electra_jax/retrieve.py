"""What a ranker retrieves for conversations: ``python -m electra_jax.retrieve --workdir DIR --input FILE``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from electra_jax import cli
from electra_jax.answering import Output, load_with_notes, open_source
from electra_jax.config.conversations import ConversationsConfig
from electra_jax.config.schema import Config
from electra_jax.dialogue.turns import Turn, replies, reply_text
from electra_jax.errors import UserError
from electra_jax.files.new_files import check_output
from electra_jax.inference.indexing import build_index, candidates_from
from electra_jax.inference.rankers import searching_task
from electra_jax.inference.retrieving import conversations_of, retrieve
from electra_jax.inference.searching import Searcher
from electra_jax.inference.trained import trained_tasks
from electra_jax.retrieval.index import read_description
from electra_jax.runtime.cpu_devices import one_device_per_core
from electra_jax.runtime.malloc import keep_freed_memory
from electra_jax.tasks.sources.conversations import EXTENSIONS, Conversation, ConversationReader
from electra_jax.tasks.sources.own_files import checked_extension


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = cli.bare_parser(
        "electra_jax.retrieve",
        "Writes conversations with a reply that a ranker retrieved for each of their turns, and for the one that may "
        "follow: what a task of kind seq2seq with finetune.tasks.NAME.retrieval reads. The ranker is a task of kind "
        "ranking, encoder bi or poly, that was trained on conversations (docs/dialogue.md).\n\n"
        "Candidates are the replies in another file of conversations, or an index that electra_jax.search built. No "
        "turn of a conversation is retrieved for it. There is one JSON object for each conversation: id, turns and "
        "retrieved, a list with null for the first turn.",
        epilog="examples:\n"
        "  python -m electra_jax.retrieve --workdir runs/ranker --input dev.jsonl --candidates train.jsonl "
        "--output dev.retrieved.jsonl\n",
    )
    parser.add_argument(
        "--workdir", type=cli.path, required=True, metavar="DIR", help="directory of the model"
    )
    parser.add_argument("--task", metavar="NAME", help="which task, where several of the model's rank")
    parser.add_argument("--input", type=cli.path, required=True, metavar="FILE", help="the conversations")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--candidates", type=cli.path, metavar="FILE", help="conversations with the replies")
    what.add_argument("--index", type=cli.path, metavar="DIR", help="directory that search build wrote")
    cli.add_output(parser)
    args = parser.parse_args(argv)
    keep_freed_memory()
    one_device_per_core()
    if args.output is not None:
        check_output(args.output, open_source(str(args.input)))
    if args.index is not None:
        read_description(args.index)
    known = trained_tasks(args.workdir)
    model = load_with_notes(args.workdir) if known is None else None
    config, tasks = known or (model.config, model.tasks)  # type: ignore[union-attr]
    name = searching_task(config, tasks, args.task)
    conversations = _read(args.input, config, name, "--input")
    candidates = None if args.candidates is None else _read(args.candidates, config, name, "--candidates")
    model = model or load_with_notes(args.workdir)
    index: Any = args.index
    if candidates is not None:
        texts = learned_replies(candidates, conversations_of(config, name), args.candidates)
        cut: list[bool] = []
        index = build_index(model, candidates_from(texts), None, name, cut=cut)
        if any(cut):
            cli.note(f"{sum(cut):,} of {len(cut):,} candidates are longer than the task reads and were cut")
    searcher = Searcher(model, index, name)
    found = retrieve(searcher, [one.turns for one in conversations])
    shown = tqdm(
        total=len(conversations), unit=" conversations", disable=not sys.stderr.isatty(), leave=False
    )
    with Output(args.output) as output, shown as bar:
        for one, retrieved in zip(conversations, found, strict=True):
            output.write([{"id": one.id, "turns": list(map(_written, one.turns)), "retrieved": retrieved}])
            bar.update()
    return 0


def _read(path: Path, config: Config, task: str, where: str) -> list[Conversation]:
    reader = ConversationReader(
        conversations_of(config, task), config.finetune.tasks[task].id, f"finetune.tasks.{task}"
    )
    extension = checked_extension(path, "conversations", EXTENSIONS, where)
    return list(reader.records(path, extension))


def learned_replies(found: Sequence[Conversation], config: ConversationsConfig, path: Path) -> list[str]:
    """Return the replies that the task would learn.

    Raises:
        UserError: there are none.
    """
    turns = [reply for one in found for _, _, reply in replies(one.turns, history=0)]
    texts = [reply_text(reply) for reply in turns if config.replies_by in (None, reply.speaker)]
    if not turns:
        raise UserError(f"--candidates: {path} has no conversation of two turns: give others")
    if not texts:
        raise UserError(
            f"--candidates: {path} has no reply by {config.replies_by!r}, whose replies the task learned: give others"
        )
    return texts


def _written(turn: Turn) -> Any:
    return turn.text if turn.speaker is None else {"speaker": turn.speaker, "text": turn.text}


if __name__ == "__main__":
    cli.run(main)
