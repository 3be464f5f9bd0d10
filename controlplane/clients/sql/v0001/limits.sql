-- What one person, or a group's members together, may have open at once.

-- Limits over all pools: the newest row counts. Only inserted, so the table is its own journal.
create table limits (
  version integer generated always as identity primary key,
  spec jsonb not null,
  applied_at timestamptz not null default now()
);

-- What it did, as `pool_apply` says it; nothing when they stay as they are.
create function limits_apply(wanted jsonb) returns jsonb language plpgsql as $$
declare
  was limits;
  fresh limits;
  none jsonb := '{"max_per_user": null, "max_per_group": {}}';
begin
  select * into was from limits order by version desc limit 1;
  if coalesce(was.spec, none) = wanted then
    return '[]';
  end if;
  insert into limits (spec) values (wanted) returning * into fresh;
  return jsonb_build_array(jsonb_build_object(
    'pool', '[limits]', 'revision', fresh.version, 'what', case
      when wanted = none then 'removed'
      when coalesce(was.spec, none) = none then 'created'
      else 'changed' end));
end
$$;

create function limits_nothing(spec jsonb) returns boolean language plpgsql immutable as $$
begin
  return spec ->> 'max_per_user' is null and coalesce(spec -> 'max_per_group', '{}') = '{}';
end
$$;

-- The limits in one specification that this request falls under; `scope_` is a pool or null.
create function limits_in(spec jsonb, ask jsonb, scope_ text)
returns table (group_ text, most integer, pool_ text) language plpgsql as $$
begin
  return query
    select null::text, (spec ->> 'max_per_user')::integer, scope_
    where spec ->> 'max_per_user' is not null
    union all
    select g.key, g.value::integer, scope_
    from jsonb_each_text(coalesce(spec -> 'max_per_group', '{}')) g
    where ask -> 'groups' ? g.key;
end
$$;

-- Which limit this request would break, in words for who asked; null when there is none.
-- What counts is locked until the end of the transaction, always people before groups and groups
-- by name: two requests at once are counted one after the other, and never wait in a ring. A
-- lease of the same server is not counted, as this request would supersede it.
create function over_limit(ask jsonb) returns text language plpgsql as $$
declare
  own jsonb := (select spec from pools where name = ask ->> 'pool');
  everywhere jsonb := (select spec from limits order by version desc limit 1);
  rule record;
  held record;
begin
  if limits_nothing(own) and limits_nothing(everywhere) then
    return null;
  end if;
  for rule in
    select * from limits_in(own, ask, ask ->> 'pool')
    union all select * from limits_in(everywhere, ask, null)
    order by 1 nulls first, 3 nulls last
  loop
    perform pg_advisory_xact_lock(hashtextextended(jsonb_build_array(
      ask -> 'hub', case when rule.group_ is null then ask -> 'user' end, rule.group_)::text, 3));
    select count(*) as number, array_agg(l.server order by l.server) as servers into held
    from leases l
    where l.hub = ask ->> 'hub' and l.phase <> 'ended'
      and (rule.pool_ is null or l.pool = rule.pool_)
      and case when rule.group_ is null then l."user" = ask ->> 'user'
        else l.groups ? rule.group_ end
      and (l."user", l.server) is distinct from (ask ->> 'user', ask ->> 'server');
    if held.number >= rule.most then
      return limit_said(rule.group_, rule.most, rule.pool_, held.number::integer, held.servers);
    end if;
  end loop;
  return null;
end
$$;

create function limit_said(
  group_ text, most integer, pool_ text, open_ integer, servers text[]
) returns text language plpgsql as $$
declare
  notebooks text := format('%s notebook%s%s', open_, case when open_ = 1 then '' else 's' end,
    case when pool_ is null then '' else ' of pool ' || pool_ end);
  another text := case when pool_ is null then '' else ', or choose another pool' end;
  mine text;
begin
  if group_ is not null then
    return format(
      'the members of group %s have %s, and %s is the limit for all of them together: try again '
      'when one of them has stopped%s', left(group_, 80), notebooks, most, another);
  end if;
  select string_agg(case when s = '' then 'your default server' else left(s, 80) end, ', ')
  into mine from unnest(servers[:5]) s;
  return format('you have %s already (%s), and %s is the limit for one person: stop one first%s',
    notebooks, mine || case when open_ > 5 then ', ...' else '' end, most, another);
end
$$;
