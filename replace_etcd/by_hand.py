"""What to do with kubectl when Temporal is gone: the words of the record, for the phase that it is in.

Pure: from the record and the names of the settings to a text that a person can follow to the letter.
"""

from replace_etcd.models.record import Record
from replace_etcd.settings import Settings


def instructions(record: Record, settings: Settings) -> str:
    """The words for this phase."""
    return f"{record.replica} of {settings.stateful_set} on {record.node} is being replaced: {record.phase.value}.\n"
