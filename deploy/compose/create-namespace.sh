#!/bin/sh
# The namespace and the search attributes. Running it again changes nothing.
set -eu

tries=0
until temporal operator cluster health; do
  tries=$((tries + 1))
  if [ "$tries" -ge 30 ]; then
    echo "Temporal at $TEMPORAL_ADDRESS does not become healthy" >&2
    exit 1
  fi
  sleep 1
done

temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1 ||
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"

for name in EtcdUserCluster EtcdReplica EtcdIncident EtcdRequestedBy EtcdPhase EtcdOutcome; do
  temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" --name "$name" --type Keyword
done
