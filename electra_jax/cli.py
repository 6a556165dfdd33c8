"""What the command lines have in common: arguments, and errors as one sentence with exit status 2."""

import argparse
import errno
import io
import logging
import os
import select
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from electra_jax.config import Config, dump_config
from electra_jax.config import load_config as load_config_file
from electra_jax.errors import UserError, one_line
from electra_jax.files.local_paths import local_path
from electra_jax.stopping import active, watching

_INTERRUPTED, _READER_GONE = 130, 141  # as shells report the signals


class _Parser(argparse.ArgumentParser):
    """A parser that takes overrides before, between and after the options; a mistake is one sentence."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        return self.parse_intermixed_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        takes_overrides = any(action.dest == "overrides" for action in self._actions)
        if takes_overrides and message.startswith("unrecognized arguments: --"):
            message += "; settings are given as key=value, such as train.steps=1000"
        raise UserError(f"{message} ({self.prog} --help explains)")


def parser(
    prog: str, description: str, epilog: str | None = None, setting: str = "train.steps=1000"
) -> argparse.ArgumentParser:
    """Return a parser with --config, --print-config and overrides, such as ``setting``; ``epilog`` holds examples."""
    made = bare_parser(prog, description, epilog)
    made.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="YAML file, or the name of a preset, such as tiny, small or finetune/mrpc",
    )
    made.add_argument("--print-config", action="store_true", help="print the resolved configuration and exit")
    add_overrides(made, f"settings that win over those of the file, such as {setting}")
    return made


def bare_parser(prog: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return a parser without arguments; paragraphs of ``description`` are filled, ``epilog`` is printed as it is."""
    return _Parser(
        prog=invocation(prog),
        description="\n\n".join(
            textwrap.fill(part, 100, break_on_hyphens=False) for part in description.split("\n\n")
        ),
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def path(text: str) -> Path:
    """Convert an argument that is a path; the ``type`` of every such argument.

    Raises:
        ArgumentTypeError: it is none of this machine (`local_path`).
    """
    try:
        return local_path(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def input_file(text: str) -> str:
    """Convert an argument that is a file to read, or - for standard input."""
    return text if text == "-" else str(path(text))


def invocation(module: str) -> str:
    """Return how a command is called: as this process was, by the console command or as a module."""
    if Path(sys.argv[0]).name == "electra-jax":
        return f"electra-jax {module.removeprefix('electra_jax.')}"
    return f"python -m {module}"


def add_overrides(made: argparse.ArgumentParser, help: str) -> None:
    """Add positional ``key.path=value`` arguments, and say in --help where the keys are listed."""
    made.add_argument("overrides", nargs="*", metavar="key.path=value", help=help)
    reference = f"Every key, with its type, default and meaning: {invocation('electra_jax.config')}"
    made.epilog = f"{made.epilog}\n{reference}" if made.epilog else reference


def add_output(made: argparse.ArgumentParser) -> None:
    """Add --output to a command that writes lines."""
    made.add_argument("--output", type=path, metavar="FILE", help="where to write (default: standard output)")


def add_on_error(made: argparse.ArgumentParser) -> None:
    """Add --on-error to a command that reads lines."""
    made.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="what to do at a line that cannot be read",
    )


def load_config(args: argparse.Namespace) -> Config:
    """Return the configuration that the arguments of `parser` name; print it and exit with --print-config.

    Raises:
        UserError: it is not valid.
    """
    config = load_config_file(args.config, args.overrides)
    if args.print_config:
        print(dump_config(config), end="")
        raise SystemExit(0)
    return config


def run(main: Callable[[Sequence[str] | None], int], *, stopped_status: int | None = None) -> NoReturn:
    """Run a command's ``main`` and exit with its status, or with one sentence and the status of a `UserError`.

    Args:
        main: the command.
        stopped_status: status after a signal that left nothing to save; None: 128 and the signal, as shells report it.
    """
    with watching(ends_process=True) as watch:
        watch.unwinds, watch.status = True, stopped_status
        _quiet_libraries()
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            sys.stdout.reconfigure(
                errors="backslashreplace"
            )  # a terminal may lack characters that a text has
        try:
            status = _status_of(main)
        except BaseException:
            if not watch.ended_by_signal:
                raise  # else it is what a library made of being interrupted
        if watch.ended_by_signal:
            with suppress(OSError):
                sys.stdout.flush()
            watch.end()
    if (own := active()) is not None:  # the process's, from its first moment
        own.leave()
    raise SystemExit(status)


def _status_of(main: Callable[[Sequence[str] | None], int]) -> Any:
    try:
        try:
            status: Any = main(None)
        except SystemExit as stop:
            status = stop.code
        sys.stdout.flush()
    except UserError as error:
        status = _fail(str(error), error.status)
    except OSError as error:
        if error.errno == errno.EPIPE and _discard_unread():
            status = _READER_GONE
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            status = _fail(
                f"disk full{_place(error)}: make room and run again; what was saved before is intact"
            )
        elif error.errno == errno.EFBIG:
            status = _fail(
                f"a file would be larger than is allowed{_place(error)}: raise the limit (ulimit -f) and run again; "
                "what was saved before is intact"
            )
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            status = _fail(f"no permission{_place(error)}: {error.strerror}")
        elif error.filename:  # too long a name, links in a circle, a file where a directory should be
            status = _fail(f"{os.fsdecode(error.filename)} cannot be used: {error.strerror}")
        else:
            raise
    except KeyboardInterrupt:
        status = _INTERRUPTED
    return status


def note(text: str) -> None:
    """Print what a user should know on standard error: one line, whatever it was made of."""
    print(f"note: {one_line(text)}", file=sys.stderr)


def _quiet_libraries() -> None:
    """Silence what libraries log of errors that end as one sentence of ours.

    A checkpoint that cannot be written raises; Orbax logs it besides, for each of its threads and tasks, with
    hundreds of lines before that sentence and after it.
    """
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
    sys.unraisablehook = _unraisable


def _unraisable(unraised: Any) -> None:
    # Tensorstore reports the rest of a failed write to a loop that is gone.
    if str(unraised.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraised)


def _discard_unread() -> bool:
    """Return whether standard output or error is a pipe nobody reads; discard what it still holds.

    A pipe that broke elsewhere, such as one to a worker process, is an error like any other.
    """
    gone = [stream for stream in (sys.stdout, sys.stderr) if _reader_gone(stream)]
    for stream in gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(gone)


def _reader_gone(stream: TextIO) -> bool:
    try:
        watch = select.poll()
        watch.register(stream.fileno(), 0)  # an error is reported without being asked for
        return bool(watch.poll(0))
    except (OSError, ValueError):  # closed, or no file
        return False


def _place(error: OSError) -> str:
    return f" ({error.filename})" if error.filename else ""


def _fail(message: str, status: int = UserError.status) -> int:
    print(f"error: {one_line(message)}", file=sys.stderr, flush=True)
    return status
