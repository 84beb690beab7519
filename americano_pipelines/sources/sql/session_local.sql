-- Runs in Postgres. Gives the transaction each setting that this server knows, whatever the connection started with.
SELECT set_config(asked.key, asked.value, true) AS setting
FROM json_each_text('{settings}'::json) AS asked
WHERE asked.key IN (SELECT name FROM pg_settings)
