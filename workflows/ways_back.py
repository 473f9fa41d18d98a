"""The ways back from everything that a replacement does to a user cluster.

A run registers each before the step that it undoes. Whoever goes on with what another run has begun, its heir, a
reset of it or the janitor, registers them all at once: each observes first, and undoes only what is there.
"""

from temporalio import workflow

from workflows.saga import Saga

with workflow.unsafe.imports_passed_through():
    from activities.node import NodeActivities as Node
    from activities.pod_disruption_budget import PodDisruptionBudgetActivities as Budget
    from activities.replacement_record import RecordActivities as Record
    from activities.restart import RestartActivities as Restart
    from activities.stateful_set import StatefulSetActivities as Template
    from activities.utility_pod import UtilityPodActivities as Utility
    from replace_etcd.models.orders import Order, PdbOrder, UncordonOrder
    from replace_etcd.models.plan import Backup


def undo_what_was_begun(saga: Saga, backup: Backup) -> None:
    """Register every way back; where the backup is empty, what the record has counts."""
    saga.knows_every_way_back, pins = True, saga.pins
    saga.undo_with(Budget.restore_pod_disruption_budget, PdbOrder, f"{pins.pdb} back", backup=backup)
    saga.undo_with(Template.restore_flag_and_strategy, Order, "flag and update strategy back")
    saga.undo_with(Restart.replace_pod_with_wrong_flag, Order, f"{pins.replica} back with its old flag")
    saga.undo_with(Utility.delete_utility_pod, Order, f"delete the utility Pod on {pins.node}")
    saga.undo_with(Node.uncordon_node, UncordonOrder, f"uncordon {pins.node}")
    saga.undo_with(Record.delete_replacement_record, Order, f"delete the record of {pins.user_cluster}")
