"""How fast, measured: ratios in one run against the hub's floor and against DockerSpawner.

floor.py     a spawner that returns a stub of the hub's own process at once
hubs.py      three hubs on one machine, each with its own proxy
people.py    people who press Start at once, and what each of them saw
machine.py   CPU seconds of the whole machine
spawn.py     `scripts/bench spawn`
table.py     the figures as a table, JSON and a plot
"""
