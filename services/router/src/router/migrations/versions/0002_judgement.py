"""What assignment looks for, what tickets have in common, the words behind decisions, corrections, policies in force.

Tickets from before are in the queue, and their disputes count with those to come (E2).
"""

from shared.runtime.migrate import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_script(
        """
        alter table ticket
            add column assignee text,
            add column is_assignable boolean not null default false,
            add column is_load boolean not null default true,
            add column due_at timestamptz,
            add column created_at timestamptz not null default now();
        create index ticket_by_queue on ticket (team, due_at) where is_assignable;
        create index ticket_by_assignee on ticket (team, assignee) where is_assignable and assignee is not null;
        alter table decision add column explanation bytea;
        create table sighting (
            kind text not null,
            key text not null,
            ticket_id text not null,
            requester_id text not null,
            at timestamptz not null,
            text bytea not null,
            counts boolean not null,
            primary key (kind, key, at, ticket_id)
        );
        create index sighting_by_ticket on sighting (ticket_id);
        create index sighting_by_age on sighting using brin (at);
        create table feedback (
            ticket_id text not null,
            at timestamptz not null,
            classifier_version text not null,
            confidence real not null,
            was_category text,
            was_subcategory text,
            category text,
            subcategory text
        );
        create index feedback_by_time on feedback (at);
        create table policy_version (
            version text primary key,
            document text not null
        );

        create temporary table before on commit drop as
            select ticket_id, convert_from(document, 'UTF8')::jsonb as was from ticket;
        update ticket
        set created_at = (before.was ->> 'created_at')::timestamptz,
            is_load = before.was ->> 'resolved_at' is null and before.was ->> 'closed_at' is null,
            is_assignable = before.was ->> 'resolved_at' is null and before.was ->> 'closed_at' is null
                and not (before.was ->> 'restricted')::boolean
        from before where before.ticket_id = ticket.ticket_id;
        insert into sighting (kind, key, ticket_id, requester_id, at, text, counts)
        select 'ip', before.was ->> 'ip_id', ticket_id, before.was ->> 'requester_id',
            (before.was ->> 'created_at')::timestamptz, '',
            coalesce(before.was #>> '{classification,primary,subcategory}', '') in ('false_positive', 'rights_holder_claim')
                or before.was -> 'criteria' @> '[{"criterion": "legal_dispute"}]'
        from before where before.was ->> 'ip_id' is not null and not (before.was ->> 'restricted')::boolean;
        """
    )
