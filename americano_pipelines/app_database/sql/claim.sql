-- Runs in Postgres.
UPDATE {table} SET {started}
WHERE
    id = {id}
    AND (status = 'PENDING' OR status::text IN ('RUNNING', 'FAILED') AND {owned})
RETURNING {columns}
