-- name: waiting_pools
select to_jsonb(pool)::text from leases where phase = 'waiting' group by pool order by pool

-- name: count_leases
select jsonb_build_object('pool', pool, 'phase', phase, 'count', count(*))::text
from leases where phase <> 'ended' group by pool, phase

-- name: pulse
select jsonb_build_object(
  'waiting', (
    select coalesce(jsonb_agg(distinct pool order by pool), '[]') from leases
    where phase = 'waiting'),
  'expire', exists (
    select from leases where phase in ('waiting', 'claimed') and deadline <= now()),
  'unaccepted', exists (select from unanswered($1::double precision)),
  'due', exists (select from orders where next_at <= now())
)::text

-- name: list_leases
select (to_jsonb(l) || '{"sealed": null}')::text from leases l
where ($1::text is null or pool = $1) and (not $2::boolean or phase <> 'ended')
order by created_at, lease

-- name: hub_leases
select (to_jsonb(l) || '{"sealed": null}')::text from leases l
where hub = $1 and phase <> 'ended' order by created_at, lease

-- name: trace
select jsonb_build_object('at', e.at, 'entity', e.entity, 'key', e.key, 'version', e.version,
  'phase', e.phase, 'node', e.node, 'change', e.change)::text
from events e
where (e.entity = 'lease' and e.key = $1::text)
  or (e.entity = 'notebook'
      and e.key in (select n.notebook::text from notebooks n where n.lease = $1::uuid))
order by e.at, e.seq

-- name: places
select jsonb_build_object(
  'pool', p.name,
  'taken_at', now(),
  'paused', (p.spec ->> 'paused')::boolean or p.phase = 'removed',
  'maximum', (p.spec ->> 'maximum')::integer,
  'waiting', (
    select jsonb_agg(to_jsonb(l) || '{"sealed": null}' order by l.place)
    from leases l where l.pool = p.name and l.phase = 'waiting'),
  'ready', c.ready, 'warming', c.warming, 'held', c.held, 'leaving', c.leaving,
  'nodes', (select count(*) from nodes d where d.state = 'ready'),
  'free', (
    select coalesce(sum(greatest(0, d.max_notebooks - (
      select count(*) from notebooks n where n.node = d.node and n.phase not in ('gone', 'lost')
    ))), 0)
    from nodes d where d.state = 'ready'),
  'cut_off', (
    select coalesce(jsonb_agg(distinct w.hub), '[]') from leases w
    where w.pool = p.name and w.phase = 'waiting'
      and exists (select from nodes d where d.state = 'ready')
      and not exists (
        select from nodes d left join sightings s on s.node = d.node
        where d.state = 'ready' and not (w.hub = any (coalesce(s.unreachable_hubs, '{}'))))),
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
    ) w)
)::text
from pools p
cross join lateral (
  select count(*) filter (where n.phase = 'ready') as ready,
    count(*) filter (where n.phase in ('creating', 'warming')) as warming,
    count(*) filter (where n.phase = 'leased') as held,
    count(*) filter (where n.phase in ('retiring', 'failed')) as leaving
  from notebooks n where n.pool = p.name and n.phase not in ('gone', 'lost')
) c
where exists (select from leases l where l.pool = p.name and l.phase = 'waiting')
order by p.name
