"""The revocation drill against two gateways, by readers over HTTPS: the last read that succeeded on either counts."""

import argparse
import asyncio
import ssl
from collections.abc import Sequence
from contextlib import ExitStack

import aiohttp

from drill import Act, Drill, Part
from stage import manifests
from stage.scene import Scene

NAME, REPLICAS = "disabled, two gateways", 2
READERS = 8
"""By each gateway. They share this machine's processors with it, and each asks again at once."""
READER = "reader"


def drill(
    scene: Scene, namespace: str, names: Sequence[str], acts: tuple[Act, Act], options: argparse.Namespace, bound: float
) -> Part:
    """Start them, play so many rounds, and end them.

    Args:
        scene: where they run.
        namespace: of the data marts.
        names: of the data marts.
        acts: take the root key away; give it back.
        options: the rounds, and the interval of each gateway's own poll.
        bound: within which each round is to end.
    """
    subject = {"kind": "ServiceAccount", "name": READER, "namespace": namespace}
    scene.api.create(
        manifests.bare("v1", "ServiceAccount", namespace, READER),
        *manifests.role(namespace, READER, subject, [manifests.right("get datamartcredentials")]),
    )
    token = scene.cluster.token_for(namespace, READER, seconds=7_200, audience="openscale-byok")
    settings = {
        "KEY_POLL_SECONDS": str(options.poll_seconds),
        "GATEWAY_REQUESTS_PER_SECOND": "100000",
        "GATEWAY_BURST": "100000",
    }
    with ExitStack() as stack:
        started = [stack.enter_context(scene.gateway(f"gateway-{n}", **settings)) for n in range(REPLICAS)]
        urls = [f"{g.url}/v1/namespaces/{namespace}/datamarts" for g in started]
        context = started[0].trust()
        return asyncio.run(_play(urls, names, token, context, acts, options, bound))


async def _play(
    urls: Sequence[str],
    names: Sequence[str],
    token: str,
    context: ssl.SSLContext,
    acts: tuple[Act, Act],
    options: argparse.Namespace,
    bound: float,
) -> Part:
    connector = aiohttp.TCPConnector(limit=0, ssl=context)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False) as session:

        async def ask(number: int) -> bool:
            url, name = urls[number % len(urls)], names[number // len(urls) % len(names)]
            async with session.get(f"{url}/{name}/credentials") as answer:
                await answer.read()
                return answer.status == 200

        async with Drill.of(ask, READERS * len(urls), options.poll_seconds) as played:
            rounds = [await played.play(*acts, bound) for _ in range(options.gateway_rounds)]
    print(f"{NAME}: {len(rounds)} rounds", flush=True)
    return Part(NAME, rounds, bound)
