#!/bin/sh
# The audit's database and its roles. Running it again sets the passwords again and changes nothing else.
# Where the server is, psql's own variables say (PGHOST, PGUSER, PGPASSWORD).
set -eu

psql() { command psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname=postgres "$@"; }

for role in replace_etcd_owner replace_etcd_worker replace_etcd_api; do
  case "$role" in
    replace_etcd_owner) password="$AUDIT_OWNER_PASSWORD" ;;
    replace_etcd_worker) password="$AUDIT_WORKER_PASSWORD" ;;
    *) password="$AUDIT_API_PASSWORD" ;;
  esac
  psql --set=role="$role" --set=password="$password" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
SELECT format('ALTER ROLE %I PASSWORD %L', :'role', :'password') \gexec
SQL
done
psql <<'SQL'
SELECT 'CREATE DATABASE replace_etcd_audit OWNER replace_etcd_owner'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'replace_etcd_audit') \gexec
SQL
