#!/bin/sh
# Temporal's two databases, with the schema of this release. Running it again changes nothing, or upgrades.
set -eu

export SQL_PLUGIN=postgres12 SQL_HOST="$POSTGRES_SEEDS" SQL_PORT="$DB_PORT" SQL_USER="$POSTGRES_USER" SQL_PASSWORD="$POSTGRES_PWD"

for store in temporal visibility; do
  database=temporal
  if [ "$store" = visibility ]; then database=temporal_visibility; fi
  temporal-sql-tool --db "$database" create-database
  temporal-sql-tool --db "$database" setup-schema --version 0.0
  temporal-sql-tool --db "$database" update-schema --schema-name "postgresql/v12/$store"
done
