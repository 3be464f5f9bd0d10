-- One pool as it shall be: {name, hash, spec}. What it did.
create function pool_apply(wanted jsonb) returns jsonb language plpgsql as $$
declare
  p pools;
  name_ text := wanted ->> 'name';
  what text := 'created';
  revision_ integer := 1;
begin
  select * into p from pools where name = name_ for update;
  if found then
    if p.phase = 'applied' and p.spec = wanted -> 'spec' then
      return jsonb_build_object('pool', name_, 'what', 'unchanged', 'revision', p.revision);
    end if;
    what := case p.phase when 'removed' then 'created' else 'changed' end;
    revision_ := p.revision + 1;
    update pools set phase = 'applied', revision = revision_, spec = wanted -> 'spec',
      spec_hash = wanted ->> 'hash', changed_at = now()
    where name = name_;
  else
    insert into pools (name, phase, revision, spec, spec_hash)
    values (name_, 'applied', revision_, wanted -> 'spec', wanted ->> 'hash');
    insert into lines (pool) values (name_);
  end if;
  insert into revisions (pool, revision, spec, spec_hash)
  values (name_, revision_, wanted -> 'spec', wanted ->> 'hash');
  return jsonb_build_object('pool', name_, 'what', what, 'revision', revision_);
end
$$;

-- `limits_`: those over all pools; null leaves them, or removes them with all that is missing.
create function pools_apply(wanted jsonb, remove_missing boolean, limits_ jsonb) returns jsonb
language plpgsql as $$
declare
  one jsonb;
  gone record;
  changes jsonb := '[]';
begin
  for one in select w from jsonb_array_elements(wanted) w order by w ->> 'name' loop
    changes := changes || pool_apply(one);
  end loop;
  if remove_missing then
    for gone in
      update pools set phase = 'removed' where phase = 'applied'
        and name not in (select w ->> 'name' from jsonb_array_elements(wanted) w)
      returning name, revision
    loop
      changes := changes || jsonb_build_object(
        'pool', gone.name, 'what', 'removed', 'revision', gone.revision);
    end loop;
  end if;
  if limits_ is not null or remove_missing then
    changes := changes || limits_apply(
      coalesce(limits_, '{"max_per_user": null, "max_per_group": {}}'));
  end if;
  return changes;
end
$$;
