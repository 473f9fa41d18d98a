#!/usr/bin/env bash
# The vendor's runbook (docs/runbook.md), each of its eleven commands as it is written there: no member add, no waits.
# What a person does beside them is in functions: edit a line in an editor, find an id in a table, type it once more.
# Only --delete-local-data has its name of today: kubectl does not know the old one any more.
set -euo pipefail
: "${USER_CLUSTER_NAME:?}" "${NODE_NAME:?}" "${MEMBER_NUMBER:?}" "${WORKING_POD:?}" "${UTILITY_MANIFEST:?}"
FILE=$(mktemp)
trap 'rm -f "$FILE"' EXIT

edit_with() { KUBE_EDITOR="sed -i s/--initial-cluster-state=$1/--initial-cluster-state=$2/" "${@:3}"; }

in_the_working_pod() { # a shell of its container kube-etcd, with the variables that the runbook exports
  kubectl exec -n "$USER_CLUSTER_NAME" "$WORKING_POD" -c kube-etcd -- /bin/sh -c '
    certificates=/etcd.local.config/certificates
    export ETCDCTL_API=3 ETCDCTL_CACERT=$certificates/etcdCA.crt ETCDCTL_CERT=$certificates/etcd.crt
    export ETCDCTL_KEY=$certificates/etcd.key ETCDCTL_ENDPOINTS=https://127.0.0.1:2379
    exec "$@"' sh "$@"
}

remove_the_failed_member() { # again while a rollout restarts the pod that is asked; done once it is not in the table
  local table member_id
  while sleep 0.1; do
    table=$(in_the_working_pod etcdctl member list -w table) || continue
    member_id=$(awk -F' *[|] *' -v name="kube-etcd-$MEMBER_NUMBER" '$4 == name { print $2 }' <<<"$table")
    [[ -z $member_id ]] || in_the_working_pod etcdctl member remove "$member_id" || continue
    return
  done
}

look_at_the_pod() { # whether it comes up: until it has failed
  local restarts=0
  while ((${restarts:-0} < 1)); do
    sleep 0.1
    restarts=$(kubectl -n "$USER_CLUSTER_NAME" get pod "kube-etcd-$MEMBER_NUMBER" \
      -o jsonpath='{.status.containerStatuses[0].restartCount}' || echo 0)
  done
}

# 1, 2
kubectl -n "$USER_CLUSTER_NAME" get pdb kube-etcd-pdb -o yaml > "$FILE"
kubectl -n "$USER_CLUSTER_NAME" delete pdb kube-etcd-pdb
# 3
edit_with new existing kubectl -n "$USER_CLUSTER_NAME" edit statefulset kube-etcd
# 4
kubectl drain "$NODE_NAME" --ignore-daemonsets --delete-emptydir-data
# 5
remove_the_failed_member
# 6
kubectl apply -f "$UTILITY_MANIFEST"
kubectl -n "$USER_CLUSTER_NAME" wait --for=condition=Ready "pod/etcd-utility-$MEMBER_NUMBER" --timeout=30s
# 7
kubectl exec -n "$USER_CLUSTER_NAME" "etcd-utility-$MEMBER_NUMBER" -- /bin/bash -c 'rm -rf /var/lib/etcd/*'
# 8
kubectl delete pod -n "$USER_CLUSTER_NAME" "etcd-utility-$MEMBER_NUMBER"
# 9
kubectl uncordon "$NODE_NAME"
look_at_the_pod
# 10
edit_with existing new kubectl -n "$USER_CLUSTER_NAME" edit statefulset kube-etcd
# 11
kubectl apply -f "$FILE"
