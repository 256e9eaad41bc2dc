"""The tables that delivery needs, in every service's schema."""

from shared.messaging import dead_letter, inbox, outbox

MESSAGING_TABLES = inbox.SCHEMA + outbox.SCHEMA + dead_letter.SCHEMA
