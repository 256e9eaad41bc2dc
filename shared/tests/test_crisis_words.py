"""S6, E5: the words of crisis, abuse and danger to a child, in every language; and the patterns they are written in."""

import re
from operator import attrgetter
from time import process_time

import pytest

from shared.policy.crisis_words import CrisisWords, crisis_rules
from shared.policy.load import load_policy
from shared.policy.model import Policy
from shared.policy.patterns import Patterns, Phrase, Rule
from shared.vocabulary import Subcategory


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy()


@pytest.fixture(scope="module")
def words(policy: Policy) -> CrisisWords:
    return CrisisWords(policy)


def spelled_out(rule: Rule) -> str:
    """A text that a pattern has to match: the first alternative of each place, gaps left empty."""
    sets = rule.phrase.sets

    def first(part: str) -> str:
        choice = part.removesuffix("?").split("|")[0]
        return first(sets[choice[1:]][0]) if choice.startswith("$") else choice.replace("_", " ").removesuffix("*")

    return " ".join(first(part) for part in rule.phrase.text.split() if not part.startswith("~"))


def test_every_pattern_can_be_found_in_capitals_and_between_other_words(policy: Policy) -> None:
    """Each pattern matches the words that it is written with."""
    parts = ("safety", "criteria", "topics", "hygiene")
    rules = [rule for part in parts for rule in policy.rules(attrgetter(part))]
    assert len(rules) > 1000
    for rule in rules:
        alone = Patterns([Rule("found", rule.phrase)])
        assert alone.find(f"Zz, {spelled_out(rule).upper()} zz!"), rule.phrase.text


def test_every_language_speaks_of_crisis_and_abuse(policy: Policy) -> None:
    """English, Spanish, German and French at least."""
    assert {"en", "es", "de", "fr"} <= policy.words.keys()
    for language in policy.words.values():
        assert {"crisis_detection", "mandatory_reporting"} <= language.safety.keys()


def test_a_hit_names_subcategory_language_and_number(words: CrisisWords, policy: Policy) -> None:
    """So that it can be looked up; ids of a list count from its beginning."""
    hit = words.find("They are suicidal")[0]
    assert (hit.subcategory, hit.rule_id) == ("crisis_detection", "crisis_detection.en.1")
    assert len({rule.meaning.rule_id for rule in crisis_rules(policy)}) == len(list(crisis_rules(policy)))


@pytest.mark.parametrize(
    "text",
    [
        "I want to die",
        "i WANT   to\ndie…",
        "want-to-die",
        "quiero mo\u0301rir",
        "Er schlagt mich jeden Tag",
        "ER SCHLÄGT MICH JEDEN TAG",
        "se\u00adlf harm",
        "self\u2011harm",
        "„suicide“",
        "su1c1de",
        "k1ll mys3lf!",
        "s u i c i d e",
        "s.u.i.c.i.d.e",
        "killlll myselffff",
        "i want to diiiiie",
        "su*cide",
    ],
)
def test_spelling_does_not_hide_a_word(words: CrisisWords, text: str) -> None:
    """Case, accents, spaces, hyphens, invisible characters and disguises are folded away."""
    assert words.find(text)


@pytest.mark.parametrize("text", ["", "the diet I want", "want to. He dyed it", "beats mean", "🙂", "1000 www 2nd"])
def test_only_whole_words_count(words: CrisisWords, text: str) -> None:
    """Word borders on both sides."""
    assert words.find(text) == ()


def test_a_subject_may_go_on_in_the_body(words: CrisisWords) -> None:
    """Children write so; whatever stands in two texts is read as one."""
    assert words.find("I want to", "die")
    assert words.find("Ich will", "nicht mehr leben")


CODED = {
    "entities": "I want to&nbsp;die",
    "a letter as an entity": "Mein Vater schl&auml;gt mich jeden Tag",
    "tags": "I want to <b>die</b>",
    "tags inside a word": "kill my<wbr>self",
    "quoted-printable": "Mein Vater schl=C3=A4gt mich jeden Tag",
    "a soft break": "I want to ki=\r\nll myse=6Cf",
    "letters that look Latin": "I w\u0430nt to k\u0456ll mys\u0435lf",
    "marks of direction": "I want to ki\u202c\u202ell myself",
    "letters one by one, words apart": "I c h  w i l l  s t e r b e n",
    "umlauts spelt out": "Ich moechte sterben. Mein Vater schlaegt mich",
}


@pytest.mark.parametrize("text", CODED.values(), ids=list(CODED))
def test_what_mail_and_keyboards_do_to_a_word_does_not_hide_it(words: CrisisWords, text: str) -> None:
    """The text is read as it came, and once more as it was meant."""
    assert words.find(text)


def test_what_an_exception_takes_back_is_told_apart(policy: Policy) -> None:
    """It is not found, and whoever must not miss it can look again by other means."""
    patterns = Patterns(crisis_rules(policy))
    found, taken_back = patterns.look("The dragon wants to die")
    assert (found, [hit.subcategory for hit in taken_back][:1]) == ((), [Subcategory.CRISIS_DETECTION])
    found, taken_back = patterns.look("I want to die")
    assert (bool(found), taken_back) == (True, ())


def test_each_rule_is_told_once_and_in_the_policys_order(words: CrisisWords) -> None:
    """However often and wherever it matches."""
    found = [hit.rule_id for hit in words.find("He is being abused", "suicide, suicide", "being abused")]
    assert found[0] == "crisis_detection.en.1"
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    "text",
    [
        "My son wants to kill himself",
        "She tried killing herself.",
        "ER WILL SICH UMBRINGEN",
        "Mi hija dice que quiere morirse",
        "Ma fille dit qu'elle veut mourir",
    ],
)
def test_a_parent_speaks_of_a_child(text: str, words: CrisisWords) -> None:
    """Crises are told in the third person too (S6)."""
    assert words.find(text)


@pytest.mark.parametrize(
    "text",
    [
        "The dragon wants to die in chapter two",
        "Our app wants to die every morning",
        "Nobody wants to die here",
        "This cake is to die for",
        "We watched Suicide Squad",
        "I nearly killed myself laughing",
        "El dragón quiere morir",
        "Me muero de risa",
        "Der Drache will sterben",
        "Das bringt mich um den Verstand",
    ],
)
def test_a_story_an_idiom_and_a_denial_are_no_crisis(text: str, words: CrisisWords) -> None:
    """What the same words mean elsewhere takes them back."""
    assert words.find(text) == ()


def test_what_is_taken_back_once_still_counts_elsewhere(words: CrisisWords) -> None:
    """An exception covers its own words only: a real cry beside a story is heard."""
    assert words.find("The dragon wants to die. I want to die too.")


@pytest.mark.parametrize(
    "text",
    [
        "My dog died, I want to kill myself.",
        "My dog died I want to kill myself",
        "My cat died yesterday and I want to die",
        "Why not kill myself?",
        "Why should I not kill myself",
        "I am like a ghost, I want to kill myself",
        "your game makes me want to die",
        "He is a giant bully and my daughter wants to die",
        "Mi perro murió y quiero morir",
        "Mi perro ha muerto, quiero suicidarme",
        "Mein Hund ist tot und ich will sterben",
        "Mein Hund ist gestorben, ich will mich umbringen",
        "Mon chien est mort et je veux mourir",
    ],
)
def test_what_takes_words_back_does_not_reach_a_real_person(text: str, words: CrisisWords) -> None:
    """S6: an animal or a figure beside a cry does not hide it, nor does asking why."""
    assert words.find(text)


class TestPatterns:
    def test_that_overlap_are_all_found(self) -> None:
        """No match swallows another."""
        assert Patterns([Rule(1, Phrase("aa bb")), Rule(2, Phrase("bb cc")), Rule(3, Phrase("bb"))]).find(
            "aa bb cc"
        ) == (1, 2, 3)

    def test_know_alternatives_gaps_beginnings_and_options(self) -> None:
        """The table at the top of the module."""
        found = Patterns([Rule("x", Phrase("hit|beat_up ~2 really? sad*|blue"))])
        assert found.find("hit sadly")
        assert found.find("beat up one two really sadder")
        assert not found.find("hit one two three blue")
        assert not found.find("beat sad")

    def test_tell_which_words_matched(self) -> None:
        """For whoever may see them."""
        [found] = Patterns([Rule("x", Phrase("want ~ die"))]).explain("Oh, they WANT to die!")
        assert (found.rule, found.words) == ("x", "want to die")

    @pytest.mark.parametrize(
        ("pattern", "problem"),
        [
            ("$nobody dies", "nobody"),
            ("~ really?", "no word"),
            ("i*", "no word"),
            ("die ~99 now", "at most 20"),
        ],
    )
    def test_that_cannot_be_looked_up_are_refused(self, pattern: str, problem: str) -> None:
        """When the policy is loaded, not when a ticket comes."""
        with pytest.raises(ValueError, match=re.escape(problem)):
            Patterns([Rule("x", Phrase(pattern))])


class TestTheLongestTexts:
    """256 KiB are looked through in a second or two, whatever stands in them (S6: nothing waits behind a text)."""

    @pytest.mark.parametrize(
        "text",
        [
            *("a " * 128_000, "1 " * 128_000, "x" * 256_000, "k1ll " * 50_000, "a*b" * 80_000, "a b c d " * 32_000),
            *(".,;" * 80_000, "he my kid hit me " * 15_000, "\u200b" * 80_000, "i am so very " * 19_000),
        ],
        ids=lambda text: ascii(text[:10]),
    )
    def test_take_no_longer_for_being_odd(self, words: CrisisWords, text: str) -> None:
        """Linear in their length: once these took minutes."""
        started = process_time()
        words.find(text)
        assert process_time() - started < 5

    def test_hide_nothing(self, words: CrisisWords) -> None:
        """At the beginning, in the middle, at the end, and across the border of two parts."""
        filler = [f"word{number}" for number in range(20_000)]
        for place in (0, 299, 300, 301, 10_000, 20_000):
            assert words.find(" ".join([*filler[:place], "I", "want", "to", "kill", "myself", *filler[place:]])), place
