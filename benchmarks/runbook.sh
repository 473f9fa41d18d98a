#!/usr/bin/env bash
# The vendor's runbook (docs/runbook.md) by kubectl and etcdctl, typed by a person who never stops to think.
#
#   runbook.sh NAMESPACE REPLICA NODE SURVIVOR FOLDER [complete]
#
# As it is written; with `complete` also what it forgets: the `member add`, and every wait. Two liberties: a command
# that is refused is typed again until it goes through, and `kubectl edit` gets an editor that needs no hands. Each
# step is written to FOLDER/steps as it begins: the seconds of the clock, then its name.
set -u
namespace=$1 replica=$2 node=$3 survivor=$4 folder=$5 complete=${6:-}
ordinal=${replica##*-}
utility=etcd-utility-$ordinal
certificates=/etcd.local.config/certificates

step() { printf '%s %s\n' "$EPOCHREALTIME" "$*" >>"$folder/steps"; }
user_cluster() { kubectl --namespace "$namespace" "$@"; }
etcdctl() {
  user_cluster exec "$1" --container kube-etcd -- etcdctl --endpoints=https://127.0.0.1:2379 \
    --cacert=$certificates/etcdCA.crt --cert=$certificates/etcd.crt --key=$certificates/etcd.key "${@:2}"
}
again() { # until it goes through, or two minutes have passed
  local until=$((SECONDS + 120))
  until "$@"; do
    ((SECONDS < until)) || return 1
    sleep 0.5
  done
}
edit_flag() {
  KUBE_EDITOR="sed -i s/--initial-cluster-state=[a-z]*/--initial-cluster-state=$1/" \
    user_cluster edit statefulset kube-etcd
}
remove_member() {
  local id
  id=$(etcdctl "$survivor" member list | awk -F', ' -v name="$replica" '$3 == name {print $1}') || return 1
  [ -z "$id" ] || etcdctl "$survivor" member remove "$id"
}
add_member() {
  etcdctl "$survivor" member add "$replica" --peer-urls="https://$replica.kube-etcd:2380" ||
    etcdctl "$survivor" member list | grep -q "https://$replica.kube-etcd:2380"
}
serves() { etcdctl "$replica" endpoint health; }
utility_pod() {
  cat <<MANIFEST
apiVersion: v1
kind: Pod
metadata:
  name: $utility
  namespace: $namespace
spec:
  containers:
  - name: etcd-utility
    image: gcr.io/gke-on-prem-release/etcd-util:latest
    command: ["/bin/sh", "-ec", "while :; do sleep 5; done"]
    volumeMounts:
    - {name: data, mountPath: /var/lib/etcd}
    - {name: certs, mountPath: $certificates}
  volumes:
  - name: data
    persistentVolumeClaim: {claimName: data-kube-etcd-$ordinal}
  - name: certs
    secret: {secretName: $(user_cluster get secrets -o name | sed -n 's,secret/\(kube-etcd-certs.*\),\1,p'), defaultMode: 420}
  nodeSelector:
    kubernetes.googleapis.com/cluster-name: $namespace
    kubernetes.io/hostname: $node
  tolerations:
  - {key: node.kubernetes.io/not-ready, effect: NoExecute, operator: Exists, tolerationSeconds: 300}
  - {key: node.kubernetes.io/unreachable, effect: NoExecute, operator: Exists, tolerationSeconds: 300}
  - {key: node.kubernetes.io/unschedulable, effect: NoSchedule, operator: Exists}
MANIFEST
}

step "1 back up the PDB"
user_cluster get pdb kube-etcd-pdb -o yaml >"$folder/pdb.yaml"
step "2 delete the PDB"
user_cluster delete pdb kube-etcd-pdb
step "3 flag existing"
edit_flag existing
step "4 drain"
kubectl drain "$node" --ignore-daemonsets --delete-emptydir-data
step "5 member remove"
again remove_member
step "6 utility Pod"
utility_pod | user_cluster apply --filename -
step "7 clean"
again user_cluster exec "$utility" -- /bin/bash -c 'rm -rf /var/lib/etcd/*'
step "8 delete the utility Pod"
user_cluster delete pod "$utility"
if [ "$complete" ]; then
  step "+ member add"
  again add_member
fi
step "9 uncordon"
kubectl uncordon "$node"
if [ "$complete" ]; then
  step "+ wait for the member"
  again serves
  again user_cluster wait --for=condition=Ready "pod/$replica" --timeout=60s
fi
step "10 flag new"
edit_flag new
if [ "$complete" ]; then
  step "+ wait for the rollout"
  user_cluster rollout status statefulset kube-etcd --timeout=180s
fi
step "11 restore the PDB"
user_cluster apply --filename "$folder/pdb.yaml"
step "done"
