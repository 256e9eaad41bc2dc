"""No text is in force that cannot be sent, and whoever edits one is told which, and with which facts (SN-27)."""

from dataclasses import replace

import pytest

from notifier.check_templates import main
from notifier.domain.check import faults_of, fixtures
from notifier.domain.desk import Desk
from notifier.domain.notification import Template
from notifier.domain.templates import Templates
from notifier.domain.ticket import Trigger
from notifier.domain.wording import Edition
from shared.testing.time import FakeNow
from shared.vocabulary import Subcategory


def with_text(desk: Desk, template: Template, language: str, change: tuple[str, str]) -> Desk:
    """After an edit of one file."""
    edition = desk.templates.edition
    source = edition.texts[language][template].replace(*change)
    assert source != edition.texts[language][template]
    texts = {**edition.texts, language: {**edition.texts[language], template: source}}
    return replace(desk, templates=Templates(Edition(**dict(edition) | {"texts": texts})))


def test_every_text_that_ships_can_be_sent_about_everything(desk: Desk) -> None:
    """Each language, each trigger and kind of matter, each criterion and team (SN-27)."""
    assert list(faults_of(desk, FakeNow()())) == []
    shown = {fixture.name for fixture in fixtures(desk.policy, FakeNow()())}
    for trigger in (Trigger.FIRST_ROUTED, Trigger.RESOLVED):
        told = {name for name in shown if name.startswith(trigger)}
        silent = {Subcategory.RIGHTS_HOLDER_CLAIM} if trigger is Trigger.RESOLVED else set()
        assert {one for one in Subcategory if any(one in name for name in told)} == set(Subcategory) - silent
    assert desk.policy.criteria <= {name.removeprefix(f"{Trigger.ESCALATED} ") for name in shown}


@pytest.mark.parametrize(
    ("template", "language", "change", "fixture", "why"),
    [
        (Template.RESOLUTION, "de", ("{{ agent_name }}", "{{ child_name }}"), "as a file", "agent_name, child_name"),
        (Template.RECEIPT, "fr", ("Subject: ", "Sujet : "), "as a file", "no subject line"),
        (Template.ESCALATION, "es", ("{{ team_name }}", "{{ team_name"), "as a file", "cannot be read"),
        (Template.PAGE, "en", ("Action needed now", "Crisis now"), "low, crisis, live", "free_text on mail_subject"),
        (Template.PAGE, "en", ("Paged at", "No drill. Paged at"), "low, crisis, live", "drill_flag"),
        (Template.TEAM_ASSIGNED, "en", ("{{ about }}", "{{ user_name }}"), "as a file", "about, user_name"),
    ],
)
def test_a_text_that_cannot_be_sent_is_named_with_its_edition_its_language_and_the_fixture(
    desk: Desk, template: Template, language: str, change: tuple[str, str], fixture: str, why: str
) -> None:
    """SN-27; the others are not concerned."""
    edited = with_text(desk, template, language, change)
    (fault,) = faults_of(edited, FakeNow()())
    version = edited.templates.edition.version
    assert (fault.template, fault.language, fault.edition) == (template, language, version)
    assert version != desk.templates.edition.version
    assert fixture in fault.fixture
    assert why in fault.reason
    assert fault.edition in str(fault)


def test_a_text_that_fails_on_one_of_its_fixtures_is_named_with_that_one(desk: Desk) -> None:
    """What the policy leaves empty for one kind of matter (SN-27)."""
    edition = desk.templates.edition
    german = edition.leaves_open["de"]
    empty = german.general.model_copy(update={"issue_type": " "})
    german = german.model_copy(update={"subcategories": {**german.subcategories, Subcategory.LOGIN: empty}})
    edition = Edition(**dict(edition) | {"leaves_open": {**edition.leaves_open, "de": german}})
    (fault,) = faults_of(replace(desk, templates=Templates(edition)), FakeNow()())
    assert (fault.template, fault.language, fault.fixture) == ("initial_response", "de", "first_routed login, named")


def test_a_text_without_a_file_is_named(desk: Desk) -> None:
    edition = desk.templates.edition
    texts = {**edition.texts, "en": {name: text for name, text in edition.texts["en"].items() if name != "watch"}}
    (fault,) = faults_of(replace(desk, templates=Templates(Edition(**dict(edition) | {"texts": texts}))), FakeNow()())
    assert (fault.template, fault.reason) == ("watch", "BadTemplate: there is no such text")


def test_the_command_says_that_nothing_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["check_templates"])
    assert main() == 0
    assert "nothing wrong" in capsys.readouterr().out
