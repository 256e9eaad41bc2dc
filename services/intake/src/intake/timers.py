"""What happens without a post: ids whose window has passed are forgotten."""

from intake.store import Store
from shared.messaging.ticker import Ticker


def forget(store: Store) -> Ticker:
    """Forgets old ids. Since it looks every second, its failing is also the word for a database that is away."""
    return Ticker("forget", store.forget)
