"""docker-compose.yml holds the whole system, and nothing of it is open to the network."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.containers import KAFKA_IMAGE, POSTGRES_IMAGE
from deploy.stack import SERVICES
from intake.settings import IntakeSettings
from notifier.settings import NotifierSettings
from safety_bridge.settings import SafetyBridgeSettings
from shared.runtime.settings import ServiceSettings

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    return loaded


def test_every_service_of_the_code_is_run(services: dict[str, Any]) -> None:
    """By the supervisor and by compose alike; the console is a command."""
    folders = {folder.name for folder in (REPOSITORY / "services").iterdir() if folder.is_dir()} - {"console"}
    names = {service.name for service in SERVICES}
    assert {name.removesuffix("-bulk") for name in names} == folders
    assert set(services) == names | {"kafka", "postgres", "catcher"}


def test_whoever_runs_one_lane_has_a_sibling_that_runs_the_other(services: dict[str, Any]) -> None:
    """S6: by the supervisor and by compose alike; the urgent lane has the plain name, and no lane is nobody's."""
    lanes = {service.name: service.environment.get("SUPPORT_LANE") for service in SERVICES}
    for name, lane in lanes.items():
        assert services[name]["environment"].get("SUPPORT_LANE") == lane
        if lane == "urgent":
            assert lanes[f"{name}-bulk"] == "bulk"
        elif lane == "bulk":
            assert lanes[name.removesuffix("-bulk")] == "urgent"


def test_whoever_goes_second_is_the_same_by_both(services: dict[str, Any]) -> None:
    """S6: whatever a crisis passes on its way goes before it, the engines and the mail server too."""
    second = {service.name for service in SERVICES if service.niceness}
    assert {name for name, one in services.items() if one.get("cpu_shares", 1024) < 1024} == second
    assert second == {"router", "sla-monitor", "safety-bridge-bulk", "notifier-bulk"}


NOT_BY_COMPOSE = {"audit_heads_file", "http_host", "http_port", "intake_max_age_days", "lane", "policy_file"}
"""Files inside a container, what the image sets, and what only tests and small machines change."""


@pytest.mark.parametrize("settings", [IntakeSettings, SafetyBridgeSettings, NotifierSettings])
def test_what_can_be_set_can_be_set_in_compose(services: dict[str, Any], settings: type[ServiceSettings]) -> None:
    """Design 3.4: a setting that a container never sees is none."""
    wanted = {
        f"SUPPORT_{name.upper()}" for name in settings.model_fields.keys() - NOT_BY_COMPOSE if "topic_" not in name
    }
    assert wanted <= services["notifier"]["environment"].keys()


def test_tests_and_compose_use_the_same_images(services: dict[str, Any]) -> None:
    """What was tested is what runs."""
    assert (services["kafka"]["image"], services["postgres"]["image"]) == (KAFKA_IMAGE, POSTGRES_IMAGE)


def test_every_container_has_a_health_check_and_publishes_on_this_machine_only(services: dict[str, Any]) -> None:
    """`up --wait` means something, and nobody else on the network reaches an engine."""
    for service in services.values():
        assert service["healthcheck"]["test"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
