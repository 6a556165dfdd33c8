"""State dicts of PyTorch: which of their tensors are an ELECTRA's, by today's names, whoever saved them.

Trainers put their own words before the names (``module.``, ``model.``, ``state_dict.``), and other things beside them.
Where the network is, is seen by the names that remain: those of the encoder in `transformers`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from electra_jax.convert.files.differences import first_difference
from electra_jax.convert.weights import FlatParams
from electra_jax.errors import UserError, listed

# What wraps a module anywhere in a network and is no part of its name.
_WRAPPERS = {
    *("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"),
}
_OLDER = {"gamma": "weight", "beta": "bias"}
_ENCODER = re.compile(
    r"((?:.*?\.)??)(electra\.)?(?:embeddings\.(?:word|position|token_type)_embeddings\.weight"
    r"|encoder\.layer\.\d+\.attention\.self\.query\.weight)"
)
_BARE = ("embeddings.", "embeddings_project.", "encoder.")
# Beginnings of the names of an ELECTRA with any head of `transformers`.
_PARTS = (
    *("electra.", *_BARE, "discriminator_predictions.", "generator_"),
    *("classifier.", "qa_outputs.", "sequence_summary."),
)
# Networks with names like ELECTRA's that are none.
_STRANGERS = {
    *("albert", "bert", "camembert", "convbert", "deberta", "distilbert", "ernie", "funnel", "layoutlm"),
    *("mobilebert", "mpnet", "roberta", "xlm_roberta"),
}
# A trainer may keep copies, averaged ones too.
_MAX_NETWORKS = 8
# Buffers, not parameters, that older versions saved along.
_BUFFERS = ("electra.embeddings.position_ids", "electra.embeddings.token_type_ids")
TIED = "generator_lm_head.weight"
WORDS = "electra.embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class NetworkStateDict:
    """One network.

    Attributes:
        tensors: by the names that today's `transformers` has, ``electra.`` before the encoder's; without buffers and
            the tied copy of the word table.
        bare: whether the encoder's names had no ``electra.``, as those of an `ElectraModel`.
        tied: whether the copy of the word table at the output was stored.
    """

    tensors: FlatParams
    bare: bool
    tied: bool

    @property
    def is_generator(self) -> bool:
        """Whether its head is that of masked language modelling."""
        return any(name.startswith("generator_") for name in self.tensors)

    @property
    def is_discriminator(self) -> bool:
        """Whether its head is that of replaced token detection."""
        return any(name.startswith("discriminator_predictions.") for name in self.tensors)


def split_networks(
    where: str, stored: FlatParams, others: Iterable[str] = ()
) -> tuple[list[NetworkStateDict], list[str]]:
    """The network in a file, or the generator and the discriminator, and notes on what was taken and what left.

    Args:
        where: the file, for messages.
        stored: its tensors by the names that it has for them.
        others: names of what else is in it.

    Raises:
        UserError: two names mean one parameter, and their numbers differ; it holds several encoders, and nothing says
            which is meant; the head of a generator is not its word table.
    """
    today = {name: _today(name) for name in stored}
    roots = _roots(today.values()) or [""]
    if len(roots) > _MAX_NETWORKS:
        raise UserError(f"{where} holds {len(roots)} networks: save the state dict of the one that is meant")
    parts: dict[str, list[str]] = {root: [] for root in roots}
    left: list[str] = []
    beginnings = {
        _spelled(name, match[1])
        for name, now in today.items()
        if (match := _ENCODER.fullmatch(now)) and match[1] in roots
    }
    for name, now in today.items():
        home = max((root for root in roots if now.startswith(root)), key=len, default=None)
        # Beside module.electra.… a trainer may keep tensors of its own, before which there is no module.
        if home is not None and not now[len(home) :].startswith(_PARTS) and beginnings:
            home = home if _spelled(name, home) in beginnings else None
        (left if home is None else parts[home]).append(name)
    found = {
        root: _state_dict(where, {name: (today[name][len(root) :], stored[name]) for name in names})
        for root, names in parts.items()
    }
    found, notes = _chosen(where, found)
    left += [name for name in others if name]
    prefixes = sorted({_spelled(name, root) for root in found for name in parts[root]} - {""})
    if prefixes or left:
        count = sum(len(parts[root]) for root in found)
        under = f" under {' and '.join(prefixes)}" if prefixes else ""
        notes.append(f"{where}: taken are {count} tensors{under}, left {listed(_short(left)) or 'none'}")
    return list(found.values()), notes


def comparable_tensors(where: str, stored: FlatParams) -> dict[str, np.ndarray]:
    """The tensors by today's names, without what is no parameter of its own, to compare two files of one model."""
    return {
        f"{number}.{name}" if number else name: array
        for number, network in enumerate(split_networks(where, stored)[0])
        for name, array in network.tensors.items()
    }


def _today(name: str) -> str:
    """The name that today's `transformers` has, with whatever was put before it but wrappers."""
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if parts[-2:-1] == ["LayerNorm"]:
        parts[-1] = _OLDER.get(parts[-1], parts[-1])
    return ".".join(parts)


def _roots(names: Iterable[str]) -> list[str]:
    """What is before the names of an encoder, once for each encoder."""
    roots: dict[str, None] = {}
    for name in names:
        if (match := _ENCODER.fullmatch(name)) is not None:
            root, own = match[1], match[2]
            if own or root.rstrip(".").rpartition(".")[2] not in _STRANGERS:
                roots[root] = None
    return list(roots)


def _spelled(name: str, root: str) -> str:
    """The beginning of a stored name that ``root`` is, wrappers included."""
    parts, count = name.split("."), root.count(".")
    taken = 0
    while taken < len(parts) and (count or parts[taken] in _WRAPPERS):
        count -= parts[taken] not in _WRAPPERS
        taken += 1
    return "".join(f"{part}." for part in parts[:taken])


def _short(names: Iterable[str]) -> list[str]:
    """Names by their first two parts, each once: what is left may be thousands of an optimizer's."""
    return list(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))


def _state_dict(where: str, named: Mapping[str, tuple[str, np.ndarray]]) -> NetworkStateDict:
    """One network of {stored name: (today's name, tensor)}.

    Raises:
        UserError: two names mean one parameter, and differ; another table than that of words is at the output.
    """
    spelled: dict[str, str] = {}
    tensors: dict[str, np.ndarray] = {}
    bare = not any(now.startswith("electra.") for now, _ in named.values())
    for stored, (now, array) in named.items():
        name = f"electra.{now}" if now.startswith(_BARE) else now
        if name in _BUFFERS:
            continue
        if name not in tensors:
            spelled[name], tensors[name] = stored, array
        elif difference := first_difference(tensors[name], array):
            raise UserError(
                f"{where} holds {name} twice, as {spelled[name]} and as {stored}, which differ {difference}: save it "
                "with one of them"
            )
    tied = tensors.pop(TIED, None)
    if tied is not None and WORDS in tensors and (difference := first_difference(tied, tensors[WORDS])):
        raise UserError(
            f"{where}: {TIED} is not the word table ({WORDS}), they differ {difference}; ELECTRA's generator has one "
            "table for both"
        )
    return NetworkStateDict(tensors, bare=bare, tied=tied is not None)


def _chosen(
    where: str, found: Mapping[str, NetworkStateDict]
) -> tuple[dict[str, NetworkStateDict], list[str]]:
    """A single network, or a generator and a discriminator; copies of one another count once.

    Raises:
        UserError: there are others.
    """
    chosen: dict[str, NetworkStateDict] = {}
    notes: list[str] = []
    for root, network in found.items():
        of = next((r for r, other in chosen.items() if _same(network, other)), None)
        if of is None:
            chosen[root] = network
        else:
            notes.append(f"{where}: what is under {root or 'no name'} is the same as under {of or 'no name'}")
    both = [network.is_generator for network in chosen.values()] in ([True, False], [False, True])
    if len(chosen) > 1 and not (both and any(network.is_discriminator for network in chosen.values())):
        raise UserError(
            f"{where} holds several networks, under {' and '.join(r or 'no name' for r in list(chosen)[:5])}: save the "
            "state dict of the one that is meant, or a generator and a discriminator"
        )
    return chosen, notes


def _same(one: NetworkStateDict, other: NetworkStateDict) -> bool:
    return one.tensors.keys() == other.tensors.keys() and not any(
        first_difference(array, other.tensors[name]) for name, array in one.tensors.items()
    )
