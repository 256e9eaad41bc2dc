"""Each customer in their language, and whole: no sentence of it in another one (HD-67)."""

import re
from dataclasses import replace
from typing import Any

import pytest

from notifier.app import read_edition
from notifier.domain.check import fixtures
from notifier.domain.desk import Desk
from notifier.domain.gate import AUDIENCES
from notifier.domain.notification import Audience, Template
from notifier.domain.templates import Templates
from notifier.domain.wording import Fallback, Wording
from shared.policy.load import load_policy
from shared.testing.time import FakeNow
from shared.vocabulary import Category, Criterion, Subcategory, Team

EDITION = read_edition(load_policy())
LANGUAGES = ("de", "en", "es", "fr")
TO_CUSTOMERS = [template for template in Template if AUDIENCES[template] == (Audience.CUSTOMER,)]
IN_ENGLISH_ONLY = {"the", "your", "you", "will", "our", "we", "this", "with", "have", "and", "it", "there"}


def customer(locale: str | None) -> dict[str, Any]:
    return {"id": "u-1", "email": "ada@example.com", "locale": locale}


@pytest.mark.parametrize(
    ("locale", "language", "fallback"),
    [
        ("de", "de", None),
        ("DE", "de", None),
        ("fr", "fr", None),
        ("de-AT", "de", Fallback.SHORTER),
        ("de_AT", "de", Fallback.SHORTER),
        ("es_MX.UTF-8", "es", Fallback.SHORTER),
        ("fr-Latn-CA", "fr", Fallback.SHORTER),
        ("it-IT", "en", Fallback.DEFAULT),
        ("den", "en", Fallback.DEFAULT),
        ("{{ 7*7 }}", "en", Fallback.DEFAULT),
        ("-", "en", Fallback.DEFAULT),
        ("x-" * 10_000, "en", Fallback.DEFAULT),
        ("", "en", None),
        (None, "en", None),
    ],
)
def test_a_locale_is_served_by_the_nearest_language_there_is(office, say, locale, language, fallback) -> None:
    """`de-AT`, else `de`, else the default; that it was not what was asked for is kept with the decision (HD-67)."""
    office.hear(say.created(requester=customer(locale)), say.assigned("login"))
    wording = office.latest("initial_response").intent.wording
    assert wording == Wording(EDITION.version, language, fallback)
    assert office.latest("team_assigned").intent.wording == Wording(EDITION.version, "en")


@pytest.mark.parametrize(
    ("locale", "language", "fallback"),
    [(None, "de", None), ("it", "de", Fallback.DEFAULT), ("en-GB", "en", Fallback.SHORTER)],
)
def test_an_installation_may_have_another_default(desk, locale, language, fallback) -> None:
    """Staff is written to in English, since there is nothing else."""
    templates = Templates(EDITION, "de")
    assert templates.wording(Template.RECEIPT, locale) == Wording(EDITION.version, language, fallback)
    assert templates.wording(Template.PAGE, None) == Wording(EDITION.version, "en")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", TO_CUSTOMERS)
def test_every_text_to_customers_is_there_in_every_language(template: Template, language: str) -> None:
    assert language in EDITION.languages(template)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_texts_leave_open_is_said_in_every_language(language: str) -> None:
    """For each kind of matter, criterion and team of the policy that ships (T2)."""
    texts, policy = EDITION.leaves_open[language], load_policy()
    assert set(texts.categories) == set(Category)
    assert set(texts.subcategories) == set(Subcategory)
    assert set(texts.escalation_details) >= {*Criterion, *policy.criteria}
    assert set(texts.teams) >= {*Team, *policy.teams}


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_no_english_stands_in_another_language(desk: Desk, language: str) -> None:
    """Every text to customers about everything: neither a word of English nor a sentence of the English edition (HD-67)."""
    english = {
        line
        for name in TO_CUSTOMERS
        for line in EDITION.texts["en"][name].splitlines()
        if len(line) > 20 and "{" not in line
    }
    for _, intent, ticket in fixtures(desk.policy, FakeNow()()):
        if intent.audience is Audience.CUSTOMER:
            words = desk.words(replace(intent, wording=Wording(EDITION.version, language)), ticket, released=True)
            said = f"{words.subject}\n{words.body}".replace("as you said", "")
            assert not english & set(said.splitlines())
            assert not IN_ENGLISH_ONLY & set(re.findall(r"\w+", said.casefold()))


@pytest.mark.parametrize(
    ("locale", "greeting"),
    [
        ("en", "Hi there,"),
        ("de", "Hallo und guten Tag,"),
        ("es", "Hola, te saludamos desde Storytailor:"),
        ("fr", "Bonjour à vous,"),
    ],
)
def test_somebody_whose_name_nobody_knows_is_greeted_in_their_language(office, say, locale, greeting) -> None:
    """ "there" is English (T2)."""
    office.hear(say.created(requester=customer(locale)), say.assigned("login"))
    assert greeting in office.mail("initial_response").body.splitlines()


def test_a_word_that_the_policy_gained_is_told_in_general_words_of_the_same_language(office, say) -> None:
    """A criterion or a team without a translation does not bring English into a German mail."""
    german = EDITION.leaves_open["de"]
    assert german.reason(Criterion("needs_translation")) == german.escalation
    assert german.team_name(Team("night_watch")) == german.team


def test_one_german_mail_from_end_to_end(office, say) -> None:
    """Its subject, its greeting, the reason and the team (HD-67)."""
    office.hear(say.created(requester=customer("de-AT") | {"name": "Ada"}), say.assigned("login"), say.escalated())
    mail = office.mail("escalation")
    assert mail.subject == "Re: [Ticket #T-1] - Weitergeleitet"
    assert mail.body.startswith(
        "Hallo Ada,\n\nwir haben Ihr Anliegen zur weiteren Bearbeitung an unser Technik-Team weitergeleitet."
    )
    assert "Hier ist der Blick einer Fachkraft nötig" in mail.body
    assert mail.body.endswith("Mit freundlichen Grüßen\nStorytailor-Support-Team\nStorytailor-Support-Team\n")
    assert mail.html is not None
    assert '<html lang="de">' in mail.html
