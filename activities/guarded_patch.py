"""A JSON patch that changes only the version that was read: for objects that others write too.

Controllers and kubelets write the status all the time, which moves the resourceVersion; a `test` of it that fails
answers 422, as does a `test` of a value. So after a 422 the object is read once more: where the version has moved,
the change is decided anew, from what stands there now.
"""

from collections.abc import Callable

from activities.fencing import Attempt
from activities.step import Toolbox
from replace_etcd.cluster import Kind, Object, Patch
from replace_etcd.errors import Invalid

TRIES = 8
Change = Callable[[Object | None], Patch]


async def guarded_patch(
    tools: Toolbox, attempt: Attempt, kind: Kind, name: str, namespace: str | None, *, change: Change
) -> Object | None:
    """Patch what `change` says, if anything; returns the object as it is then.

    `change` is given None where there is no object, and may raise: nothing has been sent then.
    """
    tries = TRIES
    while True:
        found = await tools.cluster.get(kind, name, namespace)
        operations = change(found)
        if found is None or not operations:
            return found
        version = found["metadata"]["resourceVersion"]
        guard = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        await attempt.hold()
        try:
            patched = await tools.cluster.patch(kind, name, namespace, [guard, *operations])
        except Invalid:
            attempt.settled()  # refused: it has changed nothing
            tries -= 1
            now = await tools.cluster.get(kind, name, namespace)
            if not tries or (now is not None and now["metadata"]["resourceVersion"] == version):
                raise
        else:
            attempt.settled()
            return patched
