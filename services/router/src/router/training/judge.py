"""What the router makes of one text without anything else known: the same rules as for a ticket, in one call."""

from dataclasses import dataclass
from datetime import UTC, datetime

from router.domain.classification import Classifier, Reading
from router.domain.escalation import Met
from router.domain.routing import Placement
from router.domain.ticket import Ticket
from shared.vocabulary import Category, Origin, Subcategory, TicketId, Tier

_AT = datetime(2026, 1, 5, 15, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A text as a ticket: what was found, and where it goes."""

    reading: Reading
    ticket: Ticket
    placement: Placement

    @property
    def category(self) -> Category | None:
        return self.placement.category

    @property
    def subcategory(self) -> Subcategory | None:
        return self.placement.subcategory

    @property
    def all_subcategories(self) -> set[Subcategory]:
        topics = (self.ticket.classification.primary, *self.ticket.classification.secondary)
        return {topic.subcategory for topic in topics if topic is not None and topic.subcategory is not None}


def judge(classifier: Classifier, subject: str, body: str) -> Judgement:
    """A text without an upstream category, from a customer of the free tier."""
    texts = (subject, body)
    reading = classifier.read(*texts)
    ticket = Ticket(
        ticket_id=TicketId("judged"),
        created_by="",
        created_at=_AT,
        tier=Tier.FREE,
        requester_id="",
        ip_id=None,
        upstream=None,
        classification=classifier.classify(texts, reading, None, Tier.FREE),
    ).meeting([Met(criterion, Origin.TEXT) for criterion in reading.criteria], classifier.policy)
    return Judgement(reading, ticket, ticket.placed(classifier.policy))
