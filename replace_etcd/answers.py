"""How a replacement that waits is answered, as one types it: by this project's command, by the Temporal CLI; pure.

The page in the Web UI, the command line and its errors name the same words, so that nobody has to look them up.
"""

import json
from dataclasses import dataclass

REPLACEMENT_PREFIX = "replace-etcd."


@dataclass(frozen=True)
class Answer:
    """One choice: what it means, the command, and the update with its argument."""

    meaning: str
    command: str
    update: str
    argument: dict[str, str]


_BY = {"by": "YOU", "reason": "WHY"}
ANSWERS = {
    "approve": Answer("carry out this plan", "approve {}", "approve", {"approver": "YOU"}),
    "decline": Answer("change nothing", "decline {}", "decline", {"approver": "YOU", "comment": "WHY"}),
    "resolve retry": Answer(
        "look at everything again, go on from what is there",
        "resolve retry {}",
        "resolve",
        {"choice": "retry", "by": "YOU"},
    ),
    "resolve abandon": Answer(
        "leave it as it rests now; a new start goes on from there",
        "resolve abandon {} --reason WHY",
        "resolve",
        {"choice": "abandon", **_BY},
    ),
    "abort": Answer("stop, and put everything back", "abort {} --reason WHY", "abort", _BY),
    "confirm_node_down": Answer(
        "only if the machine is off: its pod is deleted by force, and starts on another node",
        "confirm-node-down {} --reason WHY",
        "confirm_node_down",
        _BY,
    ),
}


def user_cluster_of(workflow_id: str) -> str:
    """How a replacement is named to the command line: by its user cluster, or any other run by its id."""
    return workflow_id.removeprefix(REPLACEMENT_PREFIX)


def command(choice: str, workflow_id: str) -> str:
    """What to type into a shell, with `replace-etcd`."""
    return f"replace-etcd {ANSWERS[choice].command.format(user_cluster_of(workflow_id))}"


def temporal_command(choice: str, workflow_id: str) -> str:
    """What to type into a shell that has only the Temporal CLI."""
    answer = ANSWERS[choice]
    return (
        f"temporal workflow update execute \\\n"
        f"  --workflow-id {workflow_id} \\\n"
        f"  --name {answer.update} --input '{json.dumps(answer.argument)}'"
    )
