"""What is kept of a preset's values when other settings choose another kind of run."""

from collections.abc import Mapping
from typing import Any

from electra_jax.config.fields import FINETUNING, key_metadata
from electra_jax.config.keys import keys
from electra_jax.config.legacy import without_keys
from electra_jax.config.schema import ALTERNATIVES, kind_of_run


def compatible_values(given: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of ``given`` that goes with ``chosen``, which wins over it.

    Where ``chosen`` sets steps, epochs in ``given`` are left out, and the other way round. Where it sets another kind
    of run, the keys that only the first kind reads are left out, and between pre-training and fine-tuning also those
    that are counted in steps.

    Args:
        given: what a preset, or the config.yaml of a run, says for its own kind of run.
        chosen: what files written by hand and overrides say. Nothing of it is left out: it is read or refused.
    """
    left_out = []
    for first, second in ALTERNATIVES:
        for (name, key), (other, instead) in ((first, second), (second, first)):
            section = chosen.get(name)
            if isinstance(section, Mapping) and section.get(key) is not None:
                left_out.append(f"{other}.{instead}")
    before, after = (
        kind_of_run(given),
        kind_of_run({**given, **{k: v for k, v in chosen.items() if _has_kind(k, v)}}),
    )
    if before != after:
        crosses = (before in FINETUNING) != (after in FINETUNING)
        left_out += [
            key.name
            for key in keys()
            if key.name != "objective.kind"
            and (after not in key.runs or (crosses and "in_finetuning" in key_metadata(key.field)))
        ]
    return without_keys(given, left_out)


def _has_kind(name: str, section: Any) -> bool:
    return name == "objective" and isinstance(section, Mapping) and "kind" in section
