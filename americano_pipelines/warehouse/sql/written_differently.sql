-- Ids of one column that are in the other only when blanks around them, the zeros after a whole number's point and the
-- letters of a UUID are left aside; between a number and a text also the zeros before it.
WITH referring AS ({referring}),

referred AS ({referred}),

unmatched AS (
    SELECT id FROM referring
    EXCEPT
    SELECT id FROM referred
),

bare AS (
    SELECT 'referring' AS side, trim(id, ' ' || chr(0) || chr(9) || chr(10) || chr(13) || chr(160)) AS id FROM unmatched
    UNION ALL
    SELECT 'referred' AS side, trim(id, ' ' || chr(0) || chr(9) || chr(10) || chr(13) || chr(160)) AS id FROM referred
),

likened AS (
    SELECT
        side,
        CASE
            WHEN regexp_full_match(id, '[{{]?[0-9A-Fa-f]{{8}}-?([0-9A-Fa-f]{{4}}-?){{3}}[0-9A-Fa-f]{{12}}[}}]?')
                THEN lower(regexp_replace(id, '[-{{}}]', '', 'g'))
            WHEN {mixed} AND regexp_full_match(id, '[+-]?[0-9]+([.]0*)?')
                THEN regexp_replace(regexp_replace(id, '[.]0*$', ''), '^[+]?(-?)0*([0-9])', '\1\2')
            WHEN regexp_full_match(id, '[+-]?[0-9]+[.]0*') THEN regexp_replace(id, '[.]0*$', '')
            ELSE id
        END AS id
    FROM bare
)

SELECT count(*) FROM likened
WHERE side = 'referring' AND id IN (SELECT others.id FROM likened AS others WHERE others.side = 'referred')
