-- Why this request can never be granted, or null.
create function refusal(ask jsonb) returns text language plpgsql as $$
declare
  p pools;
  groups_ jsonb;
begin
  select * into p from pools where name = ask ->> 'pool' and phase = 'applied';
  if not found then
    return format('there is no pool %s', ask ->> 'pool');
  end if;
  if (p.spec ->> 'paused')::boolean then
    return format('pool %s is paused', p.name);
  end if;
  groups_ := p.spec -> 'groups';
  if jsonb_array_length(groups_) > 0 and not exists (
    select from jsonb_array_elements_text(ask -> 'groups') g where groups_ ? g
  ) then
    return format('pool %s is for other groups', p.name);
  end if;
  return null;
end
$$;

-- When the time that this request gives is over.
create function until_(ask jsonb) returns timestamptz language sql stable as $$
  select now() + least((ask ->> 'budget_ms')::bigint, 86400000) * interval '1 millisecond'
$$;

-- The id is known: the row that it became, which a new process of its hub may hear of.
create function request_again(l leases, ask jsonb) returns jsonb language plpgsql as $$
begin
  if (l.hub, l."user", l.server) is distinct from (ask ->> 'hub', ask ->> 'user', ask ->> 'server')
  then
    raise exception 'lease % belongs to another hub, user or server', l.lease
      using errcode = 'GR001';
  end if;
  update leases set hub_process = ask ->> 'hub_process' where lease = l.lease and phase <> 'ended';
  -- Somebody came back for a place in line: with more time, and a seal that lasts as long.
  update leases set deadline = until_(ask), sealed = ask ->> 'sealed'
  where lease = l.lease and phase = 'waiting' and deadline < until_(ask)
    and (ask ->> 'renewed')::boolean;
  return granted(l.lease);
end
$$;

-- Milliseconds of a UUIDv7, null for another kind of id.
create function made_at(id uuid) returns bigint language sql immutable as $$
  select case when substr(id::text, 15, 1) = '7'
    then ('x' || replace(left(id::text, 13), '-', ''))::bit(48)::bigint end
$$;

create function insert_lease(ask jsonb, picked uuid, reason_ text, detail_ text)
returns void language plpgsql as $$
begin
  insert into leases (
    lease, hub, hub_process, "user", server, prefix, pool, groups, phase, place, deadline,
    notebook, node, sealed, reason, detail, traceparent
  )
  select (ask ->> 'lease')::uuid, ask ->> 'hub', ask ->> 'hub_process', ask ->> 'user',
    ask ->> 'server', ask ->> 'prefix', ask ->> 'pool', coalesce(ask -> 'groups', '[]'),
    case when reason_ is not null then 'ended' when picked is null then 'waiting'
      else 'claimed' end,
    nextval('places'),
    until_(ask),
    picked, (select n.node from notebooks n where n.notebook = picked),
    ask ->> 'sealed', reason_, coalesce(detail_, ''), coalesce(ask ->> 'traceparent', '');
end
$$;

-- The older open lease of the same (hub, user, server) ends; what was retired and ended.
-- Nothing, and `late`, when the open one is newer: this request was overtaken.
create function supersede(ask jsonb, out retired uuid[], out ended uuid[], out late boolean)
language plpgsql as $$
declare
  l leases;
begin
  retired := '{}';
  ended := '{}';
  late := false;
  select * into l from leases
  where hub = ask ->> 'hub' and "user" = ask ->> 'user' and server = ask ->> 'server'
    and phase <> 'ended'
  for update;
  if not found then
    return;
  end if;
  if made_at((ask ->> 'lease')::uuid) < made_at(l.lease) then
    late := true;
    return;
  end if;
  retired := end_lease(l, 'superseded');
  ended := array[l.lease];
end
$$;

-- Somebody stands in line for this pool.
create function waited_for(pool_ text) returns boolean language plpgsql as $$
begin
  return exists (
    select from leases w
    where w.pool = pool_ and w.phase = 'waiting' and w.deadline > now()
  );
end
$$;

-- Why this request ends at once, or both null: released before it came, refused, no time left,
-- beyond a limit.
create function ends_at_once(ask jsonb, out reason_ text, out detail_ text)
language plpgsql as $$
begin
  select t.reason into reason_ from tombstones t
  where t.lease = (ask ->> 'lease')::uuid and t.hub = ask ->> 'hub';
  if reason_ is null then
    detail_ := refusal(ask);
    reason_ := case when detail_ is not null then 'refused'
      when (ask ->> 'budget_ms')::bigint <= 0 then 'expired' end;
  end if;
  if reason_ is null then
    detail_ := over_limit(ask);
    reason_ := case when detail_ is not null then 'quota' end;
  end if;
end
$$;

-- Null, with nothing changed: nothing can be had without standing in line. Whoever asked asks
-- again with `to_line`, for the line's lock cannot be made a stronger one once it is held.
create function lease_request(ask jsonb, candidate uuid, to_line boolean default false)
returns jsonb language plpgsql as $$
declare
  id uuid := ask ->> 'lease';
  pool_ text := ask ->> 'pool';
  l leases;
  ends record;
  older record;
  picked uuid;
begin
  -- A release of this id waits until the row is there, and the other way round.
  perform pg_advisory_xact_lock(hashtextextended(id::text, 0));
  select * into l from leases where lease = id;
  if found then
    return request_again(l, ask);
  end if;
  ends := ends_at_once(ask);
  if ends.reason_ is not null then
    perform insert_lease(ask, null, ends.reason_, ends.detail_);
    return granted(id);
  end if;
  -- Two requests for one server come one after the other, so that the newer one wins.
  perform pg_advisory_xact_lock(hashtextextended(
    jsonb_build_array(ask -> 'hub', ask -> 'user', ask -> 'server')::text, 1));
  to_line := to_line or waited_for(pool_)
    or not exists (select from notebooks n where n.pool = pool_ and n.phase = 'ready');
  perform lock_line(pool_, alone => to_line);
  if not waited_for(pool_) then
    -- Before the older lease's lock: a notebook that somebody holds is passed over, so this
    -- never waits, and so far nothing needs to be undone.
    picked := pick(pool_, ask ->> 'hub', candidate);
  end if;
  if picked is null and not to_line then
    return null;
  end if;
  older := supersede(ask);
  if older.late then
    perform insert_lease(ask, null, 'superseded', 'a newer lease was there first');
    return granted(id);
  end if;
  perform insert_lease(ask, picked, null, null);
  perform hand_over(id, 1, picked);
  return granted(id, older.retired, older.ended);
end
$$;

create function lease_release(lease_ uuid, hub_ text, reason_ text) returns jsonb
language plpgsql as $$
declare
  l leases;
begin
  perform pg_advisory_xact_lock(hashtextextended(lease_::text, 0));
  select * into l from leases where lease = lease_ for update;
  if not found then
    insert into tombstones (lease, hub, reason) values (lease_, hub_, reason_)
    on conflict (lease) do nothing;
    return null;
  end if;
  if l.hub <> hub_ then
    raise exception 'lease % belongs to another hub', lease_ using errcode = 'GR001';
  end if;
  if l.phase = 'ended' then
    return granted(lease_);
  end if;
  return granted(lease_, end_lease(l, reason_));
end
$$;

-- The heads of the line get what is ready. A head whose hub no ready notebook reaches stops
-- only the people of that hub.
create function lease_match(pool_ text, limit_ integer) returns jsonb language plpgsql as $$
declare
  w record;
  stuck text[] := '{}';
  matched jsonb := '[]';
begin
  perform lock_line(pool_);
  for w in
    select lease, hub from leases where pool = pool_ and phase = 'waiting' and deadline > now()
    order by place
  loop
    exit when jsonb_array_length(matched) >= limit_;
    continue when w.hub = any (stuck);
    if claim(w.lease) then
      matched := matched || granted(w.lease);
    else
      stuck := stuck || w.hub;
    end if;
  end loop;
  return matched;
end
$$;
