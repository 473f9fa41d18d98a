"""`python -m replace_etcd.cli`, where the script is not on PATH."""

from replace_etcd.cli import main

main()
