-- Runs in Postgres. From the catalog and not information_schema, which hides what the role may not read.
SELECT
    attribute.attname,
    type.typname,
    attribute.attnotnull AND NOT attribute.atthasdef AND attribute.attidentity = '' AS required,
    (
        SELECT array_agg(enum.enumlabel::text ORDER BY enum.enumsortorder)
        FROM pg_enum AS enum
        WHERE enum.enumtypid = type.oid
    ) AS labels,
    -- Postgres keeps a length with the 4 bytes of its own header.
    CASE WHEN type.typname IN ('varchar', 'bpchar') AND attribute.atttypmod > 4 THEN attribute.atttypmod - 4 END AS longest
FROM pg_class AS relation
INNER JOIN pg_namespace AS namespace ON namespace.oid = relation.relnamespace
INNER JOIN pg_attribute AS attribute ON attribute.attrelid = relation.oid
INNER JOIN pg_type AS type ON type.oid = attribute.atttypid
WHERE
    namespace.nspname = %s
    AND relation.relname = %s
    AND relation.relkind IN ('r', 'p')
    AND attribute.attnum > 0
    AND NOT attribute.attisdropped
