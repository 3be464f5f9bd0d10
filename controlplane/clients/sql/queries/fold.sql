-- name: events
select jsonb_build_array(entity, key, version, phase, change)::text
from events order by entity, key, version

-- name: tables
select jsonb_build_array(r.entity, r.key, r.line)::text from (
  select 'pool' as entity, name as key, to_jsonb(p) as line from pools p
  union all select 'node', node, to_jsonb(n) from nodes n
  union all select 'notebook', notebook::text, to_jsonb(n) from notebooks n
  union all select 'lease', lease::text, to_jsonb(l) - 'sealed' from leases l
) r order by r.entity, r.key
