-- name: dry_click
-- One person's way from the request to the end, with a house of its own, all of it undone:
-- afterwards this session has every function and trigger compiled and every table looked up.
do $$
declare
  own text := 'dry-' || gen_random_uuid();
  first uuid := gen_random_uuid();
  second uuid := gen_random_uuid();
  lease_ uuid := gen_random_uuid();
  seen jsonb := jsonb_build_object('node', own, 'epoch', 1);
  ask jsonb := jsonb_build_object(
    'lease', lease_, 'hub', own, 'hub_process', own, 'user', own, 'server', '', 'prefix', '/',
    'pool', own, 'groups', '[]'::jsonb, 'budget_ms', 60000, 'sealed', '');
  run jsonb := jsonb_build_object('lease', lease_, 'attempt', 2, 'notebook', second, 'url', '');
begin
  -- Nothing will be there that a disk could keep.
  perform set_config('synchronous_commit', 'off', true);
  begin
    perform pool_apply(jsonb_build_object('name', own, 'hash', '', 'spec', '{"groups": []}'::jsonb));
    perform node_hello(seen || '{"seq": 1, "address": "", "max_notebooks": 2}');
    perform notebook_create(own, 1, jsonb_build_object(first, own, second, own), 0);
    perform notebook_ready(seen || jsonb_build_object('notebook', first, 'seq', 2));
    perform lease_request(ask, first);
    perform lease_attempt_failed(lease_, 1, first, 'refused', '', false);
    perform notebook_ready(seen || jsonb_build_object('notebook', second, 'seq', 3));
    perform lease_match(own, 1);
    perform lease_accepted(jsonb_build_array(run));
    perform lease_serve(run);
    perform lease_release(lease_, own, 'stopped');
    perform orders_due(0), outbox_take(0), outbox_done('{}');
    assert lease_get(lease_) #>> '{lease,reason}' = 'stopped', 'the dry click went another way';
    raise exception 'undo all of it' using errcode = 'GR003';
  exception when sqlstate 'GR003' then
    null;
  end;
end
$$
