"""Every metric of the machinery, once, with unit and meaning. Services add theirs beside the code that counts."""

from prometheus_client import Counter, Histogram

HANDLED = Counter("support_events_handled_total", "Events applied by a consumer group.", ["group"])
DUPLICATES = Counter("support_events_duplicate_total", "Events that were known already and changed nothing.", ["group"])
DEAD_LETTERS = Counter("support_dead_letters_total", "Records set aside, by reason code.", ["group", "code"])
WAITING = Counter("support_events_waiting_total", "Events that came before their ticket and wait for it.", ["group"])
FENCED = Counter(
    "support_batches_fenced_total", "Batches given up because another process owns the partition.", ["group"]
)
RETRIED = Counter("support_batches_retried_total", "Batches given up because the world failed; read again.", ["group"])
PUBLISHED = Counter("support_events_published_total", "Events acknowledged by the broker, by lane.", ["lane"])
BATCH_SECONDS = Histogram("support_batch_seconds", "Time from a decoded batch to its commit.", ["group"])
LOST = Counter("support_records_lost_total", "Records that retention removed before they were read.", ["group"])
