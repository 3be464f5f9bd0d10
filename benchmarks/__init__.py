"""How fast, measured: ratios in one run against the hub's floor and against DockerSpawner.

spawn.py     `scripts/bench spawn`: the same click on three hubs
floor.py     a spawner that returns a stub of the hub's own process at once
hubs.py      three hubs on one machine, each with its own proxy
people.py    people who press Start at once, and what each of them saw
machine.py   CPU seconds of the whole machine
table.py     the figures as a table, JSON and a plot

leases.py    `scripts/bench leases`: the lease path alone
lease_*.py   its processes, its hub, its judge, its table
durable.py   what the services say of their promises
cpu.py       CPU seconds by process
simulated/   nodes without Docker, for thousands of notebooks

crowd.py     `scripts/crowd N`: the demo with everybody at once, to watch
"""
