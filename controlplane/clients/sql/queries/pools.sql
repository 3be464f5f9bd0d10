-- name: list_nodes
select node_row(node)::text from nodes order by node

-- name: offered_pools
select to_jsonb(p)::text from pools p where phase = 'applied' order by name

-- name: list_pools
select to_jsonb(p)::text from pools p
where phase = 'applied'
  or exists (select from notebooks n where n.pool = p.name and n.phase <> 'gone')
order by name

-- name: revision
select spec::text from revisions where pool = $1 and revision = $2

-- name: wanted_revisions
select jsonb_build_array(r.pool, r.revision)::text
from revisions r join pools p on p.name = r.pool and p.spec_hash = r.spec_hash

-- name: refill_snapshot
select jsonb_build_object(
  'pool', to_jsonb(p),
  'taken_at', now(),
  'stamp', l.stamp,
  'nodes', coalesce((
    select jsonb_agg(jsonb_build_object(
      'node', d.node, 'state', d.state, 'epoch', d.epoch, 'max_notebooks', d.max_notebooks,
      'occupied', (
        select count(*) from notebooks n where n.node = d.node and n.phase not in ('gone', 'lost'))
    ) order by d.node) from nodes d), '[]'),
  'notebooks', coalesce((
    select jsonb_agg(to_jsonb(n) order by n.created_at, n.notebook)
    from notebooks n where n.pool = p.name and n.phase <> 'gone'), '[]'),
  'waiting', (select count(*) from leases w where w.pool = p.name and w.phase = 'waiting'),
  'activating', (select count(*) from leases c where c.phase = 'claimed'),
  'served_at', (select max(s.phase_at) from leases s where s.phase = 'serving'),
  'same_revisions', (
    select jsonb_agg(r.revision) from revisions r
    where r.pool = p.name and r.spec_hash = p.spec_hash),
  'failures', coalesce((
    select jsonb_agg(to_jsonb(f) order by f.revision, f.node) from (
      select n.revision, n.node, count(*) as count, max(n.failed_at) as last_at,
        (array_agg(concat_ws(': ', n.reason, nullif(left(n.detail, 200), ''))
          order by n.failed_at desc))[1] as reason
      from notebooks n
      where n.pool = p.name and n.failed_at > now() - interval '1 hour'
        and n.failed_at > coalesce((
          select max(w.ready_at) from notebooks w
          where w.pool = n.pool and w.revision = n.revision and w.node = n.node
            and w.ready_at is not null and w.failed_at is null
        ), '-infinity')
      group by n.revision, n.node
    ) f), '[]')
)::text
from pools p join lines l on l.pool = p.name where p.name = $1
