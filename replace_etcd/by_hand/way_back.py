"""Before the removal: the compensations, in their order and by hand (docs/contract.md, Rules of the saga, 2)."""

from replace_etcd.by_hand.names import as_printed
from replace_etcd.by_hand.shell import Step, quote, words_of
from replace_etcd.by_hand.steps import Steps, must_be, put


class WayBack(Steps):
    """Everything as it was; the failed member still fails."""

    def still_a_member(self) -> Step:
        """The way back exists only as long as nothing is removed."""
        gone = f"{self.pins.member_id} is removed: there is no way back, go forward with the vendor's support"
        return Step("Make sure that the member is not removed.", [f"! removed || stop {quote(gone)}"])

    def template_as_before(self) -> Step:
        """Flag and strategy in one patch."""
        flag, pins = self.pins.flag, self.pins
        survivors = words_of([survivor.pod for survivor in pins.survivors])
        why = "a survivor carries existing (its node was rebooted): a rollout would restart it; ask for help"
        guard = (
            f'for pod in {survivors}; do [ "$(flag_in "$pod")" != {as_printed(flag.existing)} ]'
            f" || stop {quote(why)}; done"
        )
        changes = [put("/spec/updateStrategy", pins.update_strategy)]
        if self.has_flag:
            changes = [must_be(flag.pointer, flag.existing), put(flag.pointer, flag.original), *changes]
        patch = self.patch_template(changes)
        commands = [patch]
        if self.has_flag:
            commands = [guard, f'[ "$(flag)" = {as_printed(flag.original)} ] ||\n  {patch}']
        return Step(
            "Put flag and update strategy back, in one patch.",
            [*commands, "wait_until observed"],
            words=f"Afterwards the flag is {flag.original}, the strategy {pins.update_strategy}.",
        )

    def pod_with_old_flag(self) -> Step:
        """An empty directory that starts with `existing` while still a member rejoins with its votes forgotten."""
        existing = as_printed(self.pins.flag.existing)
        delete = f"{self.kubectl} delete pod {self.replica} --ignore-not-found --grace-period=3"
        return Step(
            f"Where {self.pins.replica} was re-created with existing, have it re-created as it was.",
            [
                f'[ "$(flag_in {self.replica})" != {existing} ] || {delete}',
                f"wait_until pod_as_before {self.replica}",
            ],
            words="It fails as it did before the replacement; what matters is its flag.",
        )
