-- Runs in Postgres. A relation and all below it (parts, children, what a view reads): what each of them is in this
-- snapshot, and whether its rows cannot be seen in it any more, because it was emptied, rewritten or replaced since.
-- The catalog as a table is read in the snapshot; pg_relation_filenode, to_regclass and pg_partition_tree look at what
-- is there now: another file, another relation under the name, a part that was attached.
WITH RECURSIVE parts AS (
    SELECT c.oid
    FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY({schemas}) AND c.relname = ANY({names})
    UNION
    SELECT below.oid
    FROM parts
    CROSS JOIN LATERAL (
        SELECT i.inhrelid AS oid
        FROM pg_inherits AS i
        WHERE i.inhparent = parts.oid
        UNION ALL
        SELECT d.refobjid
        FROM pg_rewrite AS r
        INNER JOIN pg_depend AS d
            ON d.objid = r.oid AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
        WHERE r.ev_class = parts.oid AND d.refobjid <> r.ev_class
    ) AS below
)

SELECT
    c.relname::text AS relation,
    json_build_array(
        c.oid::bigint,
        n.nspname,
        c.relname,
        c.relfilenode::bigint,
        pg_get_expr(c.relpartbound, c.oid),
        CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
        -- What a view calls.
        (
            SELECT json_agg(p.prosrc ORDER BY p.oid)
            FROM pg_rewrite AS r
            INNER JOIN pg_depend AS d
                ON d.objid = r.oid AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_proc'::regclass
            INNER JOIN pg_proc AS p ON p.oid = d.refobjid
            WHERE r.ev_class = c.oid
        )
    )::text AS identity,
    (
        (c.relfilenode <> 0 AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid))
        OR (
            n.nspname = ANY({schemas})
            AND c.relname = ANY({names})
            AND to_regclass(format('%I.%I', n.nspname, c.relname)) IS DISTINCT FROM c.oid
        )
        OR (
            c.relkind = 'p'
            AND EXISTS (SELECT FROM pg_partition_tree(c.oid) AS t WHERE t.relid NOT IN (SELECT p.oid FROM parts AS p))
        )
    ) AS is_replaced
FROM parts
INNER JOIN pg_class AS c ON c.oid = parts.oid
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY c.oid
