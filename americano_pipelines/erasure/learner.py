"""Collect what the stores call a learner: spellings of the id, protocols, and pseudonyms under any key."""

import re
from collections.abc import Collection, Mapping

from americano_pipelines.analysis.pseudonym import existing_key, pseudonym_under
from americano_pipelines.erasure.extracts import kept_extracts, summarize_extract
from americano_pipelines.erasure.spellings import spellings
from americano_pipelines.erasure.store import Learner
from americano_pipelines.errors import PseudonymKeyError
from americano_pipelines.provenance.archive import records
from americano_pipelines.settings import DataFolder

# In a record's queries.
_PSEUDONYM = re.compile(r"learner-[0-9a-f]{20}")


def identify(paths: DataFolder, learner_id: str, owners: Mapping[str, set[str]]) -> Learner:
    """Collect what the stores call a learner.

    Extracts and records have a pseudonym and a protocol. Where snapshots know a protocol's only owner, its pseudonym is
    that owner's, whichever key made it; so other extracts of theirs are found although the key was lost or replaced.

    Args:
        paths: the data folder, whose key made the pseudonyms.
        learner_id: the learner's id, as the source writes it.
        owners: protocol to the ids of those who own it, in any snapshot or the lake.
    """
    ids = spellings(learner_id)
    protocols = {protocol_id for protocol_id, owner_ids in owners.items() if not ids.isdisjoint(owner_ids)}
    named = _pseudonyms_by_protocol(paths)
    key, problem = None, None
    try:
        key = existing_key(paths)
    except PseudonymKeyError as error:
        problem = str(error)
    if problem is None and named:
        problem = _other_key(named, key, owners)
    own_pseudonyms = _pseudonyms_with_key(key, ids)
    other_pseudonyms = _pseudonyms_with_key(key, {owner for owner_ids in owners.values() for owner in owner_ids} - ids)
    if problem is not None:
        for protocol_id, pseudonyms in named.items():
            owner_ids = owners.get(protocol_id, set())
            if owner_ids and owner_ids <= ids:
                own_pseudonyms |= pseudonyms
            elif owner_ids and ids.isdisjoint(owner_ids):
                other_pseudonyms |= pseudonyms
        # A protocol with several owners does not identify one.
        own_pseudonyms, other_pseudonyms = own_pseudonyms - other_pseudonyms, other_pseudonyms - own_pseudonyms
    protocols_by_pseudonym = {
        protocol_id for protocol_id, pseudonyms in named.items() if pseudonyms and pseudonyms <= own_pseudonyms
    }
    return Learner(
        id=learner_id,
        owners=owners,
        pseudonyms=frozenset(own_pseudonyms),
        protocols=frozenset(protocols | (protocols_by_pseudonym - owners.keys())),
        other_protocols=frozenset(owners.keys() - protocols),
        other_pseudonyms=frozenset(other_pseudonyms),
        key_problem=problem,
    )


def _pseudonyms_with_key(key: bytes | None, ids: Collection[str]) -> set[str]:
    return {pseudonym_under(key, learner_id) for learner_id in ids} if key is not None else set()


def _pseudonyms_by_protocol(paths: DataFolder) -> dict[str, set[str]]:
    """Protocol to the pseudonyms that extracts and records have for its learner, under any key."""
    named: dict[str, set[str]] = {}
    for sha256, _, content in kept_extracts(paths):
        extract = summarize_extract(content, sha256)
        if extract.intact and extract.protocol_id is not None and extract.learners is not None:
            named.setdefault(extract.protocol_id, set()).update(extract.learners)
    for _, record in records(paths):
        if record.identity.protocol_id is not None:
            queries = " ".join(source.query for source in record.inputs)
            named.setdefault(record.identity.protocol_id, set()).update(_PSEUDONYM.findall(queries))
    return named


def _other_key(named: Mapping[str, set[str]], key: bytes | None, owners: Mapping[str, set[str]]) -> str | None:
    """Why the key cannot be the one of all analyses, None where nothing shows that."""
    if key is None:
        return "pseudonym.key is missing, and analyses were made with one: restore it from a backup"
    for protocol_id, pseudonyms in named.items():
        ids = {spelled for owner in owners.get(protocol_id, ()) for spelled in spellings(owner)}
        if ids and not pseudonyms <= _pseudonyms_with_key(key, ids):
            return (
                f"an analysis of protocol {protocol_id} was not made with the present pseudonym.key: restore the key "
                "that made it from a backup"
            )
    return None
