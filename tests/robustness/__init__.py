"""Faults at every step: the matrix, its judge, and a model of etcd that is held to the real one."""
