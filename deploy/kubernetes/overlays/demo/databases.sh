#!/bin/sh
# One role and one database for each who keeps something; all may log in with the password of the secret file.
set -eu
for name in shop remediation; do
  psql --username postgres --set ON_ERROR_STOP=1 --set name="$name" --set password="$(cat /run/secrets/steersman/postgres.token)" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
done
