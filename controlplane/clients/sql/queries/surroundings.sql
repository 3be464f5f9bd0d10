-- name: surroundings
-- A hub that was silent for a week is nobody's any more; its newest process says where it is.
select jsonb_build_object(
  'stamp', floor(extract(epoch from now()) * 1000)::bigint,
  'hubs', (
    select coalesce(jsonb_agg(to_jsonb(h) order by h.hub), '[]') from (
      select distinct on (hub) hub, api_url, clients from hubs
      where last_seen > now() - interval '7 days' order by hub, last_seen desc
    ) h),
  'nodes', (select coalesce(jsonb_object_agg(node, address), '{}') from nodes)
)::text
