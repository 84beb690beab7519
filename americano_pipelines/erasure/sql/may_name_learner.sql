-- Texts that have the letters of the id, or an escape that may stand for them. Other texts are not parsed: that
-- takes a minute per million.
SELECT {text} AS text
FROM {relation} AS {rows}
WHERE contains(lower({text}), lower($learner)) OR (contains({text}, '\') AND regexp_matches({text}, $escaped, 'i'))
