-- Notebooks that nobody holds.

-- Null when somebody else created for this pool since `stamp_` was read.
create function notebook_create(pool_ text, revision_ integer, places jsonb, stamp_ bigint)
returns jsonb language plpgsql as $$
declare
  made jsonb;
begin
  update lines set stamp = stamp + 1 where pool = pool_ and stamp = stamp_;
  if not found then
    return null;
  end if;
  with inserted as (
    insert into notebooks (notebook, pool, revision, node, phase)
    select key::uuid, pool_, revision_, value, 'creating' from jsonb_each_text(places)
    returning *
  )
  select coalesce(jsonb_agg(to_jsonb(i)), '[]') into made from inserted i;
  return made;
end
$$;

-- The notebook of a report, locked; all null when it is not this node's, or when the row has
-- seen this report or a later one.
create function reported(report jsonb) returns notebooks language plpgsql as $$
declare
  n notebooks;
begin
  select * into n from notebooks where notebook = (report ->> 'notebook')::uuid
    and node = report ->> 'node'
    and (epoch, seq) < ((report ->> 'epoch')::bigint, (report ->> 'seq')::bigint)
  for update;
  return n;
end
$$;

create function notebook_created(report jsonb) returns jsonb language plpgsql as $$
declare
  n notebooks := reported(report);
begin
  if n.phase is distinct from 'creating' then
    return null;
  end if;
  update notebooks set phase = 'warming', container = report ->> 'container',
    epoch = (report ->> 'epoch')::bigint, seq = (report ->> 'seq')::bigint
  where notebook = n.notebook returning * into n;
  return to_jsonb(n);
end
$$;

create function notebook_ready(report jsonb) returns jsonb language plpgsql as $$
declare
  n notebooks := reported(report);
begin
  if n.phase is null or n.phase not in ('creating', 'warming') then
    return null;
  end if;
  update notebooks set phase = 'ready', ready_at = now(), url = report ->> 'url',
    container = coalesce(report ->> 'container', container),
    epoch = (report ->> 'epoch')::bigint, seq = (report ->> 'seq')::bigint
  where notebook = n.notebook returning * into n;
  return to_jsonb(n);
end
$$;

create function notebook_failed(report jsonb) returns jsonb language plpgsql as $$
declare
  n notebooks := reported(report);
begin
  if n.phase is null or n.phase not in ('creating', 'warming', 'ready') then
    return null;
  end if;
  update notebooks set phase = 'failed', failed_at = now(), reason = report ->> 'reason',
    detail = coalesce(report ->> 'detail', ''), exit_code = (report ->> 'exit_code')::integer,
    epoch = (report ->> 'epoch')::bigint, seq = (report ->> 'seq')::bigint
  where notebook = n.notebook returning * into n;
  return to_jsonb(n);
end
$$;

create function notebook_gone(report jsonb) returns jsonb language plpgsql as $$
declare
  n notebooks := reported(report);
begin
  if n.phase is null or n.phase in ('leased', 'gone') then
    return null;
  end if;
  update notebooks set phase = 'gone', reason = coalesce(nullif(reason, ''), 'vanished'),
    epoch = (report ->> 'epoch')::bigint, seq = (report ->> 'seq')::bigint
  where notebook = n.notebook returning * into n;
  return to_jsonb(n);
end
$$;

-- Locks first, in one order, so that two callers never wait for one another.
create function notebook_retire(ids uuid[], reason_ text) returns jsonb language plpgsql as $$
declare
  moved jsonb;
begin
  perform from notebooks where notebook = any (ids) order by notebook for update;
  with retired as (
    update notebooks set phase = 'retiring',
      reason = case when phase = 'failed' and reason <> '' then reason else reason_ end
    where notebook = any (ids) and phase in ('creating', 'warming', 'ready', 'failed')
    returning *
  )
  select coalesce(jsonb_agg(to_jsonb(r)), '[]') into moved from retired r;
  return moved;
end
$$;

-- Whoever heard that a node is lost may have heard it late: only while it is lost.
create function notebook_lose(node_ text) returns jsonb language plpgsql as $$
declare
  moved jsonb;
begin
  perform from nodes where node = node_ and state = 'lost' for share;
  if not found then
    return '[]';
  end if;
  perform from notebooks where node = node_ and phase not in ('leased', 'gone', 'lost')
  order by notebook for update;
  with lost as (
    update notebooks set phase = 'lost', reason = 'node_lost'
    where node = node_ and phase in ('creating', 'warming', 'ready', 'failed', 'retiring')
    returning *
  )
  select coalesce(jsonb_agg(to_jsonb(l)), '[]') into moved from lost l;
  return moved;
end
$$;

-- Where a held notebook's row goes, or null: it is there already, or not ours to move.
create function held_next(phase_ text, held jsonb) returns text language sql immutable as $$
  select case
    when phase_ = 'lost' and held ->> 'state' <> 'removing' then 'retiring'
    when phase_ in ('creating', 'warming', 'ready') and held ->> 'state' = 'exited' then 'failed'
    when phase_ in ('creating', 'warming') and held ->> 'state' = 'ready'
      and held ->> 'url' is not null then 'ready'
    when phase_ = 'creating' and held ->> 'state' = 'warming' then 'warming'
  end
$$;

-- Held notebooks whose report was lost: the ids that moved.
create function heal_held(report jsonb) returns uuid[] language sql as $$
  with moving as (
    select n.notebook, held_next(n.phase, h) as next, h ->> 'url' as url
    from notebooks n join jsonb_array_elements(report -> 'held') h
      on n.notebook = (h ->> 'notebook')::uuid
    where n.node = report ->> 'node' and held_next(n.phase, h) is not null
      and (n.epoch, n.seq) < ((report ->> 'epoch')::bigint, (report ->> 'seq')::bigint)
    order by n.notebook for update of n
  ), moved as (
    update notebooks n set phase = m.next,
      url = case when m.next = 'ready' then m.url else n.url end,
      ready_at = case when m.next = 'ready' then now() else n.ready_at end,
      failed_at = case when m.next = 'failed' then now() else n.failed_at end,
      reason = case m.next when 'failed' then 'exited' when 'retiring' then 'came_back'
        else n.reason end,
      epoch = (report ->> 'epoch')::bigint, seq = (report ->> 'seq')::bigint
    from moving m where n.notebook = m.notebook
    returning n.notebook
  )
  select coalesce(array_agg(notebook), '{}') from moved
$$;

-- Notebooks that a later and complete list leaves out. A `creating` one of which no report
-- spoke may be on its way: its create is repeated instead.
create function heal_absent(report jsonb) returns uuid[] language sql as $$
  with absent as (
    select n.notebook from notebooks n
    where n.node = report ->> 'node' and in_span(report, n.notebook)
      and n.phase in ('warming', 'ready', 'failed', 'retiring', 'lost')
      and (n.epoch, n.seq) < ((report ->> 'epoch')::bigint, (report ->> 'seq')::bigint)
      and not exists (
        select from jsonb_array_elements(report -> 'held') h
        where (h ->> 'notebook')::uuid = n.notebook
      )
    order by n.notebook for update
  ), moved as (
    update notebooks n set phase = 'gone', reason = coalesce(nullif(n.reason, ''), 'vanished'),
      epoch = (report ->> 'epoch')::bigint, seq = (report ->> 'seq')::bigint
    from absent a where n.notebook = a.notebook
    returning n.notebook
  )
  select coalesce(array_agg(notebook), '{}') from moved
$$;

create function notebook_inventory(report jsonb) returns jsonb language plpgsql as $$
declare
  moved uuid[];
begin
  -- Parts of one inventory have the same number: the first one writes it down.
  update sightings
  set inventory_epoch = (report ->> 'epoch')::bigint, inventory_seq = (report ->> 'seq')::bigint
  where node = report ->> 'node' and (inventory_epoch, inventory_seq)
    < ((report ->> 'epoch')::bigint, (report ->> 'seq')::bigint);
  if not exists (
    select from sightings
    where node = report ->> 'node' and (inventory_epoch, inventory_seq)
      = ((report ->> 'epoch')::bigint, (report ->> 'seq')::bigint)
  ) then
    return '[]';
  end if;
  moved := heal_held(report);
  if (report ->> 'complete')::boolean then
    moved := moved || heal_absent(report);
  end if;
  return coalesce(
    (select jsonb_agg(to_jsonb(n)) from notebooks n where n.notebook = any (moved)), '[]');
end
$$;
