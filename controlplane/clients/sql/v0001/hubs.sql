create function hub_hello(hub_ text, process_ text, api_url_ text, clients_ text[]) returns jsonb
language plpgsql as $$
begin
  insert into hubs (hub, hub_process, api_url, clients)
  values (hub_, process_, api_url_, clients_)
  on conflict (hub, hub_process) do update
  set api_url = excluded.api_url, clients = excluded.clients, last_seen = now();
  perform from leases where hub = hub_ and phase <> 'ended' and hub_process <> process_
  order by lease for update;
  update leases set hub_process = process_
  where hub = hub_ and phase <> 'ended' and hub_process <> process_;
  return null;
end
$$;

-- Ended leases that a hub still knows: it never heard, or its process is a new one.
create function unheard(hub_ text, process_ text, known uuid[]) returns jsonb language sql as $$
  select coalesce(jsonb_agg(
    jsonb_set(granted(l.lease), '{lease, hub_process}', to_jsonb(process_)) order by l.lease), '[]')
  from leases l
  where l.lease = any (known) and l.hub = hub_ and l.phase = 'ended'
    and l.phase_at <= now() - interval '5 seconds'
$$;

-- What a hub knows of its leases from one id up to another, the latter not included.
create function hub_inventory(hub_ text, process_ text, known uuid[], from_ uuid, to_ uuid)
returns jsonb language plpgsql as $$
declare
  l leases;
  first_miss timestamptz;
  moved jsonb := '[]';
begin
  update hubs set last_seen = now() where hub = hub_ and hub_process = process_;
  delete from hub_misses where lease = any (known);
  for l in
    select * from leases where hub = hub_ and phase <> 'ended' and not (lease = any (known))
      and lease >= from_ and lease < to_ and phase_at <= now() - interval '15 seconds'
    order by lease for update skip locked
  loop
    insert into hub_misses (lease) values (l.lease) on conflict (lease) do nothing;
    select missed_at into first_miss from hub_misses where lease = l.lease;
    if first_miss < l.phase_at + interval '15 seconds' then
      -- The lease moved since: the hub was answered again.
      update hub_misses set missed_at = now() where lease = l.lease;
    elsif first_miss <= now() - interval '5 seconds' then
      moved := moved || granted(l.lease, end_lease(l, 'hub_forgot'));
    end if;
  end loop;
  return moved || unheard(hub_, process_, known);
end
$$;
