"""Searching many candidates: ``python -m electra_jax.search ACTION``, each action with arguments of its own."""

import sys
from collections.abc import Callable, Mapping, Sequence

from electra_jax import cli
from electra_jax.errors import UserError
from electra_jax.search.asking import ask, build
from electra_jax.search.examples import mine, score

ACTIONS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "build": build,
    "ask": ask,
    "score": score,
    "mine": mine,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the action that the arguments begin with.

    Raises:
        UserError: they begin with none.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in ACTIONS:
        return ACTIONS[given[0]](given[1:])
    parser = cli.bare_parser(
        "electra_jax.search",
        "Finds the candidates that score best after a text: replies to a dialogue, passages for a question, sentences "
        "alike. build makes the vectors of all candidates once and keeps them; ask compares a text with every one of "
        "them; score says how often what is right is found; mine writes training examples with the model's own best "
        "wrong answers as negatives. All need a model that was fine-tuned on a task of kind ranking, encoder bi or "
        "poly (docs/search.md).\n\nEach action has --help of its own.",
        epilog="examples:\n"
        "  python -m electra_jax.search build --workdir runs/ranker --candidates replies.txt --index replies.index\n"
        "  python -m electra_jax.search ask --workdir runs/ranker --index replies.index --query 'Who wrote Hamlet?'\n"
        "  python -m electra_jax.search score --workdir runs/ranker --index replies.index --input dev.jsonl\n"
        "  python -m electra_jax.search mine --workdir runs/ranker --input train.jsonl --output mined.jsonl\n",
    )
    parser.add_argument("action", metavar="ACTION", choices=ACTIONS, help=", ".join(ACTIONS))
    parser.parse_args(given)
    raise UserError(f"the action comes first, one of {', '.join(ACTIONS)}, and then its arguments")


if __name__ == "__main__":
    cli.run(main)
