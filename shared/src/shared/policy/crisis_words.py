"""The words of crisis, abuse and danger to a child (E5, S6). Intake flags by them and the router routes by them: one list.

A hit is told by its rule's id, never by the word that was found: ids may travel, a customer's words may not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from shared.policy.model import Policy
from shared.policy.patterns import Patterns, Rule
from shared.vocabulary import Subcategory


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that matched: `crisis_detection.en.7` is the seventh pattern of that subcategory in the English words."""

    subcategory: Subcategory
    rule_id: str


class CrisisWords:
    """The policy's crisis words in every language; made once for a policy."""

    def __init__(self, policy: Policy) -> None:
        self._patterns = Patterns(crisis_rules(policy))

    def find(self, *texts: str) -> tuple[Hit, ...]:
        """The rules that match in any of the texts, each once, in the policy's order."""
        return self._patterns.find(*texts)


def crisis_rules(policy: Policy) -> Iterator[Rule[Hit]]:
    """What each pattern stands for."""
    return (rule.standing_for(Hit(*rule.meaning)) for rule in policy.rules(attrgetter("safety")))
