-- Rows whose command is unanswered: what to order again.
create function orders_due(limit_ integer) returns jsonb language plpgsql as $$
declare
  late record;
  found_ jsonb := '[]';
begin
  for late in
    with due as (
      select o.notebook from orders o join nodes n on n.node = o.node
      where o.next_at <= now() and n.state not in ('suspect', 'lost')
      order by o.next_at limit limit_ for update of o skip locked
    )
    update orders set next_at = now() + wait_seconds * interval '1 second',
      wait_seconds = least(wait_seconds * 2, 30)
    from due where orders.notebook = due.notebook
    returning orders.notebook, orders.kind
  loop
    found_ := found_ || coalesce(implied(late.notebook, late.kind), '[]');
  end loop;
  return found_;
end
$$;

-- What this notebook's row orders now; null when it is no longer of this kind.
create function implied(notebook_ uuid, kind_ text) returns jsonb language sql as $$
  select case kind_
    when 'activate' then (
      select granted(l.lease) || '{"order": "activate"}'
      from leases l where l.notebook = notebook_ and l.phase = 'claimed')
    else (
      select jsonb_build_object('order', kind_, 'notebook', to_jsonb(n), 'epoch', d.epoch,
        'spec', case kind_ when 'create' then r.spec end, 'spec_hash', r.spec_hash)
      from notebooks n
      join nodes d on d.node = n.node
      join revisions r on r.pool = n.pool and r.revision = n.revision
      where n.notebook = notebook_
        and n.phase = case kind_ when 'create' then 'creating' else 'retiring' end)
  end
$$;

create function outbox_take(limit_ integer) returns jsonb language plpgsql as $$
declare
  lines jsonb;
begin
  -- Asked twice a second by every worker, nearly always for nothing.
  if not exists (select from outbox where free_at <= now()) then
    return '[]';
  end if;
  with taken as (
    update outbox set free_at = now() + interval '5 seconds'
    where id in (
      select id from outbox where free_at <= now() order by id limit limit_ for update skip locked
    )
    returning id, day, seq
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'id', t.id, 'day', e.day, 'seq', e.seq, 'entity', e.entity, 'key', e.key,
    'version', e.version, 'phase', e.phase, 'pool', e.pool, 'node', e.node,
    'change', case when length(e.change::text) <= 8192 then e.change else '{}' end
  ) order by t.id), '[]')
  into lines
  from taken t
  -- Each by its key: a join may as well read all events of the day, and its plan is kept.
  cross join lateral (select * from events e where e.day = t.day and e.seq = t.seq limit 1) e;
  return lines;
end
$$;

create function outbox_done(ids bigint[]) returns jsonb language plpgsql as $$
begin
  -- Published twice is harmless: nobody waits for the disk.
  perform set_config('synchronous_commit', 'off', true);
  delete from outbox where id = any (ids);
  return null;
end
$$;
