-- Runs in Postgres. Columns of one relation with everything that decides how their values read.
WITH RECURSIVE relation AS (
    SELECT c.oid
    FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY({schemas}) AND c.relname = ANY({names})
),

-- A column's type and every type below it: base of a domain, elements, attributes, subtype of a range.
types AS (
    SELECT
        a.attnum,
        a.atttypid AS oid
    FROM pg_attribute AS a
    INNER JOIN relation AS c ON c.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT
        types.attnum,
        below.oid
    FROM types
    CROSS JOIN LATERAL (
        SELECT unnest(ARRAY[t.typbasetype, t.typelem]) AS oid
        FROM pg_type AS t
        WHERE t.oid = types.oid
        UNION ALL
        SELECT attribute.atttypid
        FROM pg_type AS t
        INNER JOIN pg_attribute AS attribute ON attribute.attrelid = t.typrelid
        WHERE t.oid = types.oid AND t.typtype = 'c' AND attribute.attnum > 0 AND NOT attribute.attisdropped
        UNION ALL
        SELECT unnest(CASE WHEN r.rngtypid = types.oid THEN ARRAY[r.rngsubtype] ELSE ARRAY[r.rngtypid] END)
        FROM pg_range AS r
        WHERE types.oid IN (r.rngtypid, r.rngmultitypid)
    ) AS below
    WHERE below.oid <> 0
),

-- As JSON: labels and names may hold any sign that would separate them.
described AS (
    SELECT
        types.attnum,
        json_agg(
            json_strip_nulls(json_build_object(
                'type', t.oid::bigint,
                'name', t.typname,
                'written by', t.typoutput::text,
                'of', nullif(format_type(nullif(t.typbasetype, 0), t.typtypmod), '-'),
                'labels', (
                    SELECT json_agg(l.enumlabel ORDER BY l.enumsortorder)
                    FROM pg_enum AS l
                    WHERE l.enumtypid = t.oid
                ),
                'attributes', (
                    SELECT json_agg(
                        json_build_array(p.attnum, p.attname, format_type(p.atttypid, p.atttypmod)) ORDER BY p.attnum
                    )
                    FROM pg_attribute AS p
                    WHERE t.typtype = 'c' AND p.attrelid = t.typrelid AND p.attnum > 0 AND NOT p.attisdropped
                )
            ))
            ORDER BY t.oid
        )::text AS types
    FROM types
    INNER JOIN pg_type AS t ON t.oid = types.oid
    INNER JOIN pg_namespace AS n ON n.oid = t.typnamespace
    WHERE n.nspname <> 'pg_catalog'
    GROUP BY types.attnum
)

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
        'types ' || described.types
    ) AS detail,
    a.attnotnull AND EXISTS (
        SELECT FROM pg_index AS i
        WHERE
            i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
            AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum
    ) AS is_key,
    -- Types of which a value is another object's id and is written as that object's name.
    EXISTS (
        SELECT FROM types
        INNER JOIN pg_type AS w ON w.oid = types.oid
        WHERE types.attnum = a.attnum AND w.typnamespace = 'pg_catalog'::regnamespace
            AND (w.typname = 'aclitem' OR w.typname LIKE 'reg%')
    ) AS names_objects
FROM pg_attribute AS a
INNER JOIN relation AS c ON c.oid = a.attrelid
INNER JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A'
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN described ON described.attnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
