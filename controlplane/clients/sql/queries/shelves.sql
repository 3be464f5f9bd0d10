-- name: shelves
with fleet as materialized (
  select count(*) as nodes, coalesce(sum(greatest(0, d.max_notebooks - (
    select count(*) from notebooks n where n.node = d.node and n.phase not in ('gone', 'lost')
  ))), 0) as free
  from nodes d where d.state = 'ready'
)
select jsonb_build_object(
  'pool', to_jsonb(p),
  'taken_at', now(),
  'warm', (
    select count(*) from notebooks n join nodes d on d.node = n.node
    left join sightings s on s.node = n.node
    where n.pool = p.name and n.phase = 'ready' and d.state = 'ready'
      and not ($1 = any (coalesce(s.unreachable_hubs, '{}')))),
  'waiting', (select count(*) from leases w where w.pool = p.name and w.phase = 'waiting'),
  'warming', c.warming, 'held', c.held, 'leaving', c.leaving,
  'nodes', f.nodes, 'free', f.free,
  'failures', (
    select count(*) from notebooks n
    where n.pool = p.name and n.revision = p.revision
      and n.failed_at > now() - interval '10 minutes'),
  'warm_seconds', (
    select percentile_cont(0.5) within group (order by extract(epoch from w.ready_at - w.created_at))
    from (
      select ready_at, created_at from notebooks n
      where n.pool = p.name and n.ready_at is not null and n.failed_at is null
      order by n.ready_at desc limit 20
    ) w),
  'of_groups', coalesce((
    select jsonb_object_agg(g.name, (
      select count(*) from leases l
      where l.hub = $1 and l.phase <> 'ended' and l.pool = p.name and l.groups ? g.name))
    from jsonb_object_keys(p.spec -> 'max_per_group') g (name)), '{}')
)::text
from pools p
cross join fleet f
cross join lateral (
  select count(*) filter (where n.phase in ('creating', 'warming')) as warming,
    count(*) filter (where n.phase = 'leased') as held,
    count(*) filter (where n.phase in ('retiring', 'failed')) as leaving
  from notebooks n where n.pool = p.name and n.phase not in ('gone', 'lost')
) c
where p.phase = 'applied' order by p.name

-- name: held_of_groups
select coalesce(jsonb_object_agg(g.name, (
  select count(*) from leases l
  where l.hub = $1 and l.phase <> 'ended' and l.groups ? g.name)), '{}')::text
from jsonb_object_keys($2::jsonb) g (name)
