"""The search attributes of a replacement; all of type Keyword, registered by the worker at its start."""

from temporalio.common import SearchAttributeKey

USER_CLUSTER = SearchAttributeKey.for_keyword("EtcdUserCluster")
FAILED_REPLICA = SearchAttributeKey.for_keyword("EtcdReplica")
INCIDENT = SearchAttributeKey.for_keyword("EtcdIncident")
REQUESTED_BY = SearchAttributeKey.for_keyword("EtcdRequestedBy")
PHASE = SearchAttributeKey.for_keyword("EtcdPhase")
OUTCOME = SearchAttributeKey.for_keyword("EtcdOutcome")
ALL = (USER_CLUSTER, FAILED_REPLICA, INCIDENT, REQUESTED_BY, PHASE, OUTCOME)
