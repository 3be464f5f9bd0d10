-- Sessions are opened, and plans made, while tables are small: then reading all of a table is the
-- cheapest plan, and it is kept while the table grows by a thousand times. Whoever moves one row
-- finds it by its key. Set where a call begins, it holds for all that is called from there.
do $$
declare
  move regprocedure;
begin
  for move in
    select p.oid from pg_proc p join pg_language l on l.oid = p.prolang
    where p.pronamespace = current_schema()::regnamespace and l.lanname = 'plpgsql'
      and p.prorettype = 'jsonb'::regtype and p.proname <> 'maintain'
  loop
    execute format('alter function %s set enable_seqscan = off', move);
    -- What has no index all the same looks dear then, and would be compiled each time.
    execute format('alter function %s set jit = off', move);
  end loop;
end
$$;
