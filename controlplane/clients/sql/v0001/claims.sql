-- What the moves of leases are made of. Lock order: line, lease, notebook.
-- They are plpgsql because that keeps its plans: a plain SQL function called from plpgsql is
-- planned again on every call, which took a third of the time of a claim.

-- The lock of a pool's line until the end of the transaction. Alone: to stand in line and to
-- serve it. Together with others: to take what is ready while nobody stands there; these do not
-- wait for one another's commit. It is no row's lock: one that is shared lets newcomers in
-- before whoever waits for it alone, and a burst of claims would keep the line shut.
create function lock_line(pool_ text, alone boolean default true) returns void
language plpgsql as $$
begin
  if alone then
    perform pg_advisory_xact_lock(hashtextextended(pool_, 2));
  else
    perform pg_advisory_xact_lock_shared(hashtextextended(pool_, 2));
  end if;
end
$$;

-- Several lines, in one order for everybody.
create function lock_lines(pools_ text[]) returns void language plpgsql as $$
declare
  pool_ text;
begin
  for pool_ in select distinct p from unnest(pools_) p order by p loop
    perform lock_line(pool_);
  end loop;
end
$$;

-- A lease and what a move changed besides it, as the client reads it.
create function granted(
  wanted uuid, retired_ uuid[] default '{}', ended_ uuid[] default '{}'
) returns jsonb language plpgsql as $$
begin
  return (select jsonb_build_object(
    'lease', to_jsonb(l),
    'notebook', (select to_jsonb(n) from notebooks n where n.notebook = l.notebook),
    'epoch', (select n.epoch from nodes n where n.node = l.node),
    'retired', coalesce(
      (select jsonb_agg(to_jsonb(n)) from notebooks n where n.notebook = any (retired_)), '[]'),
    'ended', coalesce(
      (select jsonb_agg(to_jsonb(e)) from leases e where e.lease = any (ended_)), '[]'),
    'now', now()
  )
  from leases l where l.lease = wanted);
end
$$;

-- Younger than what makes a node suspect; liveness decides, this only orders.
create function seen_lately(last_seen timestamptz) returns boolean language sql stable as $$
  select coalesce(last_seen > now() - interval '6 seconds', false)
$$;

-- A ready notebook, locked, or null. Only on ready nodes that reach the hub. The candidate if
-- it can be had, else the oldest of a shelf (a node and a revision): of a node that was seen
-- lately, of the newest specification, of the newest revision, with the most on it. What somebody
-- else is just taking is passed over.
create function pick(pool_ text, hub_ text, candidate uuid) returns uuid
language plpgsql as $$
declare
  found_ uuid;
  shelf record;
begin
  if candidate is not null then
    select n.notebook into found_
    from notebooks n join nodes d on d.node = n.node left join sightings s on s.node = n.node
    where n.notebook = candidate and n.pool = pool_ and n.phase = 'ready' and d.state = 'ready'
      and seen_lately(s.last_seen) and not (hub_ = any (coalesce(s.unreachable_hubs, '{}')))
    for update of n skip locked;
    if found then
      return found_;
    end if;
  end if;
  -- Shelves first, each counted once, and then one notebook: a plan that joins them row by row
  -- is quadratic in what is ready.
  for shelf in
    with shelves as materialized (
      select n.node, n.revision, count(*) as free from notebooks n
      where n.pool = pool_ and n.phase = 'ready' group by n.node, n.revision
    )
    select c.node, c.revision from shelves c
    join nodes d on d.node = c.node
    left join sightings s on s.node = c.node
    join revisions r on r.pool = pool_ and r.revision = c.revision
    join pools p on p.name = pool_
    where d.state = 'ready' and not (hub_ = any (coalesce(s.unreachable_hubs, '{}')))
    order by seen_lately(s.last_seen) desc, r.spec_hash = p.spec_hash desc, c.revision desc,
      c.free desc, c.node
  loop
    select n.notebook into found_ from notebooks n
    where n.pool = pool_ and n.phase = 'ready' and n.node = shelf.node
      and n.revision = shelf.revision
    order by n.phase_at, n.notebook limit 1
    for update skip locked;
    exit when found;
  end loop;
  return found_;
end
$$;

-- The caller holds the lease's lock and has picked the notebook, which is ready.
create function hand_over(lease_ uuid, attempt_ integer, notebook_ uuid) returns void
language plpgsql as $$
begin
  update notebooks set phase = 'leased', lease = lease_, attempt = attempt_
  where notebook = notebook_ and phase = 'ready';
end
$$;

-- waiting -> claimed if something is ready for it. Says whether it was.
create function claim(lease_ uuid) returns boolean language plpgsql as $$
declare
  l leases;
  picked uuid;
begin
  select * into l from leases where lease = lease_ and phase = 'waiting' for update;
  if not found then
    return false;
  end if;
  picked := pick(l.pool, l.hub, null);
  if picked is null then
    return false;
  end if;
  update leases set phase = 'claimed', notebook = picked, node = n.node,
    cold = n.created_at > leases.created_at
  from notebooks n where n.notebook = picked and leases.lease = lease_;
  perform hand_over(lease_, l.attempt, picked);
  return true;
end
$$;

-- leased -> retiring; the ids that moved.
create function retire_leased(
  notebook_ uuid, reason_ text, detail_ text default '', exit_code_ integer default null,
  out_of_memory_ boolean default null
) returns uuid[] language plpgsql as $$
declare
  retired uuid[];
begin
  with moved as (
    update notebooks set phase = 'retiring', reason = reason_, detail = detail_,
      exit_code = coalesce(exit_code_, exit_code),
      out_of_memory = coalesce(out_of_memory_, out_of_memory)
    where notebook = notebook_ and phase = 'leased'
    returning notebook
  )
  select coalesce(array_agg(notebook), '{}') into retired from moved;
  return retired;
end
$$;

-- A report about a notebook that its lease does not use: retired, and ordered at once.
create function retire_stale(lease_ uuid, notebook_ uuid) returns void language plpgsql as $$
begin
  update notebooks n set phase = 'retiring', reason = 'stale'
  where n.notebook = notebook_ and n.lease = lease_ and n.phase = 'leased'
    and not exists (
      select from leases l
      where l.lease = lease_ and l.notebook = notebook_ and l.phase in ('claimed', 'serving')
    );
  if found then
    update orders set next_at = now() where notebook = notebook_;
  end if;
end
$$;

-- Ends an open lease, whose lock the caller holds, and retires its notebook: the ids retired.
create function end_lease(l leases, reason_ text, detail_ text default '') returns uuid[]
language plpgsql as $$
begin
  update leases set phase = 'ended', reason = reason_, detail = left(detail_, 2000)
  where lease = l.lease;
  delete from hub_misses where lease = l.lease;
  return retire_leased(l.notebook, reason_);
end
$$;

-- The attempt of a claimed lease is over. The caller holds the locks of line and lease.
create function next_attempt(
  l leases, reason_ text, detail_ text, terminal boolean, exit_code_ integer default null,
  out_of_memory_ boolean default null
) returns jsonb language plpgsql as $$
declare
  said text := left(reason_ || case when detail_ = '' then '' else ': ' || detail_ end, 2000);
  retired uuid[] :=
    retire_leased(l.notebook, reason_, left(detail_, 2000), exit_code_, out_of_memory_);
begin
  if terminal then
    perform end_lease(l, 'refused', said);
  elsif l.deadline <= now() then
    perform end_lease(l, 'expired', said);
  elsif l.attempt >= 3 then
    perform end_lease(l, 'attempts', said);
  else
    update leases set phase = 'waiting', attempt = l.attempt + 1, notebook = null, node = null
    where lease = l.lease;
    if not exists (
      select from leases w
      where w.pool = l.pool and w.phase = 'waiting' and w.place < l.place and w.deadline > now()
    ) then
      perform claim(l.lease);
    end if;
  end if;
  return granted(l.lease, retired);
end
$$;
