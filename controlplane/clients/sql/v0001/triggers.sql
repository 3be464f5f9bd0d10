-- Raises GR002 when the tables of legal moves do not have this one.
create function must_be_legal(entity_ text, phase_ text, next_ text) returns void
language plpgsql as $$
begin
  if not exists (
    select from moves m where m.entity = entity_ and m.phase = phase_ and m.next = next_
  ) then
    raise exception 'a % never moves from % to %', entity_, phase_, next_ using errcode = 'GR002';
  end if;
end
$$;

-- Raises GR002 when a column that is written once is written again, and names it. Called when a
-- comparison of the columns says so: rows as JSON for each move cost a tenth of it.
create function must_stay(entity_ text, was jsonb, is_now jsonb, variadic columns_ text[])
returns void language plpgsql as $$
declare
  name_ text;
begin
  foreach name_ in array columns_ loop
    if was -> name_ is distinct from is_now -> name_ then
      raise exception 'the % of a % is written once', name_, entity_ using errcode = 'GR002';
    end if;
  end loop;
end
$$;

create function guard_pool() returns trigger language plpgsql as $$
begin
  if new is not distinct from old then
    return null;
  end if;
  perform must_stay('pool', to_jsonb(old), to_jsonb(new), 'name');
  new.version := old.version + 1;
  return new;
end
$$;

create function guard_node() returns trigger language plpgsql as $$
begin
  if new is not distinct from old then
    return null;
  end if;
  perform must_stay('node', to_jsonb(old), to_jsonb(new), 'node', 'created_at');
  if new.epoch < old.epoch then
    raise exception 'the epoch of node % only grows', new.node using errcode = 'GR002';
  end if;
  if new.state <> old.state then
    perform must_be_legal('node', old.state, new.state);
    new.phase_at := now();
  end if;
  new.version := old.version + 1;
  return new;
end
$$;

create function guard_notebook() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    if old.phase <> 'gone' then
      raise exception 'only a notebook that is gone is forgotten' using errcode = 'GR002';
    end if;
    return old;
  end if;
  if new is not distinct from old then
    return null;
  end if;
  if (new.notebook, new.pool, new.revision, new.node, new.created_at)
    is distinct from (old.notebook, old.pool, old.revision, old.node, old.created_at)
  then
    perform must_stay('notebook', to_jsonb(old), to_jsonb(new),
      'notebook', 'pool', 'revision', 'node', 'created_at');
  end if;
  if old.lease is not null and (new.lease, new.attempt) is distinct from (old.lease, old.attempt)
  then
    perform must_stay('notebook', to_jsonb(old), to_jsonb(new), 'lease', 'attempt');
  end if;
  if new.phase <> old.phase then
    perform must_be_legal('notebook', old.phase, new.phase);
    new.phase_at := now();
  end if;
  new.version := old.version + 1;
  return new;
end
$$;

create function guard_lease() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    if old.phase <> 'ended' then
      raise exception 'only a lease that ended is forgotten' using errcode = 'GR002';
    end if;
    return old;
  end if;
  -- The seal is kept until an attempt serves or the lease ends, never longer.
  if new.phase in ('serving', 'ended') then
    new.sealed := null;
  end if;
  if tg_op = 'INSERT' then
    return new;
  end if;
  if new is not distinct from old then
    return null;
  end if;
  if (new.lease, new.hub, new."user", new.server, new.prefix, new.pool, new.place, new.created_at)
    is distinct from
    (old.lease, old.hub, old."user", old.server, old.prefix, old.pool, old.place, old.created_at)
  then
    perform must_stay('lease', to_jsonb(old), to_jsonb(new),
      'lease', 'hub', 'user', 'server', 'prefix', 'pool', 'place', 'created_at');
  end if;
  -- Whoever comes back for a place in line has more time; an order was given its time once.
  if new.deadline <> old.deadline
    and (old.phase <> 'waiting' or new.phase <> 'waiting' or new.deadline < old.deadline)
  then
    perform must_stay('lease', to_jsonb(old), to_jsonb(new), 'deadline');
  end if;
  if new.phase <> old.phase then
    perform must_be_legal('lease', old.phase, new.phase);
    new.phase_at := now();
  end if;
  if new.attempt <> old.attempt + (old.phase = 'claimed' and new.phase = 'waiting')::int then
    raise exception 'the attempt of a lease is counted when it waits again' using errcode = 'GR002';
  end if;
  new.version := old.version + 1;
  return new;
end
$$;

create trigger guard before update on pools for each row execute function guard_pool();
create trigger guard before update on nodes for each row execute function guard_node();
create trigger guard before update or delete on notebooks
  for each row execute function guard_notebook();
create trigger guard before insert or update or delete on leases
  for each row execute function guard_lease();

-- Whether a queue is bound to what the outbox would publish of this move: lines that nobody
-- hears are not written, moved and deleted again. A test holds this and the topology together.
create function is_heard(entity_ text, phase_ text) returns boolean
language plpgsql immutable as $$
begin
  return case entity_
    when 'notebook' then phase_ in ('ready', 'leased', 'failed', 'gone')
    when 'lease' then phase_ = 'waiting'
    else true
  end;
end
$$;

-- Arguments: entity, key column, phase column. UTC, so that a row reads the same for everybody.
create function journal() returns trigger language plpgsql set timezone = 'UTC' as $$
declare
  was jsonb := '{}';
  is_now jsonb;
  change_ jsonb;
  day_ date := now()::date;
  seq_ bigint;
begin
  if tg_op = 'DELETE' then
    was := to_jsonb(old);
    insert into events (day, entity, key, version, phase)
    values (day_, tg_argv[0], was ->> tg_argv[1], (was ->> 'version')::bigint + 1, 'forgotten');
    return null;
  end if;
  is_now := to_jsonb(new) - 'sealed';
  if tg_op = 'UPDATE' then
    was := to_jsonb(old) - 'sealed';
  end if;
  select jsonb_object_agg(key, value) into change_
  from jsonb_each(is_now) where tg_op = 'INSERT' or was -> key is distinct from value;
  insert into events (day, entity, key, version, phase, pool, node, change)
  values (
    day_, tg_argv[0], is_now ->> tg_argv[1], (is_now ->> 'version')::bigint,
    is_now ->> tg_argv[2],
    coalesce(case tg_argv[0] when 'pool' then is_now ->> 'name' else is_now ->> 'pool' end, ''),
    coalesce(is_now ->> 'node', ''),
    change_
  )
  returning seq into seq_;
  if is_heard(tg_argv[0], is_now ->> tg_argv[2]) then
    insert into outbox (day, seq) values (day_, seq_);
  end if;
  return null;
end
$$;

create trigger journal after insert or update on pools
  for each row execute function journal('pool', 'name', 'phase');
create trigger journal after insert or update on nodes
  for each row execute function journal('node', 'node', 'state');
create trigger journal after insert or update or delete on notebooks
  for each row execute function journal('notebook', 'notebook', 'phase');
create trigger journal after insert or update or delete on leases
  for each row execute function journal('lease', 'lease', 'phase');

create function insert_only() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and current_setting('greenroom.maintaining', true) = 'on' then
    return old;
  end if;
  raise exception 'events are only inserted' using errcode = 'GR002';
end
$$;

create trigger insert_only before update or delete on events
  for each row execute function insert_only();

-- creating -> create, leased -> activate, retiring -> retire; any other phase implies nothing.
create function notebook_implies() returns trigger language plpgsql as $$
declare
  kind_ text := case new.phase
    when 'creating' then 'create' when 'leased' then 'activate' when 'retiring' then 'retire' end;
begin
  if kind_ is null then
    delete from orders where notebook = new.notebook;
  else
    insert into orders (notebook, kind, node) values (new.notebook, kind_, new.node)
    on conflict (notebook) do update
      set kind = excluded.kind, next_at = excluded.next_at, wait_seconds = excluded.wait_seconds,
        accepted_at = null;
  end if;
  return null;
end
$$;

create trigger implies_new after insert on notebooks
  for each row execute function notebook_implies();
create trigger implies after update on notebooks
  for each row when (old.phase <> new.phase) execute function notebook_implies();

-- Served: nothing is to be ordered any more.
create function lease_implies() returns trigger language plpgsql as $$
begin
  delete from orders where notebook = new.notebook and kind = 'activate';
  return null;
end
$$;

create trigger implies after update on leases
  for each row when (old.phase = 'claimed' and new.phase = 'serving')
  execute function lease_implies();
