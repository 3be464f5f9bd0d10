-- What happens to a lease after it was claimed.

create function lease_get(lease_ uuid) returns jsonb language sql as $$
  select granted(lease_)
$$;

-- Repeated from here on only rarely, for an agent that lost it and its hello.
create function lease_accepted(reports jsonb) returns jsonb language plpgsql as $$
begin
  perform from orders
  where notebook in (select (r ->> 'notebook')::uuid from jsonb_array_elements(reports) r)
  order by notebook for update;
  update orders o
  set accepted_at = now(), next_at = now() + interval '30 seconds', wait_seconds = 30
  from jsonb_array_elements(reports) r join leases l on l.lease = (r ->> 'lease')::uuid
  where o.notebook = (r ->> 'notebook')::uuid and o.kind = 'activate' and o.accepted_at is null
    and l.phase = 'claimed' and l.notebook = o.notebook
    and l.attempt = (r ->> 'attempt')::integer;
  return null;
end
$$;

create function lease_serve(report jsonb) returns jsonb language plpgsql as $$
declare
  l leases;
begin
  select * into l from leases where lease = (report ->> 'lease')::uuid for update;
  if l.attempt = (report ->> 'attempt')::integer and l.notebook = (report ->> 'notebook')::uuid
    and l.phase in ('claimed', 'serving')
  then
    update leases set phase = 'serving', url = report ->> 'url',
      stages = coalesce(report -> 'stages', '{}'), home = coalesce(report ->> 'home', '')
    where lease = l.lease and phase = 'claimed';
    return granted(l.lease);
  end if;
  perform retire_stale((report ->> 'lease')::uuid, (report ->> 'notebook')::uuid);
  return null;
end
$$;

-- The lease with its line's lock and its own; all null for an unknown one.
create function lock_lease(lease_ uuid) returns leases language plpgsql as $$
declare
  l leases;
begin
  perform lock_line((select pool from leases where lease = lease_));
  select * into l from leases where lease = lease_ for update;
  return l;
end
$$;

create function lease_attempt_failed(
  lease_ uuid, attempt_ integer, notebook_ uuid, reason_ text, detail_ text, terminal boolean
) returns jsonb language plpgsql as $$
declare
  l leases := lock_lease(lease_);
begin
  if l.phase = 'claimed' and l.attempt = attempt_ and l.notebook = notebook_ then
    return next_attempt(l, reason_, detail_, terminal);
  end if;
  if l.notebook = notebook_ and l.attempt = attempt_
    and l.reason in ('attempts', 'refused', 'expired')
  then
    -- Reported again: whoever handled it first may not have come to tell the hub.
    return granted(lease_);
  end if;
  perform retire_stale(lease_, notebook_);
  return null;
end
$$;

-- The notebook's process ended. The caller holds the locks of line and lease.
create function process_ended(
  l leases, said text, exit_code_ integer, out_of_memory_ boolean
) returns jsonb language plpgsql as $$
declare
  retired uuid[];
begin
  if l.phase = 'claimed' then
    return next_attempt(l, 'exited', said, false, exit_code_, out_of_memory_);
  end if;
  retired := retire_leased(l.notebook, 'exited', said, exit_code_, out_of_memory_);
  perform end_lease(l, 'died', said);
  return granted(l.lease, retired);
end
$$;

create function lease_exited(report jsonb) returns jsonb language plpgsql as $$
declare
  notebook_ uuid := report ->> 'notebook';
  l leases := lock_lease((report ->> 'lease')::uuid);
  said text := coalesce(nullif(report ->> 'detail', ''),
    'exit code ' || coalesce(report ->> 'exit_code', 'unknown')
    || case when (report ->> 'out_of_memory')::boolean then ', out of memory' else '' end);
begin
  -- Seen before the notebook was even ready: not this life of it.
  if exists (
    select from notebooks n where n.notebook = notebook_ and n.node = report ->> 'node'
      and (n.epoch, n.seq) >= ((report ->> 'epoch')::bigint, (report ->> 'seq')::bigint)
  ) then
    return null;
  end if;
  if l.notebook = notebook_ and l.phase in ('claimed', 'serving') then
    return process_ended(l, said,
      (report ->> 'exit_code')::integer, (report ->> 'out_of_memory')::boolean);
  end if;
  if l.notebook = notebook_ and l.reason in ('died', 'attempts', 'expired') then
    -- Reported again: whoever handled it first may not have come to tell the hub.
    return granted(l.lease);
  end if;
  perform retire_stale((report ->> 'lease')::uuid, notebook_);
  return null;
end
$$;

create function lease_expire(limit_ integer) returns jsonb language plpgsql as $$
declare
  l leases;
  moved jsonb := '[]';
begin
  for l in
    select * from leases where phase in ('waiting', 'claimed') and deadline <= now()
    order by deadline limit limit_ for update skip locked
  loop
    moved := moved || granted(l.lease, end_lease(l, 'expired'));
  end loop;
  return moved;
end
$$;

-- Claimed leases whose attempt is over because nobody answered or nobody can. Without an answer
-- only if another node, seen lately, has one to give: else the order is repeated and its answer
-- awaited, for a dead agent of the only node must not use up the attempts and the pool.
create function unanswered(seconds double precision)
returns table (lease uuid, pool text) language sql as $$
  select l.lease, l.pool from leases l join nodes n on n.node = l.node
  where l.phase = 'claimed' and (
    n.state in ('suspect', 'lost')
    or (l.phase_at <= now() - seconds * interval '1 second' and not exists (
      select from orders o where o.notebook = l.notebook and o.accepted_at is not null)
      and exists (
        select from notebooks r
        join nodes d on d.node = r.node and d.state = 'ready'
        join sightings s on s.node = r.node and seen_lately(s.last_seen)
        where r.pool = l.pool and r.phase = 'ready' and r.node <> l.node
          and not (l.hub = any (s.unreachable_hubs)))))
$$;

create function lease_unaccepted(seconds double precision, limit_ integer) returns jsonb
language plpgsql as $$
declare
  late record;
  l leases;
  moved jsonb := '[]';
begin
  -- Every line before any lease: a request that supersedes locks in this order as well.
  perform lock_lines(array(select u.pool from unanswered(seconds) u));
  for late in select u.lease from unanswered(seconds) u order by u.lease limit limit_ loop
    select * into l from leases where leases.lease = late.lease and phase = 'claimed'
    for update skip locked;
    continue when not found;
    moved := moved || next_attempt(l, 'unaccepted', 'node ' || l.node || ' does not answer', false);
  end loop;
  return moved;
end
$$;

-- serving -> ended(node_lost), its notebook -> lost. Claimed ones have a next attempt already.
-- Only while the node is lost: whoever heard of it may have heard it late.
create function lease_node_lost(node_ text) returns jsonb language plpgsql as $$
declare
  l leases;
  moved jsonb := '[]';
begin
  perform from nodes where node = node_ and state = 'lost' for share;
  if not found then
    return moved;
  end if;
  for l in
    select * from leases where node = node_ and phase = 'serving' order by lease for update
  loop
    update notebooks set phase = 'lost', reason = 'node_lost'
    where notebook = l.notebook and phase = 'leased';
    perform end_lease(l, 'node_lost', 'node ' || node_ || ' is lost');
    moved := moved || granted(l.lease);
  end loop;
  return moved;
end
$$;

-- What a node holds for leases, each after its own lock: served and not yet said, or stale.
create function held_for_leases(report jsonb) returns jsonb language plpgsql as $$
declare
  held jsonb;
  l leases;
  moved jsonb := '[]';
begin
  for held in
    select h from jsonb_array_elements(report -> 'held') h
    where h ->> 'lease' is not null and h ->> 'state' in ('activating', 'serving', 'exited')
    order by h ->> 'lease'
  loop
    select * into l from leases where lease = (held ->> 'lease')::uuid;
    if l.notebook = (held ->> 'notebook')::uuid and l.phase in ('claimed', 'serving') then
      continue when l.phase = 'serving' or held ->> 'state' <> 'serving' or held ->> 'url' is null;
      moved := moved || coalesce(lease_serve(held), '[]');
    else
      perform from leases where lease = l.lease for update;
      perform retire_stale((held ->> 'lease')::uuid, (held ->> 'notebook')::uuid);
    end if;
  end loop;
  return moved;
end
$$;

-- Whether an inventory says everything about this id.
create function in_span(report jsonb, notebook_ uuid) returns boolean language sql immutable as $$
  select (report ->> 'complete')::boolean
    and notebook_ >= (report #>> '{between,0}')::uuid
    and notebook_ < (report #>> '{between,1}')::uuid
$$;

-- Leased notebooks of a node whose process ended, or that a complete list leaves out.
create function ended_on_node(report jsonb)
returns table (lease uuid, pool text, said text) language sql as $$
  select n.lease, n.pool, case when h is null then 'vanished from its node' else 'exited' end
  from notebooks n
  left join jsonb_array_elements(report -> 'held') h on (h ->> 'notebook')::uuid = n.notebook
  where n.node = report ->> 'node' and n.phase = 'leased'
    and (n.epoch, n.seq) < ((report ->> 'epoch')::bigint, (report ->> 'seq')::bigint)
    and (h ->> 'state' = 'exited' or (h is null and in_span(report, n.notebook)))
  order by n.lease
$$;

create function lease_inventory(report jsonb) returns jsonb language plpgsql as $$
declare
  over record;
  l leases;
  moved jsonb;
begin
  perform lock_lines(array(select e.pool from ended_on_node(report) e));
  moved := held_for_leases(report);
  for over in select * from ended_on_node(report) loop
    select * into l from leases where leases.lease = over.lease
      and phase in ('claimed', 'serving') for update;
    continue when not found;
    moved := moved || process_ended(l, over.said, null, null);
  end loop;
  -- Claimed, but the node holds it untouched: the order was lost.
  update orders o set next_at = now()
  from leases c, jsonb_array_elements(report -> 'held') h
  where h ->> 'state' = 'ready' and o.notebook = (h ->> 'notebook')::uuid
    and o.kind = 'activate' and c.notebook = o.notebook and c.phase = 'claimed'
    and c.phase_at < now() - interval '1 second';
  return moved;
end
$$;
