"""`python -m notifier.check_templates [policy.yaml]`: whether every text can be sent, by the very check of the start (SN-27)."""

import sys
from pathlib import Path

from notifier.app import read_edition
from notifier.domain.check import faults_of, fixtures
from notifier.domain.desk import Desk
from notifier.domain.gate import Gate
from notifier.domain.hours import Hours
from notifier.domain.templates import Templates
from shared.directory import Directory, TeamContact
from shared.policy.confidentiality import load_confidentiality
from shared.policy.load import load_policy
from shared.runtime.now import machine_now
from shared.vocabulary import Team


def main() -> int:
    """One line for each text that cannot be sent; 1 if there is any."""
    policy = load_policy(Path(sys.argv[1]).read_text() if sys.argv[1:] else None)
    templates = Templates(read_edition(policy))
    directory = Directory(teams=dict.fromkeys(Team, TeamContact(address="team@example.com", lead="lead@example.com")))
    desk = Desk(policy, templates, Gate(load_confidentiality()), directory, "the incident list", Hours.of(policy))
    faults = [str(fault) for fault in faults_of(desk, machine_now())]
    texts = sum(map(len, templates.edition.texts.values()))
    shown = len(fixtures(policy, machine_now()))
    print("\n".join(faults) or f"Edition {templates.edition.version}: {texts} texts, {shown} fixtures, nothing wrong.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
