"""Steps 3 and 10 of the runbook: the flag `--initial-cluster-state`, and the update strategy that it needs.

Any edit of the template is a rollout, which consults neither budgets nor etcd. So the flag and
`updateStrategy: OnDelete` change in one patch, and the strategy comes back only when no pod differs from the
template any more: the StatefulSet controller never restarts anything (docs/contract.md, Order, 3 and 8;
https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#update-strategies).
"""

from collections.abc import Callable

from activities.fencing import Attempt, fenced
from activities.guarded_patch import guarded_patch
from activities.step import Toolbox, step
from activities.survivors import Survivors
from replace_etcd.cluster import POD, STATEFUL_SET, Object, Patch
from replace_etcd.errors import Moved
from replace_etcd.models.orders import Done, Left, Order
from replace_etcd.models.plan import Pins
from replace_etcd.pod_template import flag_text_in, read_pointer, template_digest

ON_DELETE = {"type": "OnDelete"}
OBSERVED_SECONDS = 30.0
TOUCHED = "replace-etcd/touched"


class StatefulSetActivities:
    """Steps that act on the StatefulSet."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._survivors = Survivors(tools)

    @step
    async def join_existing_on_delete(self, order: Order) -> Done:
        """Flag `existing` and strategy `OnDelete` in one patch; done where both stand there already.

        One of the two may be there: left by an unfinished replacement, or by a person after step 3 of the runbook.
        """
        pins = order.pins

        def decide(found: Object) -> Patch:
            flag, strategy = flag_of(found, pins), found["spec"]["updateStrategy"]
            if flag == pins.flag.existing and strategy == ON_DELETE:
                return []
            if flag not in (pins.flag.original, pins.flag.existing) or strategy not in (
                pins.update_strategy,
                ON_DELETE,
            ):
                raise Moved(f"somebody else edits the StatefulSet: flag {flag!r}, strategy {strategy}")
            return [
                _test(pins.flag.pointer, flag),
                _test("/spec/updateStrategy", strategy),
                _put(pins.flag.pointer, pins.flag.existing),
                _put("/spec/updateStrategy", ON_DELETE),
            ]

        async with fenced(self._tools, order) as attempt:
            await self._edit(attempt, pins, decide)
        return Done(note=f"{pins.flag.original} -> {pins.flag.existing}, OnDelete")

    @step
    async def restore_initial_cluster_state(self, order: Order) -> Done:
        """Flag as it was, strategy still `OnDelete`: no pod moves; done where it stands there already."""
        pins = order.pins

        def decide(found: Object) -> Patch:
            if flag_of(found, pins) == pins.flag.original:
                return []
            operations = [
                _test(pins.flag.pointer, pins.flag.existing),
                _put(pins.flag.pointer, pins.flag.original),
            ]
            if found["spec"]["updateStrategy"] != ON_DELETE:
                operations.append(_put("/spec/updateStrategy", ON_DELETE))
            return operations

        async with fenced(self._tools, order) as attempt:
            await self._edit(attempt, pins, decide)
        return Done(note=pins.flag.original)

    @step
    async def restore_update_strategy(self, order: Order) -> Left:
        """The strategy exactly as it was, once no pod differs from the template; done where it is."""
        pins = order.pins

        def decide(found: Object) -> Patch:
            if found["spec"]["updateStrategy"] == pins.update_strategy:
                return []
            if flag_of(found, pins) != pins.flag.original:
                raise Moved(
                    f"the flag is {flag_of(found, pins)!r} again: somebody else edits the StatefulSet"
                )
            return [
                _test("/spec/updateStrategy", ON_DELETE),
                _put("/spec/updateStrategy", pins.update_strategy),
            ]

        async with fenced(self._tools, order) as attempt:
            others = await self._pods_that_differ(await read_stateful_set(self._tools, pins))
            if others and pins.update_strategy != ON_DELETE:
                why = f"updateStrategy OnDelete stays: {', '.join(others)} differ from the template"
                return Left(note=why, left=[why])
            await self._edit(attempt, pins, decide)
        return Left(note=f"{pins.update_strategy}")

    @step
    async def restore_flag_and_strategy(self, order: Order) -> Left:
        """Compensation: the flag as it was, then the strategy, unless it would have a survivor restarted.

        It writes the object even where it looks untouched: a late patch of ours tests the resourceVersion.
        """
        pins = order.pins
        async with fenced(self._tools, order) as attempt:
            try:
                await self._edit(attempt, pins, lambda found: _flag_back(found, pins) or [_touch(found)])
                found = await self._edit(attempt, pins, _untouch)
                serving = await self.strategy_back(attempt, pins)
            except Moved:
                return Left(note="moot: the StatefulSet is not there any more")
        left = []
        if flag_of(found, pins) != pins.flag.original:
            left.append(f"the flag was changed by somebody else and is left: {flag_of(found, pins)}")
        if set(serving) - {pins.replica}:  # of the replica alone the next compensation tells
            left.append(on_delete_stays(serving))
        return Left(note="; ".join(left) or pins.flag.original, left=left)

    async def strategy_back(self, attempt: Attempt, pins: Pins) -> list[str]:
        """The strategy as it was, unless a rollout would restart a member that serves; returns the pods of those.

        The controller asks no etcd before it restarts a pod: survivors that were re-created meanwhile, or whose
        template somebody has changed, and the failed one where it serves again with our flag.
        """
        stateful_set = await read_stateful_set(self._tools, pins)
        if not _strategy_back(stateful_set, pins):
            return []
        serving = [
            pod["metadata"]["name"]
            for pod in await pods_of(self._tools, stateful_set)
            if differs(pod, stateful_set) and await self._may_serve(pins, pod)
        ]
        if not serving:
            await self._edit(attempt, pins, lambda found: _strategy_back(found, pins))
        return serving

    async def _may_serve(self, pins: Pins, pod: Object) -> bool:
        if pod["metadata"]["name"] != pins.replica:
            return True
        is_ours = flag_in_pod(pod, pins) == pins.flag.existing != pins.flag.original
        stays = "deletionTimestamp" not in pod["metadata"]
        return is_ours and stays and await self._survivors.may_serve(pins, pod)

    async def _edit(self, attempt: Attempt, pins: Pins, change: Callable[[Object], Patch]) -> Object:
        """Patch the StatefulSet of the plan, and wait until its controller has seen it."""

        def decide(found: Object | None) -> Patch:
            return change(_must_be_pinned(found, pins))

        name = self._tools.settings.stateful_set
        edited = await guarded_patch(
            self._tools, attempt, STATEFUL_SET, name, pins.user_cluster, change=decide
        )
        edited = _must_be_pinned(edited, pins)
        await self._observed(edited)
        return edited

    async def _observed(self, changed: Object) -> None:
        generation = changed["metadata"]["generation"]
        await self._tools.cluster.wait_for(
            STATEFUL_SET,
            changed["metadata"]["name"],
            changed["metadata"]["namespace"],
            lambda found: found is not None and found["status"].get("observedGeneration", 0) >= generation,
            seconds=OBSERVED_SECONDS,
        )

    async def _pods_that_differ(self, stateful_set: Object) -> list[str]:
        pods = await pods_of(self._tools, stateful_set)
        return [pod["metadata"]["name"] for pod in pods if differs(pod, stateful_set)]


async def read_stateful_set(tools: Toolbox, pins: Pins) -> Object:
    """The StatefulSet of the plan; `Moved` where it is another one."""
    return _must_be_pinned(
        await tools.cluster.get(STATEFUL_SET, tools.settings.stateful_set, pins.user_cluster), pins
    )


def _must_be_pinned(found: Object | None, pins: Pins) -> Object:
    if found is None or found["metadata"]["uid"] != pins.stateful_set_uid:
        raise Moved(f"the StatefulSet of {pins.user_cluster} is not the one of the plan")
    return found


def on_delete_stays(pods: list[str]) -> str:
    """What is said where the strategy does not come back."""
    return f"updateStrategy OnDelete stays: a rollout would restart {', '.join(pods)}"


def _flag_back(found: Object, pins: Pins) -> Patch:
    """The flag as it was, where ours still stands there, under `OnDelete` in any case: no pod moves."""
    if flag_of(found, pins) == pins.flag.existing != pins.flag.original:
        return [_put(pins.flag.pointer, pins.flag.original), _put("/spec/updateStrategy", ON_DELETE)]
    return []


def _strategy_back(found: Object, pins: Pins) -> Patch:
    """The strategy as it was, where ours still stands there."""
    if found["spec"]["updateStrategy"] == ON_DELETE != pins.update_strategy:
        return [_put("/spec/updateStrategy", pins.update_strategy)]
    return []


def _touch(found: Object) -> dict[str, object]:
    """An operation that moves the resourceVersion and nothing else."""
    annotations = {**(found["metadata"].get("annotations") or {}), TOUCHED: "1"}
    return {"op": "add", "path": "/metadata/annotations", "value": annotations}


def _untouch(found: Object) -> Patch:
    if TOUCHED not in (found["metadata"].get("annotations") or {}):
        return []
    return [{"op": "remove", "path": "/metadata/annotations/" + TOUCHED.replace("/", "~1")}]


async def must_stand(tools: Toolbox, pins: Pins) -> None:
    """`Moved` where somebody has reverted our edit, or edits too: before the removal roll back, never fight."""
    found = await read_stateful_set(tools, pins)
    strategy = found["spec"]["updateStrategy"]
    if flag_of(found, pins) != pins.flag.existing or strategy != ON_DELETE:
        raise Moved(f"somebody reverted the edit: flag {flag_of(found, pins)!r}, strategy {strategy}")
    if pins.template_digest and template_digest(found, pins.flag) != pins.template_digest:
        raise Moved("somebody changed the template of the StatefulSet: a rollout or an upgrade")


async def pods_of(tools: Toolbox, stateful_set: Object) -> list[Object]:
    """The pods that the StatefulSet owns."""
    labels = stateful_set["spec"]["selector"].get("matchLabels") or {}
    pods = await tools.cluster.find(
        POD, stateful_set["metadata"]["namespace"], labels=",".join(f"{k}={v}" for k, v in labels.items())
    )
    uid = stateful_set["metadata"]["uid"]
    owned = [p for p in pods if any(o["uid"] == uid for o in p["metadata"].get("ownerReferences") or [])]
    return sorted(owned, key=lambda pod: str(pod["metadata"]["name"]))


def differs(pod: Object, stateful_set: Object) -> bool:
    """Whether a pod is of another revision than the template: equal templates share a ControllerRevision."""
    revision = (pod["metadata"].get("labels") or {}).get("controller-revision-hash")
    return bool(revision != stateful_set["status"].get("updateRevision"))


def flag_of(stateful_set: Object, pins: Pins) -> str | None:
    """The text at the flag's place in the template."""
    value: str | None = read_pointer(stateful_set, pins.flag.pointer)
    return value


def flag_in_pod(pod: Object, pins: Pins) -> str | None:
    """The flag as a pod carries it: an admission webhook may have put containers and variables before it."""
    return flag_text_in(pod, pins.container) or None


def _test(path: str, value: object) -> dict[str, object]:
    return {"op": "test", "path": path, "value": value}


def _put(path: str, value: object) -> dict[str, object]:
    return {"op": "replace", "path": path, "value": value}
