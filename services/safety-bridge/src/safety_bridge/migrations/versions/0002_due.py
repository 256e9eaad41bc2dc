"""When something of an incident is due: one time for pages, clocks and leases. Classes carry the time their clocks start at."""

from shared.runtime.migrate import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_script(
        """
        alter table incident rename column next_page_at to look_at;
        alter index incident_to_page rename to incident_due;
        update incident set document = jsonb_set(
            jsonb_set(
                document #- '{facts,classes}' #- '{facts,responses}',
                '{facts,since}',
                (select coalesce(jsonb_object_agg(one, document #> '{facts,detected_at}'), '{}')
                 from jsonb_array_elements_text(document #> '{facts,classes}') as one)
            ),
            '{facts,asked}',
            (select coalesce(jsonb_object_agg(one, jsonb_build_array(document #> '{facts,detected_at}', 0)), '{}')
             from jsonb_array_elements_text(document #> '{facts,responses}') as one)
        );
        update incident set document = jsonb_set(document, '{handling}', '"acknowledged"')
        where jsonb_typeof(document -> 'next_page_at') = 'null';
        update incident set look_at = opened_at where document -> 'continues_in' = 'null';
        create index incident_subjects on incident using gin ((document #> '{facts,subjects}'));
        create index incident_accounts on incident using gin ((document #> '{facts,accounts}'));
        """
    )
