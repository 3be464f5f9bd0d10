-- Legal moves: the same tables as controlplane/model/phases.py; a test holds the two together.
create table moves (
  entity text not null,
  phase text not null,
  next text not null,
  primary key (entity, phase, next)
);

insert into moves (entity, phase, next)
select 'notebook', phase, unnest(next)
from (values
  ('creating', array['warming', 'ready', 'retiring', 'gone', 'failed', 'lost']),
  ('warming', array['ready', 'retiring', 'gone', 'failed', 'lost']),
  ('ready', array['leased', 'retiring', 'gone', 'failed', 'lost']),
  ('leased', array['retiring', 'gone', 'lost']),
  ('retiring', array['gone', 'lost']),
  ('failed', array['retiring', 'gone', 'lost']),
  ('lost', array['retiring', 'gone'])
) as legal (phase, next)
union all
select 'lease', phase, unnest(next)
from (values
  ('waiting', array['claimed', 'ended']),
  ('claimed', array['waiting', 'serving', 'ended']),
  ('serving', array['ended'])
) as legal (phase, next)
union all
select 'node', phase, unnest(next)
from (values
  ('ready', array['cordoned', 'draining', 'suspect', 'lost']),
  ('cordoned', array['ready', 'draining', 'suspect', 'lost']),
  ('draining', array['ready', 'cordoned', 'suspect', 'lost']),
  ('suspect', array['ready', 'cordoned', 'draining', 'lost']),
  ('lost', array['ready', 'cordoned', 'draining'])
) as legal (phase, next);

create table pools (
  name text primary key,
  phase text not null check (phase in ('applied', 'removed')),
  version bigint not null default 1,
  revision integer not null check (revision > 0),
  spec jsonb not null,
  spec_hash text not null,
  changed_at timestamptz not null default now()
);

-- Every specification that was ever applied; what pools' events say as well.
create table revisions (
  pool text not null references pools (name),
  revision integer not null,
  spec jsonb not null,
  spec_hash text not null,
  created_at timestamptz not null default now(),
  primary key (pool, revision)
);

-- One row per pool. A counter, never journaled: it tells refill workers of one another.
create table lines (
  pool text primary key references pools (name),
  stamp bigint not null default 0
);

-- Places in line. Claims take one too, for the day on which their attempt fails; nobody waits
-- for a sequence.
create sequence places;

create table nodes (
  node text primary key,
  state text not null default 'ready'
    check (state in ('ready', 'cordoned', 'draining', 'suspect', 'lost')),
  version bigint not null default 1,
  epoch bigint not null,
  address text not null,
  max_notebooks integer not null,
  agent text not null default '',
  reason text not null default '',
  created_at timestamptz not null default now(),
  phase_at timestamptz not null default now()
);

-- What agents say of themselves all the time: reports, so never journaled.
create table sightings (
  node text primary key references nodes (node),
  last_seen timestamptz not null default now(),
  epoch bigint not null,
  seq bigint not null,
  inventory_epoch bigint not null default -1,
  inventory_seq bigint not null default -1,
  engine text not null default 'ok',
  unreachable_hubs text[] not null default '{}'
);

create table notebooks (
  notebook uuid primary key,
  pool text not null,
  revision integer not null,
  node text not null references nodes (node),
  phase text not null check (phase in
    ('creating', 'warming', 'ready', 'leased', 'retiring', 'gone', 'failed', 'lost')),
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  phase_at timestamptz not null default now(),
  ready_at timestamptz,
  failed_at timestamptz,
  lease uuid,
  attempt integer,
  url text,
  container text,
  reason text not null default '',
  detail text not null default '',
  exit_code integer,
  out_of_memory boolean,
  -- The newest report that moved it.
  epoch bigint not null default -1,
  seq bigint not null default -1,
  foreign key (pool, revision) references revisions (pool, revision),
  check (phase <> 'leased' or lease is not null),
  constraint notebooks_free
    check (phase not in ('creating', 'warming', 'ready', 'failed') or lease is null),
  check ((lease is null) = (attempt is null))
);

-- An attempt has one notebook, and a lease holds one notebook at a time.
create unique index notebooks_attempt on notebooks (lease, attempt) where lease is not null;
create unique index notebooks_leased on notebooks (lease) where phase = 'leased';
create index notebooks_ready on notebooks (pool, node, revision, phase_at, notebook)
  where phase = 'ready';
create index notebooks_there on notebooks (node, notebook) where phase <> 'gone';
create index notebooks_of_pool on notebooks (pool) where phase <> 'gone';
create index notebooks_failed on notebooks (pool, failed_at) where failed_at is not null;
create index notebooks_warmed on notebooks (pool, revision, node, ready_at)
  where ready_at is not null and failed_at is null;
create index notebooks_lately on notebooks (pool, ready_at)
  where ready_at is not null and failed_at is null;
create index notebooks_gone on notebooks (phase_at) where phase = 'gone';

create table leases (
  lease uuid primary key,
  hub text not null,
  hub_process text not null,
  "user" text not null,
  server text not null,
  prefix text not null,
  pool text not null,
  -- The user's groups as the hub said at the request: limits of groups count by them.
  groups jsonb not null default '[]',
  phase text not null check (phase in ('waiting', 'claimed', 'serving', 'ended')),
  version bigint not null default 1,
  attempt integer not null default 1 check (attempt between 1 and 3),
  place bigint not null,
  created_at timestamptz not null default now(),
  phase_at timestamptz not null default now(),
  deadline timestamptz not null,
  notebook uuid,
  node text,
  url text,
  sealed text,
  cold boolean not null default false,
  reason text check (reason in
    ('stopped', 'cancelled', 'superseded', 'expired', 'attempts', 'died', 'refused',
     'quota', 'hub_forgot', 'node_lost', 'admin')),
  detail text not null default '',
  traceparent text not null default '',
  stages jsonb not null default '{}',
  -- backup-ro or backup-rw: the pool's own root did not answer when it began to serve.
  home text not null default '',
  check ((phase = 'ended') = (reason is not null)),
  check (phase <> 'waiting' or (notebook is null and node is null)),
  check (phase not in ('claimed', 'serving') or (notebook is not null and node is not null)),
  check (phase <> 'serving' or url is not null),
  check (phase not in ('serving', 'ended') or sealed is null)
);

create unique index leases_open on leases (hub, "user", server) where phase <> 'ended';
create unique index leases_using on leases (notebook) where phase in ('claimed', 'serving');
create index leases_waiting on leases (pool, place) where phase = 'waiting';
create index leases_unserved on leases (deadline) where phase in ('waiting', 'claimed');
create index leases_claimed on leases (phase_at) where phase = 'claimed';
create index leases_serving on leases (phase_at) where phase = 'serving';
create index leases_on_node on leases (node) where phase in ('claimed', 'serving');
create index leases_ended on leases (phase_at) where phase = 'ended';

-- A release that came before its request.
create table tombstones (
  lease uuid primary key,
  hub text not null,
  reason text not null,
  created_at timestamptz not null default now()
);

create table hubs (
  hub text not null,
  hub_process text not null,
  api_url text not null,
  clients text[] not null default '{}',
  last_seen timestamptz not null default now(),
  primary key (hub, hub_process)
);

-- A lease that one complete inventory of its hub left out.
create table hub_misses (
  lease uuid primary key,
  missed_at timestamptz not null default now()
);

-- When the command that a notebook's row implies is repeated; the command itself follows
-- from the row. `wait_seconds` is the pause after the next time. That an agent wrote an
-- activation down is its report and no decision, so it is kept here and never journaled.
create table orders (
  notebook uuid primary key references notebooks (notebook) on delete cascade,
  kind text not null check (kind in ('create', 'activate', 'retire')),
  node text not null,
  next_at timestamptz not null default now() + interval '1 second',
  wait_seconds integer not null default 2,
  accepted_at timestamptz
);

create index orders_next on orders (next_at);

create sequence events_seq;

create table events (
  day date not null,
  seq bigint not null default nextval('events_seq'),
  at timestamptz not null default now(),
  entity text not null check (entity in ('pool', 'node', 'notebook', 'lease')),
  key text not null,
  version bigint not null,
  phase text not null,
  pool text not null default '',
  node text not null default '',
  -- The columns that changed, all of them when the row is new, null when it was forgotten.
  change jsonb,
  primary key (day, seq),
  -- In this order it is the way to the events of one row as well.
  unique (entity, key, version, day)
) partition by range (day);

create table events_default partition of events default;

create table outbox (
  id bigint generated always as identity primary key,
  day date not null,
  seq bigint not null,
  -- Taken by somebody who has until then to say that it is done.
  free_at timestamptz not null default now()
);

-- Rows of these live for a moment: what is dead is cleared away by number, not by share.
alter table outbox set
  (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
alter table orders set
  (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
alter table sightings set (fillfactor = 50);
alter table lines set (fillfactor = 50);
