-- Rows of which a string (or a key) somewhere in a JSON text is the id. What has neither its letters nor an escape is not
-- taken apart: five million rows would be.
SELECT count(*)
FROM (
    SELECT {text} AS text
    FROM {relation} AS {rows}
    WHERE (contains({text}, $1) OR contains({text}, '\u')) AND json_valid({text})
) AS candidates
WHERE EXISTS (
    SELECT 1
    FROM json_tree(candidates.text) AS tree
    WHERE (tree.type = 'VARCHAR' AND (tree.atom ->> '$') = $1) OR tree.key = $1
)
