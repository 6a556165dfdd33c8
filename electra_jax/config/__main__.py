"""``python -m electra_jax.config`` lists every key, its type, range, default and meaning."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from electra_jax import cli
from electra_jax.config.compare import recipe_keys
from electra_jax.config.fields import FINETUNING, PRETRAINING, key_metadata
from electra_jax.config.keys import NAME, Key, entry_keys, keys
from electra_jax.config.yaml_format import show

_RUNS = {PRETRAINING: "pre-training only", FINETUNING: "fine-tuning only"}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def reference() -> str:
    """Return the reference of all keys as text, one paragraph a key."""
    return "\n".join(f"{key.name}  ({_type(key)})\n    {key.doc}" for key in (*keys(), *entry_keys()))


def _type(key: Key) -> str:
    values = key.kinds if key.name.endswith(".kind") and key.kinds else None
    parts = ["|".join(values) if values else _type_name(key.field.annotation)]
    parts += [
        f"{words} {getattr(bound, name)}"
        for bound in key.field.metadata
        for name, words in _BOUNDS.items()
        if hasattr(bound, name)
    ]
    default = key.field.default
    if not (values and NAME in key.name):  # an entry's kind may follow from its name
        parts.append(f"default {default if default and isinstance(default, str) else show(default)}")
    if "in_finetuning" in (extra := key_metadata(key.field)):
        parts[-1] += f", in fine-tuning {show(extra['in_finetuning'])}"
    if key.free_on_resume:
        recipe = key.name in recipe_keys() and {*FINETUNING} <= {*key.runs}
        parts.append("may change on resume" + (" (not in fine-tuning)" if recipe else ""))
    if key.runs != Key.runs and not key.in_objective and NAME not in key.name:
        parts.append(_RUNS.get(key.runs) or f"objective.kind={'|'.join(key.runs)} only")
    if key.kinds != key.all_kinds:
        entry, named, _ = key.name.partition(NAME)
        section = entry + named if named else key.name.partition(".")[0]
        parts.append(f"{section}.kind={'|'.join(key.kinds)} only")
    return ", ".join(parts)


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) is Annotated:
        return _type_name(get_args(annotation)[0])
    if get_origin(annotation) in (list, dict):
        return f"{get_origin(annotation).__name__} of {_type_name(get_args(annotation)[-1])}"
    if get_origin(annotation) is None:
        return "null" if annotation is type(None) else annotation.__name__
    return "|".join(map(_type_name, get_args(annotation)))


def main(argv: Sequence[str] | None = None) -> int:
    """Print every key of the configuration; the command has no arguments."""
    cli.bare_parser(
        "electra_jax.config",
        "Lists every key of the configuration with its type, range, default and meaning, and whether it may change "
        "when a run is resumed. A key is set in a YAML file (section: {key: value}) or on the command line "
        "(section.key=value).",
    ).parse_args(argv)
    print(reference())
    return 0


if __name__ == "__main__":
    cli.run(main)
