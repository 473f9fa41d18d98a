"""Whether members hold the same keys and values: the one sign of a corrupt survivor before it becomes the truth."""

import asyncio

from activities.side_by_side import side_by_side
from activities.survivors import Place, Survivors, output_of
from replace_etcd.errors import NotYet
from replace_etcd.etcd import parse_hash

HASH_TRIES = 20
HASH_PAUSE_SECONDS = 0.3


async def equal_hashes(survivors: Survivors, place: Place, pods: list[str]) -> list[str]:
    """Compare `hashkv` at one revision; empty where all are equal, `NotYet` where they cannot be compared.

    Hashes compare only at one revision and an equal compact revision: asked again while those differ
    (https://etcd.io/docs/v3.5/op-guide/data_corruption/).
    """
    first, *others = pods
    for _ in range(HASH_TRIES):
        # Without a revision the hash is that of the newest one, which the answer names: it need not be hashed again.
        newest = await survivors.run(place, first, ["endpoint", "hashkv", "-w", "json"])
        hashes = [parse_hash(output_of("etcdctl endpoint hashkv", newest))]
        revision = hashes[0].revision
        command = ["endpoint", "hashkv", f"--rev={revision}", "-w", "json"]
        answers = await side_by_side(*(survivors.run(place, pod, command) for pod in others))
        if all(answer.exit_code == 0 for answer in answers):
            hashes += [parse_hash(answer.stdout) for answer in answers]
            if len({h.compact_revision for h in hashes}) == 1:
                if len({h.hash for h in hashes}) == 1:
                    return []
                return [f"hashkv differs at revision {revision}: {[f'{h.hash:x}' for h in hashes]}"]
        await asyncio.sleep(HASH_PAUSE_SECONDS)
    raise NotYet(f"hashkv of {', '.join(pods)} could not be compared at one revision")
