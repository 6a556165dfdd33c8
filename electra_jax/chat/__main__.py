"""Talk to a trained model: ``python -m electra_jax.chat --workdir DIR [--candidates FILE]``."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from electra_jax import cli
from electra_jax.answering import load_with_notes
from electra_jax.chat.answers import answers
from electra_jax.chat.lines import is_terminal, line_editing, piped_lines, remembered_file, typed_lines
from electra_jax.chat.terminal import HELP, converse, reasons_text
from electra_jax.chat.web import ADDRESS, ChatServer
from electra_jax.config import Config
from electra_jax.config.loading import with_overrides
from electra_jax.errors import UserError
from electra_jax.inference.chatting import Conversation, ReplySettings, check_reranked, make_replier
from electra_jax.inference.choosing import open_candidates
from electra_jax.inference.model import Model
from electra_jax.inference.rankers import ranking_task
from electra_jax.inference.reply_roles import reply_roles
from electra_jax.inference.replying import Marks
from electra_jax.inference.reranker_file import JudgeSetting, check_models, load_reranker, read_judges
from electra_jax.inference.reranking import Reranker
from electra_jax.inference.trained import trained_tasks
from electra_jax.runtime.cpu_devices import one_device_per_core
from electra_jax.runtime.malloc import keep_freed_memory
from electra_jax.scoring.methods import usable_methods


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    args = _parse(argv)
    keep_freed_memory()
    if args.candidates is not None:  # many rows: one that is written has no use for several devices
        one_device_per_core()
    server = None if args.web is None else ChatServer(args.web)
    candidates = None if args.candidates is None else open_candidates(args.candidates)
    if server is None and sys.stdin is None:
        raise UserError("there is no standard input to read what is said from: it is closed")
    judges = None if args.rerank is None else read_judges(args.rerank)
    known = trained_tasks(args.workdir)
    if known is not None:  # what the settings alone can refuse
        _settings(known[0], args)
        check_models(judges or {}, known[0])
    if args.ranker is not None and (others := trained_tasks(args.ranker)) is not None:
        ranking_task(others[0], others[1], None)
    discriminator = None if args.discriminator is None else _discriminator(args.discriminator)
    model = load_with_notes(args.workdir)
    settings = _settings(model.config, args).generation
    wanted = ReplySettings(
        candidates,
        None if args.ranker is None else load_with_notes(args.ranker),
        args.task,
        args.speakers,
        args.history,
        None if judges is None else _reranker(judges, model),
    )
    notes: list[str] = []
    replier = make_replier(model, wanted, settings, notes)
    for line in notes:
        cli.note(line)
    if server is not None:
        print(server.url, flush=True)
        server.serve(answers(replier, discriminator))
        return 0
    conversation = Conversation(replier)
    reasons = partial(reasons_text, discriminator=discriminator) if args.why else None
    if not is_terminal():
        converse(conversation, piped_lines(sys.stdin.buffer), typed=False, reasons=reasons)
        return 0
    print(HELP, file=sys.stderr)
    lines = typed_lines("> ", line_editing(None if args.forget else remembered_file()))
    converse(conversation, lines, typed=True, reasons=reasons)
    return 0


def _reranker(judges: Mapping[str, JudgeSetting], model: Model) -> Reranker:
    notes: list[str] = []
    reranker = load_reranker(judges, model, notes)
    for line in notes:
        cli.note(line)
    return reranker


def _discriminator(path: Path) -> Model:
    """Return the model that judges what is said.

    Raises:
        UserError: it has no discriminator with its head.
    """
    problem = f"--discriminator {path} has no discriminator with its head: name a pre-trained ELECTRA"
    known = trained_tasks(path)
    if known is not None and "rtd" not in usable_methods(known[0].objective, None):
        raise UserError(problem)
    model = load_with_notes(path)
    if "discriminator_head" not in model._params:
        raise UserError(problem)
    return model


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments.

    Raises:
        UserError: they do not go together.
    """
    parser = cli.bare_parser(
        "electra_jax.chat",
        "Talks: each line that is said is answered by the model, which reads as many of the last turns as fit. "
        "A model with a task of kind ranking chooses its replies from --candidates; one with a task of kind seq2seq, "
        "or a causal language model, writes them, and where it was trained to it reads what is retrieved from "
        "--candidates (docs/dialogue.md).\n\n"
        f"In a terminal lines can be edited, and the arrow keys go through those typed before; {HELP}. "
        "From a pipe every line is a turn and is answered with a line; an empty line begins another conversation. "
        "With --web there is a page instead, at the address that is printed.",
        epilog="examples:\n"
        "  python -m electra_jax.chat --workdir runs/ranker --candidates utterances.txt --why\n"
        "  python -m electra_jax.chat --workdir runs/blender generation.beams=10 generation.min_new_tokens=20\n"
        "  python -m electra_jax.chat --workdir runs/blender --ranker runs/ranker --candidates replies.index --why\n"
        "  python -m electra_jax.chat --workdir runs/blender --web 8000 --discriminator runs/small\n"
        "  printf 'Hello!\\nHow are you?\\n' | python -m electra_jax.chat --workdir runs/blender\n",
    )
    parser.add_argument(
        "--workdir", type=cli.path, required=True, metavar="DIR", help="directory of the model"
    )
    parser.add_argument(
        "--candidates",
        type=cli.path,
        metavar="FILE",
        help="replies to choose from: a text a line, JSON lines, a table, or an index of electra_jax.search",
    )
    parser.add_argument(
        "--ranker",
        type=cli.path,
        metavar="DIR",
        help="another model, which retrieves from --candidates what a task that writes reads (retrieve-and-refine)",
    )
    parser.add_argument(
        "--rerank",
        metavar="WHAT",
        help="reply with the best of several texts that a task writes: a file of electra_jax.rerank, or one judge, "
        "such as rtd=DIR or decoder (docs/generation.md)",
    )
    parser.add_argument("--task", metavar="NAME", help="which task replies, where several of the model's can")
    parser.add_argument(
        "--speakers",
        choices=get_args(Marks),
        help="how turns are marked: you: and me: (sides), A: and B: (names), a dash (none), or not at all (plain); "
        "default: as the task was trained (docs/dialogue.md)",
    )
    parser.add_argument(
        "--history", type=int, metavar="N", help="read the last N turns at most (default: as trained)"
    )
    parser.add_argument(
        "--why", action="store_true", help="show what each reply was chosen from, on standard error"
    )
    parser.add_argument(
        "--web",
        type=int,
        metavar="PORT",
        help=f"talk on a web page of this port of {ADDRESS}, for the browser of this machine; 0 is any that is free",
    )
    parser.add_argument(
        "--discriminator",
        type=cli.path,
        metavar="DIR",
        help="a pre-trained ELECTRA that says what looks replaced in what is said: coloured on the page, or by --why",
    )
    parser.add_argument(
        "--forget", action="store_true", help="do not keep what is typed for the next conversation"
    )
    cli.add_overrides(parser, "settings of the section generation that win over those of the run")
    args = parser.parse_args(argv)
    if others := [setting for setting in args.overrides if not setting.startswith("generation.")]:
        raise UserError(
            f"{others[0]} is no setting of generation, and no other can change here: leave it out"
        )
    if args.discriminator is not None and args.web is None and not args.why:
        raise UserError(
            "what --discriminator says is shown by --why or --web: give one of them, or leave it out"
        )
    if args.history is not None and args.history < 1:
        raise UserError(f"--history is {args.history}, but must be a number of turns, 1 or more")
    return args


def _settings(config: Config, args: argparse.Namespace) -> Config:
    """Return the configuration with the settings that are given.

    Raises:
        UserError: a setting that does not fit, or a model that cannot reply so.
    """
    given = {"has_candidates": args.candidates is not None, "has_ranker": args.ranker is not None}
    roles = reply_roles(config, args.task, **given)
    settings = with_overrides(config.model_dump(exclude_unset=True), args.overrides, str(args.workdir))
    unread = [*args.overrides, *([] if args.rerank is None else ["--rerank"])]
    if not (roles.goes_on or roles.writes) and unread:
        raise UserError(f"{unread[0]} is for models that write, and this one ranks candidates: leave it out")
    if args.rerank is not None:
        check_reranked(config, roles, settings.generation)
    return settings


if __name__ == "__main__":
    cli.run(main)
