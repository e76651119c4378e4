#!/bin/sh
# One role and one database for each who keeps something; all may log in with the one password.
# The image has read it from its secret file by now, as root: this runs as postgres, who may not.
set -eu
for name in shop remediation; do
  psql --username postgres --set ON_ERROR_STOP=1 --set name="$name" --set password="$POSTGRES_PASSWORD" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
done
