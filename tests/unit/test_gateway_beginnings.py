"""When requests begin that come at once: a few in each round of the event loop, and addresses in turn."""

import asyncio

from openscale_byok.shell.gateway.application import Beginnings

MANY, FEW = 500, 8
CROWD, ELSEWHERE = "127.0.0.2", "127.0.0.1"


async def rounds(*networks: str) -> dict[str, list[int]]:
    """In which rounds of the loop requests begin that come in this order, all in the same one."""
    beginnings, begun, now = Beginnings(), {network: [] for network in networks}, 0

    async def request(network: str) -> None:
        await beginnings.turn(network)
        begun[network].append(now)

    tasks = [asyncio.create_task(request(network)) for network in networks]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        now += 1
    return begun


async def test_a_round_of_the_loop_has_room_for_a_few():
    """Five hundred at once are a hundred rounds: whatever else is ready goes on in each of them."""
    begun = (await rounds(*[CROWD] * MANY))[CROWD]
    assert len(begun) == MANY
    assert max(begun.count(number) for number in begun) <= FEW


async def test_who_comes_from_elsewhere_is_next():
    """Behind five hundred of one address, a request of another one begins before nearly all of them."""
    begun = await rounds(*[CROWD] * MANY, ELSEWHERE)
    assert sum(number < begun[ELSEWHERE][0] for number in begun[CROWD]) <= 2 * FEW


async def test_one_alone_waits_for_nobody():
    """It begins in the round in which it comes."""
    assert (await rounds(ELSEWHERE))[ELSEWHERE] == [0]
