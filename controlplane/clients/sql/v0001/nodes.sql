create function node_row(node_ text) returns jsonb language sql as $$
  select to_jsonb(n)
    || jsonb_build_object('last_seen', s.last_seen, 'unreachable_hubs', s.unreachable_hubs)
  from nodes n join sightings s on s.node = n.node where n.node = node_
$$;

-- Any report of a known node is a sign of life. What its heartbeats say stays as it is.
create function node_seen(report jsonb) returns jsonb language sql as $$
  insert into sightings (node, epoch, seq)
  select n.node, (report ->> 'epoch')::bigint, (report ->> 'seq')::bigint
  from nodes n where n.node = report ->> 'node'
  on conflict (node) do update
  set last_seen = now(), epoch = excluded.epoch, seq = excluded.seq
  where (sightings.epoch, sightings.seq) < (excluded.epoch, excluded.seq);
  select null::jsonb
$$;

create function node_hello(report jsonb) returns jsonb language plpgsql as $$
declare
  name_ text := report ->> 'node';
  epoch_ bigint := report ->> 'epoch';
  known nodes;
begin
  insert into nodes (node, epoch, address, max_notebooks, agent)
  values (name_, epoch_, report ->> 'address', (report ->> 'max_notebooks')::integer,
    coalesce(report ->> 'version', ''))
  on conflict (node) do nothing;
  select * into known from nodes where node = name_ for update;
  if epoch_ >= known.epoch then
    update nodes set epoch = epoch_, address = report ->> 'address',
      max_notebooks = (report ->> 'max_notebooks')::integer,
      agent = coalesce(report ->> 'version', '')
    where node = name_;
    perform node_seen(report);
  end if;
  if epoch_ > known.epoch then
    -- The new agent may have lost what the old one was told.
    perform from orders where node = name_ order by notebook for update;
    update orders set next_at = now() where node = name_;
  end if;
  return node_row(name_);
end
$$;

create function node_heartbeats(reports jsonb) returns jsonb language plpgsql as $$
begin
  -- A lost heartbeat is followed by the next one: nobody waits for the disk.
  perform set_config('synchronous_commit', 'off', true);
  perform from sightings where node in (select r ->> 'node' from jsonb_array_elements(reports) r)
  order by node for update;
  update sightings s set last_seen = now(), epoch = b.epoch, seq = b.seq, engine = b.engine,
    unreachable_hubs = b.unreachable_hubs
  from (
    select distinct on (r ->> 'node') r ->> 'node' as node, (r ->> 'epoch')::bigint as epoch,
      (r ->> 'seq')::bigint as seq, coalesce(r ->> 'engine', 'ok') as engine,
      array(select jsonb_array_elements_text(coalesce(r -> 'unreachable_hubs', '[]')))
        as unreachable_hubs
    from jsonb_array_elements(reports) r
    order by r ->> 'node', (r ->> 'epoch')::bigint desc, (r ->> 'seq')::bigint desc
  ) b
  where s.node = b.node and (s.epoch, s.seq) < (b.epoch, b.seq);
  return null;
end
$$;

-- Compare-and-set; null when it was moved since, or is there already.
create function node_move(node_ text, state_ text, reason_ text, version_ bigint) returns jsonb
language plpgsql as $$
begin
  update nodes set state = state_, reason = reason_
  where node = node_ and version = version_ and state <> state_;
  if not found then
    return null;
  end if;
  return node_row(node_);
end
$$;
