#!/bin/sh
# The namespace and the search attributes. Running it again changes nothing.
set -eu

# Retried: the server needs a moment to be healthy, and up to ten seconds to know a namespace that is new.
patiently() {
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ]; then
      echo "Temporal at $TEMPORAL_ADDRESS: given up on: $*" >&2
      exit 1
    fi
    sleep 1
  done
}

patiently temporal operator cluster health
temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1 ||
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
for name in EtcdUserCluster EtcdReplica EtcdIncident EtcdRequestedBy EtcdPhase EtcdOutcome; do
  patiently temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" --name "$name" --type Keyword
done
