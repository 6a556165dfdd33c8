"""A benchmark's official files in their directory."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from electra_jax.data.sources.compressed import COMPRESSIONS, split_extension
from electra_jax.data.sources.read_many import read_all
from electra_jax.errors import UserError, listed, quoted
from electra_jax.tasks.protocol import Example
from electra_jax.tasks.sources.benchmarks import Benchmark, Columns, OfficialFile
from electra_jax.tasks.sources.files import format_line_numbers
from electra_jax.tasks.sources.labels import label_reader, padding_notes
from electra_jax.tasks.sources.questions import read_squad
from electra_jax.tasks.sources.tables import Table, read_cells, table_with_header, text_examples
from electra_jax.tasks.sources.word_columns import read_word_columns


@dataclass(frozen=True)
class OfficialFolder:
    """Where a benchmark's files are.

    Attributes:
        path: of the folder.
        files: by split, those that exist.
    """

    path: Path
    files: dict[str, Path]


def find_official(benchmark: Benchmark, directory: Path, where: str) -> OfficialFolder:
    """Find a benchmark's files in its own folder in ``directory`` (CoLA/ …), or else in ``directory`` itself.

    Raises:
        UserError: the directory does not exist, or has none of the files; ``where`` begins the message.
    """
    if not directory.is_dir():
        problem = "is not a folder" if directory.exists() else "does not exist"
        raise UserError(
            f"{where}: {directory} {problem}; name the folder with the benchmark's official files."
        )
    folders = [directory / name for name in benchmark.folders if (directory / name).is_dir()] + [directory]
    for folder in folders:
        if files := _files(benchmark, folder):
            return OfficialFolder(folder, files)
    raise UserError(
        f"{where}: none of {expected_files(benchmark)} is in {directory} or its folder {benchmark.folders[0]}/; "
        f"found there: {folder_listing(folders[0])}."
    )


def expected_files(benchmark: Benchmark, splits: Iterable[str] | None = None) -> str:
    """Return the official file names of these splits (all of them by default), for messages."""
    wanted = benchmark.files if splits is None else splits
    return ", ".join(benchmark.files[split].names[0] for split in wanted)


def folder_listing(folder: Path) -> str:
    """Return what is in a folder, for messages."""
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    return listed(names, limit=20) or "nothing"


def read_official(benchmark: Benchmark, folder: OfficialFolder, notes: list[str]) -> dict[str, list[Example]]:
    """Read the examples of every split whose file exists; labels of test files may be missing.

    Rows of GLUE's files with too few columns are left out, as in the original: official files have such rows, where a
    text breaks off in the middle.

    Args:
        benchmark: whose files they are.
        folder: where they are.
        notes: what was left out is appended, a line per file.

    Raises:
        UserError: files cannot be read, are not as the benchmark has them, or lack labels.
    """
    examples = read_all(partial(_read, benchmark, split, path, notes) for split, path in folder.files.items())
    return dict(zip(folder.files, examples, strict=True))


def _files(benchmark: Benchmark, folder: Path) -> dict[str, Path]:
    found = {}
    for split, file in benchmark.files.items():
        candidates = [folder / (name + packed) for name in file.names for packed in ("", *COMPRESSIONS)]
        if path := next((path for path in candidates if path.is_file()), None):
            found[split] = path
    return found


def _read(benchmark: Benchmark, split: str, path: Path, notes: list[str]) -> list[Example]:
    file, is_test = benchmark.files[split], split.startswith("test")
    padded: list[str] = []
    match split_extension(str(path))[0]:
        case ".json":
            return list(read_squad(path, split, notes))
        case ".tsv" | ".csv":
            short: list[int] | None = [] if split_extension(str(path))[0] == ".tsv" else None
            table, columns = _table(file, path, short)
            if short:
                notes.append(
                    f"{path}: {len(short):,} rows with too few columns are left out, as in the original "
                    f"({format_line_numbers(short)})"
                )
            read_label = label_reader(
                benchmark.kind, benchmark.spellings, may_be_hidden=is_test, padded=padded
            )
            examples = text_examples(table, columns, read_label)
            notes += padding_notes(path, padded)
            return list(examples)
    assert file.positions is not None
    tag = file.positions.label
    assert isinstance(tag, int)
    words = read_word_columns(path, tag_column=tag, width=file.width, padded=padded)
    notes += padding_notes(path, padded)
    return list(words)


def _table(file: OfficialFile, path: Path, short: list[int] | None) -> tuple[Table, Columns]:
    cells = read_cells(path, short=short)
    if file.header is not None and (
        file.positions is None or all(name in cells[0][1] for name in file.header.all)
    ):
        return table_with_header(path, cells), file.header
    assert file.positions is not None
    if (width := len(cells[0][1])) != file.width:
        raise UserError(
            f"{path} has {width} columns where the benchmark's file has {file.width} (its first line is "
            f"{quoted(cell[:40] for cell in cells[0][1])}); give the official file."
        )
    return Table(path, None, cells), file.positions
