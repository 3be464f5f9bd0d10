"""How fast, measured: ratios in one run against the hub's floor and against DockerSpawner.

spawn.py     `scripts/bench spawn`: the same click on three hubs, and scenes
endure.py    `scripts/bench endure`: hundreds of leases on real Docker
warmth.py    `scripts/bench warmth`: what waiting costs
deaths.py    `scripts/bench deaths`: how soon a hub knows that a notebook died
hubs.py      three hubs on one machine, each with its own proxy
floor.py     a spawner that returns a stub of the hub's own process at once
schedule.py  which run comes when, and how long that takes
bursts.py    one run: rest, clicks, leaving
scenes.py    a dry pool; everybody once more
arrivals.py  people who come one by one
people.py    people who press Start, and what each of them saw
stock.py     the pool and its leases, by Postgres
stages.py    where the milliseconds of starts were
runs.py      what a run measured, written down as soon as it is over
machine.py   CPU seconds of the whole machine
memory.py    memory of processes, and whether it grows
goals.py     what must be reached, and whether it was
table.py     tables; plots.py: pictures; report.py: both, and JSON

leases.py    `scripts/bench leases`: the lease path alone
lease_*.py   its processes, its hub, its judge, its table
durable.py   what the services say of their promises
cpu.py       CPU seconds by process
simulated/   nodes without Docker, for thousands of notebooks

crowd.py     `scripts/crowd N`: the demo with everybody at once, to watch
"""
