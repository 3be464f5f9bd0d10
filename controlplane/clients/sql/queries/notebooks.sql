-- name: list_notebooks
select to_jsonb(n)::text from notebooks n
where phase <> 'gone' and ($1::text is null or pool = $1) and ($2::text is null or node = $2)
order by created_at, notebook

-- name: offerable
-- Plain columns, and no more than are looked at: ten thousand are read every five seconds.
select n.notebook::text, n.pool, n.revision, n.node, n.phase_at
from notebooks n join nodes d on d.node = n.node
where n.phase = 'ready' and d.state = 'ready'

-- name: count_notebooks
select jsonb_build_object('pool', pool, 'phase', phase, 'count', count(*))::text
from notebooks where phase <> 'gone' group by pool, phase order by pool, phase

-- name: strangers
select to_jsonb(held.id)::text from unnest($2::uuid[], $3::boolean[]) held (id, used)
where not exists (
  select from notebooks n where n.notebook = held.id and n.node = $1 and n.phase <> 'gone')
  -- Somebody may work in it, and a Postgres that forgot it is no reason to end that.
  and (not held.used
    or exists (select from notebooks n where n.notebook = held.id and n.phase = 'gone'))

-- name: unknown_in_use
select to_jsonb(held)::text from unnest($1::uuid[]) held
where not exists (select from notebooks n where n.notebook = held)
