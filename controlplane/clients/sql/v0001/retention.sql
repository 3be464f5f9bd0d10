-- A partition for this day, unless events of it went to the default one already.
create function make_partition(day_ date) returns void language plpgsql as $$
declare
  name_ text := 'events_' || to_char(day_, 'YYYYMMDD');
begin
  if to_regclass(name_) is null and not exists (select from events_default where day = day_) then
    execute format('create table %I partition of events for values from (%L) to (%L)',
      name_, day_, day_ + 1);
  end if;
end
$$;

-- Partitions of days before this one are dropped.
create function drop_partitions(before date) returns void language plpgsql as $$
declare
  old record;
begin
  for old in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'events'::regclass and c.relname ~ '^events_[0-9]{8}$'
      and to_date(right(c.relname, 8), 'YYYYMMDD') < before
  loop
    execute format('drop table %I', old.relname);
  end loop;
  perform set_config('greenroom.maintaining', 'on', true);
  delete from events_default where day < before;
  perform set_config('greenroom.maintaining', '', true);
end
$$;

-- One process at a time does it; the others have nothing to do. A bounded number of rows is
-- forgotten each time.
create function maintain(retention_days integer) returns jsonb language plpgsql
set timezone = 'UTC' as $$
declare
  today date := now()::date;
  before timestamptz := now() - retention_days * interval '1 day';
begin
  if not pg_try_advisory_xact_lock(hashtextextended('greenroom maintain', 0)) then
    return null;
  end if;
  -- A new partition locks `events` for a moment: rather later than a queue behind us.
  perform set_config('lock_timeout', '500ms', true);
  for ahead in 0..7 loop
    perform make_partition(today + ahead);
  end loop;
  perform drop_partitions(today - retention_days);
  delete from leases where lease in (
    select lease from leases where phase = 'ended' and phase_at < before
    limit 2000 for update skip locked);
  delete from notebooks where notebook in (
    select notebook from notebooks where phase = 'gone' and phase_at < before
    limit 2000 for update skip locked);
  -- Their node never came back.
  update notebooks set phase = 'gone' where notebook in (
    select notebook from notebooks where phase = 'lost' and phase_at < before
    limit 2000 for update skip locked);
  delete from tombstones where created_at < now() - interval '2 days';
  delete from hubs where last_seen < before;
  return null;
end
$$;

select maintain(30);
