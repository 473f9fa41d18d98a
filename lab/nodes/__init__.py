"""The lab's three nodes: what kubelet, containerd, the CNI plug-in and the cluster DNS do on a real one.

Nothing here knows etcd. A pod is a network namespace, a container a process in namespaces of its own, and the
node agent reports about both through the Kubernetes API alone, so that it cannot tell a real API server from
the simulated one.
"""
