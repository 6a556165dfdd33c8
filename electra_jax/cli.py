"""What the command lines have in common: arguments, and errors as one sentence with exit status 2."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from electra_jax.config import Config, dump_config
from electra_jax.config import load_config as load_config_file
from electra_jax.errors import UserError


def parser(prog: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """A parser with --config, --print-config and positional overrides."""
    made = argparse.ArgumentParser(
        prog=f"python -m {prog}",
        description=description,
        epilog=f"{epilog or ''}\nEvery key, with its type, default and meaning: python -m electra_jax.config",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="YAML file, such as a preset"
    )
    made.add_argument("--print-config", action="store_true", help="print the resolved configuration and exit")
    add_overrides(made)
    return made


def add_overrides(made: argparse.ArgumentParser) -> None:
    """Adds positional ``key.path=value`` arguments."""
    made.add_argument(
        "overrides",
        nargs="*",
        metavar="key.path=value",
        help="settings that go before those of the file, such as train.steps=1000",
    )


def load_config(args: argparse.Namespace) -> Config:
    """The configuration that the arguments of `parser` name; prints it and exits with --print-config.

    Raises:
        UserError: it is not valid.
    """
    config = load_config_file(args.config, args.overrides)
    if args.print_config:
        print(dump_config(config), end="")
        raise SystemExit(0)
    return config


def run(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Runs a command's ``main`` and exits: 2 with one sentence for what the user can put right, else its status."""
    try:
        status = main(None)
        sys.stdout.flush()
    except UserError as error:
        status = _fail(str(error))
    except OSError as error:
        if error.errno == errno.EPIPE:
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # the reader has gone, and wants no more
            status = 0
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" ({error.filename})" if error.filename else ""
            status = _fail(
                f"the disk is full{where}: make room and run again; what was saved before is intact"
            )
        else:
            raise
    except KeyboardInterrupt:
        status = 130
    raise SystemExit(status)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr, flush=True)
    return 2
