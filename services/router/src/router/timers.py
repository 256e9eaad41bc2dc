"""What happens without a message: tickets that wait for somebody of their team get one, and the house is kept."""

from router.domain.assignment import assign, has_room
from router.handlers.tickets import assign_to
from router.store import RoutingUnit
from shared.messaging.unit_of_work import UnitsOfWork
from shared.vocabulary import Team, TicketId

TAKEN_AT_ONCE = 200
HOUSE_EVERY_SECONDS = 3600.0


async def assign_waiting(units: UnitsOfWork[RoutingUnit]) -> bool:
    """Give waiting tickets to members who have room, the earliest due first (HD-58 to HD-60).

    One replica assigns at a time, so that two tickets never both take the last place. Answers whether there may be more.
    """
    async with units.begin() as unit:
        teams = unit.policy.routing.members
        if not teams or not await unit.alone():
            return False
        loads = await unit.loads(teams)
        taken: dict[TicketId, tuple[Team, str]] = {}
        for team, members in teams.items():
            if not has_room(members, loads[team], unit.now):
                continue
            waiting = await unit.waiting(team, [member.id for member in members], TAKEN_AT_ONCE)
            taken |= {one.ticket_id: (team, one.member) for one in assign(waiting, members, loads[team], unit.now)}
        await unit.load_tickets(taken)
        for ticket_id, (team, member) in taken.items():
            ticket = unit.tickets.get(ticket_id)
            if ticket.is_assignable and ticket.in_force.placement.team is team:  # as it is now that its row is locked
                assign_to(ticket, member, unit, seed=f"{ticket_id}|{ticket.in_force.number + 1}")
    return len(taken) >= TAKEN_AT_ONCE


async def keep_house(units: UnitsOfWork[RoutingUnit]) -> bool:
    """Remember the policy in force, and drop sightings older than any window; there is never more than one look can take."""
    async with units.begin() as unit:
        await unit.keep_policy()
        await unit.forget_sightings()
    return False
