"""A protocol is found by what people type of it, and by nothing else."""

import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.warehouse.published_protocols import PublishedProtocol, find_protocol

PROTOCOLS = [PublishedProtocol("c1", "Walks before lunch"), PublishedProtocol("c2"), PublishedProtocol("c3", "Naps")]


@pytest.mark.parametrize(
    ("text", "protocol_id"), [("c2", "c2"), ("walks BEFORE lunch", "c1"), ("lunch", "c1"), ("C3", "c3")]
)
def test_an_id_a_name_or_a_part_of_it_finds_the_protocol(text: str, protocol_id: str) -> None:
    assert find_protocol(PROTOCOLS, text).protocol_id == protocol_id


@pytest.mark.parametrize("text", ["", "supper", "c"])
def test_an_empty_an_unknown_and_an_ambiguous_text_find_none(text: str) -> None:
    # An empty variable of a shell would else mean the protocol that has no name.
    with pytest.raises(AnalysisError, match=r"match(es)? "):
        find_protocol(PROTOCOLS, text)
