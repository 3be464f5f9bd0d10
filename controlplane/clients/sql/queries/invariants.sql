-- name: invariants
with v (invariant, key, detail) as (
  -- S1: one notebook, one lease, in both rows.
  select 'S1', n.notebook::text, 'leased, but its lease does not use it'
  from notebooks n
  where n.phase = 'leased' and not exists (
    select from leases l where l.lease = n.lease and l.notebook = n.notebook
      and l.attempt = n.attempt and l.phase in ('claimed', 'serving'))
  union all
  select 'S1', l.lease::text, 'uses a notebook that is not leased to it'
  from leases l
  where l.phase in ('claimed', 'serving') and not exists (
    select from notebooks n where n.notebook = l.notebook and n.lease = l.lease
      and n.attempt = l.attempt and n.node = l.node and n.phase = 'leased')
  union all
  select 'S1', e.key, 'was given to several leases'
  from events e
  where e.entity = 'notebook' and e.change ->> 'lease' is not null
  group by e.key having count(distinct e.change ->> 'lease') > 1
  union all
  -- S2: only legal moves, and so nothing ever returns to ready.
  select 'S2', e.key, 'moved from ' || e.was || ' to ' || e.phase
  from (
    select entity, key, phase,
      lag(phase) over (partition by entity, key order by version) as was
    from events where entity <> 'pool'
  ) e
  where e.was <> e.phase and e.phase <> 'forgotten' and not exists (
    select from moves m where m.entity = e.entity and m.phase = e.was and m.next = e.phase)
  union all
  -- S3: one open lease per (hub, user, server).
  select 'S3', min(l.lease::text), count(*) || ' open leases of one server'
  from leases l where l.phase <> 'ended'
  group by l.hub, l."user", l.server having count(*) > 1
  union all
  -- D1: every request reaches its outcome within its deadline and ten seconds.
  select 'D1', l.lease::text, l.phase || ' after its deadline'
  from leases l
  where l.phase in ('waiting', 'claimed') and l.deadline < now() - interval '10 seconds'
  union all
  -- D2: one id, one lease.
  select 'D2', e.key, 'began several times'
  from events e where e.entity = 'lease' and e.version = 1
  group by e.key having count(*) > 1
  union all
  -- D3: no change without event, no event without change.
  select 'D3', r.key, 'row at version ' || r.version || ', events at ' || coalesce(e.version, 0)
  from (
    select 'pool' as entity, name as key, version from pools
    union all select 'node', node, version from nodes
    union all select 'notebook', notebook::text, version from notebooks
    union all select 'lease', lease::text, version from leases
  ) r
  left join (
    select entity, key, max(version) as version from events group by entity, key
  ) e on e.entity = r.entity and e.key = r.key
  where e.version is distinct from r.version
)
select jsonb_build_object('invariant', invariant, 'key', key, 'detail', detail)::text
from v order by invariant, key
