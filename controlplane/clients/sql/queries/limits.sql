-- name: limits
select to_jsonb(l)::text from limits l order by version desc limit 1
