"""The contract with other teams: committed schemas, the topic map, and what each service subscribes to."""

import importlib
import json
from pathlib import Path

import pytest

from deploy.contracts import contracts
from shared.events.topics import ROUTING, TOPIC_OF, TOPICS, Topic

ROOT = Path(__file__).parents[2]
APPS = {
    "router": "router.app",
    "sla-monitor": "sla_monitor.app",
    "safety-bridge": "safety_bridge.app",
    "notifier": "notifier.app",
}
CONTRACTS = contracts()


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_the_committed_contract_is_what_the_events_say(name: str) -> None:
    """A changed event changes a committed file, so that a reviewer sees it: `make docs` writes them."""
    assert (ROOT / "docs/contracts" / name).read_text() == CONTRACTS[name]


def test_no_contract_is_left_over() -> None:
    assert {path.name for path in (ROOT / "docs/contracts").iterdir()} == set(CONTRACTS)


def test_each_wire_type_belongs_to_one_topic() -> None:
    assert len(TOPIC_OF) == sum(len(topic.events) for topic in TOPICS)
    assert all(wire_type.startswith("com.storytailor.") and wire_type.endswith(".v1") for wire_type in TOPIC_OF)


def test_asyncapi_names_key_partitions_and_groups() -> None:
    document = json.loads(CONTRACTS["asyncapi.json"])
    assert document["channels"][ROUTING.name]["bindings"]["kafka"]["partitions"] == 12
    groups = {
        operation["bindings"]["kafka"]["groupId"]["const"]
        for operation in document["operations"].values()
        if operation["action"] == "receive"
    }
    assert groups == {group for topic in TOPICS for group in topic.consumers}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_the_map_names_the_groups_that_the_services_use(topic: Topic) -> None:
    """A group on the map without a service would get dead-letter topics and alarms for nothing, and the other way round."""
    sources = "".join(Path(importlib.import_module(module).__file__ or "").read_text() for module in APPS.values())
    for group in topic.consumers:
        assert f'"{group}"' in sources
