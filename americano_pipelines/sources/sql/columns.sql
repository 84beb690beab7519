-- Runs in Postgres. Columns of one relation with everything that decides how their values read.
SELECT
    a.attname::text AS name,
    format_type(a.atttypid, a.atttypmod) AS shown_type,
    t.typname::text AS type_name,
    t.typtype::text AS type_kind,
    e.typname::text AS element_name,
    e.typtype::text AS element_kind,
    a.attndims::int AS dimensions,
    CASE WHEN t.typname = 'numeric' AND a.atttypmod > 0 THEN ((a.atttypmod - 4) >> 16) & 65535 END AS numeric_precision,
    -- Eleven bits with a sign: a negative scale rounds before the point.
    CASE
        WHEN t.typname = 'numeric' AND a.atttypmod > 0 THEN (((a.atttypmod - 4) & 2047) # 1024) - 1024
    END AS numeric_scale,
    NOT a.attnotnull AS nullable,
    concat_ws(
        ' ',
        -- A column dropped and added again is another column: its old values are gone, and no row was touched.
        'column ' || a.attnum || ' of type ' || a.atttypid,
        'missing ' || a.attmissingval::text,
        'default ' || pg_get_expr(d.adbin, d.adrelid),
        'labels ' || (
            SELECT string_agg(l.enumlabel, ',' ORDER BY l.enumsortorder)
            FROM pg_enum AS l
            WHERE l.enumtypid IN (t.oid, e.oid)
        )
    ) AS detail,
    a.attnotnull AND EXISTS (
        SELECT FROM pg_index AS i
        WHERE
            i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
            AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum
    ) AS is_key
FROM pg_attribute AS a
INNER JOIN pg_class AS c ON c.oid = a.attrelid
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
INNER JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A'
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE n.nspname = ANY({schemas}) AND c.relname = ANY({names}) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
