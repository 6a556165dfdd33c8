"""``electra-jax COMMAND …``, or ``python -m electra_jax COMMAND …``: every command by its name."""

import importlib
import sys
import textwrap
from typing import NoReturn

from electra_jax import __version__, cli
from electra_jax.errors import UserError

# What each command does, in the order in which they are used; its module is electra_jax.NAME.
COMMANDS = {
    "config": "list every configuration key: type, range, default, meaning",
    "prepare": "make tokenizer and tokens ahead of time",
    "plan": "say, before renting, whether a run fits and what it will cost",
    "train": "pre-train, or fine-tune; run again, it resumes",
    "evaluate": "compute held-out metrics of a run",
    "plot": "draw learning curves",
    "compare": "say whether two fine-tunings differ by more than chance: a paired bootstrap",
    "benchmark": "give several pre-trained runs one exam, and say what each cost",
    "predict": "write labels, tags, answers, replaced tokens or vectors, as JSON lines; proof-read",
    "generate": "write on from prompts, or fill the gaps of texts",
    "rerank": "tune which of several translations, summaries or replies is taken",
    "retrieve": "add to conversations the replies that a ranker finds, for a decoder to refine",
    "search": "keep the vectors of many candidates, and find the best for a text",
    "chat": "talk to a model that ranks or writes replies",
    "convert": "exchange checkpoints with Hugging Face and TensorFlow",
}

# Those that are packages.
_PACKAGES = frozenset({"config", "convert", "benchmark", "chat", "search"})


def usage() -> str:
    """Return the text of --help."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {what}" for name, what in COMMANDS.items())
    return (
        "usage: electra-jax COMMAND [arguments]\n\n"
        "ELECTRA pre-training, fine-tuning and use in JAX/Flax.\n\n"
        f"commands:\n{listed}\n\n"
        + textwrap.fill(
            "electra-jax COMMAND --help explains each; python -m electra_jax.COMMAND is the same command. "
            "electra-jax --version prints the version.",
            100,
            break_on_hyphens=False,
        )
    )


def run_command(arguments: list[str]) -> int:
    """Run the command that ``arguments`` begin with, and return its exit status.

    Raises:
        UserError: there is no such command, or what the command refuses.
    """
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else UserError.status
    name, *rest = arguments
    if name == "--version":
        print(f"electra_jax {__version__}")
        return 0
    if name not in COMMANDS:
        raise UserError(f"there is no command {name!r}; there are: {', '.join(COMMANDS)}")
    module = f"{name}.__main__" if name in _PACKAGES else name
    status: int = importlib.import_module(f"electra_jax.{module}").main(rest)
    return status


def main() -> NoReturn:
    """Run the console command ``electra-jax``."""
    cli.run(lambda _: run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
