"""Intake, wired. It consumes nothing: facts come in over HTTP and leave through the outbox, one relay for each lane.

POST /v1/events, /v1/tickets  -> support.ticket.v1, and safety.agent.v1 for flags (S6)
POST /v1/safety/events        -> safety.agent.v1, through the outbox or, when the database is slow or away, at once
"""

from intake.api.rate_limit import RateLimit
from intake.api.routes import add_routes
from intake.domain.acceptance import Window
from intake.handlers.reception import Reception
from intake.handlers.saving import FastLane, Gathering, straight_to
from intake.settings import IntakeSettings
from intake.store import Store
from intake.timers import forget
from shared.events.envelope import MAX_FUTURE
from shared.events.topics import Lane
from shared.messaging.kafka import Kafka
from shared.messaging.outbox import Relay
from shared.runtime.database import Database
from shared.runtime.http import create_api
from shared.runtime.lifecycle import App
from shared.runtime.now import Now
from shared.runtime.settings import ApiKeys

NAME = "intake"


def build(settings: IntakeSettings, *, now: Now, kafka: Kafka, bulk: Database, urgent: Database) -> App:
    """Intake, wired. What is urgent has its own pool, its own commits and its own relay, and waits behind nothing (S6)."""
    relays = {Lane.URGENT: Relay(urgent, kafka, Lane.URGENT), Lane.BULK: Relay(bulk, kafka, Lane.BULK)}

    def wake(lane: Lane) -> None:
        relays[lane].wake()

    store, urgent_store = (Store(pool, window=settings.max_age, now=now, wake=wake) for pool in (bulk, urgent))
    save, save_urgent = Gathering(store.accept).save, Gathering(urgent_store.accept).save
    publisher = kafka.publisher()
    fast_lane = FastLane(save_urgent, Gathering(straight_to(publisher)).save, close=publisher.stop)
    forgetting = forget(store)
    api = create_api(
        NAME,
        keys=ApiKeys(settings.api_keys),
        checks={"database": forgetting.failing},
        degraded={relay.name: relay.failing for relay in relays.values()},
    )
    add_routes(
        api,
        reception=Reception(
            settings.policy(), window=Window(settings.max_age, MAX_FUTURE), keys=settings.keys(), now=now
        ),
        limit=RateLimit(settings.intake_events_per_second, now=now),
        bulk=save,
        urgent=save_urgent,
        fast_lane=fast_lane.save,
    )
    return App(api, [fast_lane, *relays.values(), forgetting], works_without_kafka=True)
