"""policy.yaml = the tables of the source document and of the clauses, cell by cell; every clause that is cited exists."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from shared.policy.load import load_policy
from shared.policy.model import Target
from shared.vocabulary import SUBCATEGORIES, Category, Criterion, Level, Milestone, Subcategory, Team, Tier

ROOT = Path(__file__).parents[2]
SOURCE = (ROOT / "docs/policy/customer-service-support-workflows.md").read_text()
CLAUSES = (ROOT / "docs/policy/clauses.md").read_text()
POLICY = load_policy()
MILESTONES = (Milestone.INITIAL_RESPONSE, Milestone.RESOLUTION, Milestone.ESCALATION)
Row = list[str]


def clause(number: str) -> str:
    """The text of one clause, with its table."""
    found = re.search(rf"\*\*{number}\*\* (.*?)(?=\n- \*\*|\n## |\Z)", CLAUSES, re.DOTALL)
    assert found, number
    return found.group(1)


def table(text: str) -> list[Row]:
    """The cells of the first Markdown table in a text, without head and rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def section(heading: str) -> str:
    """What stands under a heading of the source document, down to the next one."""
    return SOURCE.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]


def snake(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", words.lower().replace("+", " plus")).strip("_")


def target(words: str) -> Target:
    """`48 hours`, `48 h`, `1 business day`, `Same day` as the policy has them."""
    if snake(words) in ("same_day", "next_business_day"):
        return Target.model_validate(snake(words))
    found = re.search(r"(\d+) (h\b|hour|minute|business day)", words)
    assert found, words
    unit = {"h": "hours", "hour": "hours", "minute": "minutes", "business day": "business_days"}[found.group(2)]
    return Target.model_validate(f"{found.group(1)} {unit}")


def source_targets() -> Iterator[tuple[str, Row]]:
    for tier, *cells in table(section("### Standard Response Times")):
        yield snake(tier), cells


def clause_targets() -> Iterator[tuple[str, Row]]:
    for tiers, *cells in table(clause("L1")):
        for tier in tiers.split(", "):
            yield tier, cells


@pytest.mark.parametrize("rows", [source_targets, clause_targets], ids=["source document", "clause"])
def test_the_targets_of_every_tier(rows) -> None:
    """L1: three milestones for each of the seven tiers."""
    told = {Tier(tier): cells for tier, cells in rows()}
    assert set(told) == set(Tier)
    for tier, cells in told.items():
        promised = [POLICY.clocks.targets[tier].of(milestone) for milestone in MILESTONES]
        assert promised == [target(cell) for cell in cells], tier


def test_the_targets_of_ip_attribution_in_the_source_document() -> None:
    """L5."""
    lines = section("### IP Attribution Issue Response Times")
    for name, subcategory in (
        ("User Questions", Subcategory.USER_QUESTION),
        ("Missing Attribution Reports", Subcategory.MISSING_ATTRIBUTION),
        ("False Positive Reports", Subcategory.FALSE_POSITIVE),
    ):
        initial, resolution = re.findall(rf"\*\*{name}\*\*: (.*) initial, (.*) resolution", lines)[0]
        overlay = POLICY.clocks.overlays[subcategory]
        assert (overlay.initial_response, overlay.resolution) == (target(initial), target(resolution))
    claim = POLICY.clocks.overlays[Subcategory.RIGHTS_HOLDER_CLAIM]
    acknowledgement, initial = re.findall(r"Legal Team, (.*) acknowledgment, (.*) initial", lines)[0]
    assert (claim.acknowledgement, claim.initial_response) == (target(acknowledgement), target(initial))
    assert (claim.resolution, claim.escalation) == (None, None)


def test_the_targets_of_safety_in_clause_and_source_document() -> None:
    """L6: "within minutes" is settled as 5."""
    told = dict(re.findall(r"(\w+) (\d+ (?:minutes|h))", clause("L6")))
    assert set(told) == set(SUBCATEGORIES[Category.SAFETY])
    for subcategory, words in told.items():
        assert POLICY.clocks.overlays[Subcategory(subcategory)].initial_response == target(words)
    lines = section("### Safety Issue Response Times")
    in_source = dict(re.findall(r"- \*\*(.*)\*\*: .*?(\d+ hours?)", lines))
    named = {"Privacy Concerns": "privacy_concern"}
    assert len(in_source) == 4
    for name, words in in_source.items():
        assert target(told[named.get(name, snake(name))]) == target(words)


IN_SOURCE = {
    "Story generation problems": Subcategory.STORY_GENERATION,
    "Voice synthesis issues": Subcategory.VOICE_SYNTHESIS,
    "Platform integration problems": Subcategory.PLATFORM_INTEGRATION,
    "API errors": Subcategory.API_ERRORS,
    "Performance issues": Subcategory.PERFORMANCE,
    "Login problems": Subcategory.LOGIN,
    "Password reset": Subcategory.PASSWORD_RESET,
    "Account access": Subcategory.ACCOUNT_ACCESS,
    "Profile management": Subcategory.PROFILE_MANAGEMENT,
    "Subscription management": Subcategory.SUBSCRIPTION_MANAGEMENT,
    "Payment failures": Subcategory.PAYMENT_FAILURE,
    "Subscription changes": Subcategory.SUBSCRIPTION_CHANGE,
    "Refund requests": Subcategory.REFUND_REQUEST,
    "Invoice questions": Subcategory.INVOICE_QUESTION,
    "Discount code application": Subcategory.DISCOUNT_CODE,
    "Story quality concerns": Subcategory.STORY_QUALITY,
    "Inappropriate content": Subcategory.INAPPROPRIATE_CONTENT,
    "Character consistency": Subcategory.CHARACTER_CONSISTENCY,
    "Age-appropriateness": Subcategory.AGE_APPROPRIATENESS,
    "Missing IP attribution": Subcategory.MISSING_ATTRIBUTION,
    "False positive IP detection": Subcategory.FALSE_POSITIVE,
    "Rights holder claims": Subcategory.RIGHTS_HOLDER_CLAIM,
    "User questions about IP": Subcategory.USER_QUESTION,
    "Crisis detection": Subcategory.CRISIS_DETECTION,
    "Content moderation": Subcategory.CONTENT_MODERATION,
    "Privacy concerns": Subcategory.PRIVACY_CONCERN,
    "COPPA compliance questions": Subcategory.COPPA_COMPLIANCE,
    "Mandatory reporting triggers": Subcategory.MANDATORY_REPORTING,
}


def test_the_28_subcategories_of_the_source_document() -> None:
    """C1, in the order of the document."""
    told: dict[Category, list[Subcategory]] = {}
    for line in section("### Issue Classification").splitlines():
        if heading := re.match(r"\d\. \*\*(.*) Issues\*\*", line):
            bullets = told[Category(snake(heading.group(1)))] = []
        elif line.startswith("   - "):
            bullets.append(IN_SOURCE[line.removeprefix("   - ")])
    assert told == {category: list(subcategories) for category, subcategories in SUBCATEGORIES.items()}
    assert len(list(chain(*told.values()))) == 28


def test_the_vocabulary_of_the_clauses() -> None:
    """C1."""
    told = {name: words.split(", ") for name, words in re.findall(r"`(\w+)`: ([\w, ]+\w)", clause("C1"))}
    assert told == {category: list(subcategories) for category, subcategories in SUBCATEGORIES.items()}


def test_the_ladders_of_the_clauses() -> None:
    """R1: owner, and the team of every level."""
    rows = table(clause("R1"))
    assert len(rows) == len(Category)
    for head, *teams in rows:
        category, owners = re.fullmatch(r"(\w+) \((.*)\)", head).groups()
        ladder = POLICY.routing.teams[Category(category)]
        owner, _, from_level_3 = owners.partition(" → ")
        assert ladder.owner == owner
        assert ladder.owning_team(Level.THREE) == (from_level_3 or owner)
        assert ladder.levels == {Level(level): Team(team) for level, team in enumerate(teams) if team != "–"}


TEAMS_IN_SOURCE = {
    "Customer Service": Team.CUSTOMER_SERVICE,
    "Technical Support": Team.TECHNICAL_SUPPORT,
    "Engineering Team": Team.ENGINEERING,
    "Finance Team": Team.FINANCE,
    "Executive Team": Team.EXECUTIVE,
    "Content Team": Team.CONTENT,
    "Safety Team": Team.SAFETY,
    "Legal Team": Team.LEGAL,
    "Legal/Compliance": Team.LEGAL_COMPLIANCE,
    "Child Safety Agent": Team.CHILD_SAFETY_AGENT,
}


def test_the_ladders_of_the_source_document() -> None:
    """R1: "Level 2: Finance Team (complex billing, …)"."""
    blocks = re.findall(r"\*\*(.*) Issues\*\* → .*\n((?:- .*\n?)+)", section("### Routing Rules"))
    assert len(blocks) == len(Category)
    for name, lines in blocks:
        ladder = POLICY.routing.teams[Category(snake(name))]
        levels = re.findall(r"- (Immediate|Level \d): (.*) \(", lines)
        assert ladder.levels == {
            Level(0 if level == "Immediate" else int(level[-1])): TEAMS_IN_SOURCE[team] for level, team in levels
        }


def test_the_criteria_of_every_category() -> None:
    """E0: the two columns of each row."""
    told: dict[str, list[set[str]]] = {}
    for head, *columns in table(clause("E0")):
        criteria = [set() if column == "–" else set(column.split(", ")) for column in columns]
        for name in re.sub(r" \(E\d\)", "", head).split(", "):
            told[name] = criteria
    assert told.pop("clock")[0] == {"escalation_due (one level up)"}
    assert set(told) == set(Category)
    for category, (second, third) in told.items():
        levels = POLICY.escalation.rows[Category(category)].to_level
        in_policy = {level: set(criteria) for level, criteria in levels.items()}
        top = Level.TWO if category == Category.SAFETY else Level.THREE
        assert in_policy == {level: found for level, found in ((Level.TWO, second), (top, third)) if found}
    named = {word for columns in told.values() for column in columns for word in column}
    assert {*named, "escalation_due"} == set(Criterion)


def test_the_criteria_that_hold_everywhere() -> None:
    """E5: what becomes of the category, and the team of Level 3."""
    told = {}
    for part in clause("E5").split(" · ")[:-1]:
        words, effect = part.split(" → ")
        becomes = re.search(r"becomes ip_attribution/(\w+)", effect)
        team, level = re.findall(r"(\w+) (\d)", effect)[0]
        for word in words.rsplit(": ")[-1].split(", "):
            told[word] = (becomes and becomes.group(1), team, int(level))
    in_policy = {word: (one.becomes, one.team, one.level) for word, one in POLICY.escalation.everywhere.items()}
    assert told == in_policy


def test_the_numbers_that_stand_in_sentences() -> None:
    """L3, L10, L12, L16, S8."""
    clocks = POLICY.clocks
    assert f"nominal day ({clocks.calendar.nominal_day_minutes // 60} h)" in clause("L3")
    assert tuple(map(float, re.findall(r"0\.\d+", clause("L10")))) == clocks.warn_at
    assert f"within {clocks.reopen_within_days} days" in clause("L12")
    assert f"after {clocks.unrouted_after_seconds} s" in clause("L16")
    for severity, subcategories in re.findall(r"(critical|high|medium) for (\w+(?: and \w+)?)", clause("S8")):
        for subcategory in subcategories.split(" and "):
            assert POLICY.safety.severities[Subcategory(subcategory)].severity.word == severity


CITED = re.compile(r"\b([CRLESTQ]\d{1,2})\b(?:[-–]([CRLESTQ]\d{1,2})\b)?")


def cited_in(*patterns: str) -> dict[str, str]:
    """The clauses named in brackets, `(L2-L4, R8)`, each with one place that names it."""
    found: dict[str, str] = {}
    for path in sorted(chain.from_iterable(ROOT.glob(pattern) for pattern in patterns)):
        for bracket in re.findall(r"\(([^()]*)\)", path.read_text()):
            for first, last in CITED.findall(bracket):
                numbers = range(int(first[1:]), int((last or first)[1:]) + 1)
                found |= {f"{first[0]}{number}": str(path.relative_to(ROOT)) for number in numbers}
    return found


def test_every_clause_that_is_cited_exists(record_property) -> None:
    """In code, policy, tests and documents; the report lists the clauses that no test cites yet."""
    known = set(re.findall(r"\*\*([CRLESTQ]\d+)\*\*", CLAUSES))
    cited = cited_in("shared/**/*.py", "shared/**/*.yaml", "services/**/*.py", "deploy/**/*.py", "tests/**/*.py")
    assert {name: place for name, place in cited.items() if name not in known} == {}
    record_property(
        "clauses no test cites", sorted(known - set(cited_in("*/tests/*.py", "services/*/tests/*.py", "tests/**/*.py")))
    )


def test_every_decision_names_clauses_that_exist() -> None:
    """R8: also those that the policy carries into events."""
    known = set(re.findall(r"\*\*([CRLESTQ]\d+)\*\*", CLAUSES))
    carried = {entry.clause for entry in POLICY.routing.entries.values()}
    carried |= {row.clause for row in POLICY.escalation.rows.values()}
    carried |= {targets.clause for targets in chain(POLICY.clocks.targets.values(), POLICY.clocks.overlays.values())}
    assert carried <= known
