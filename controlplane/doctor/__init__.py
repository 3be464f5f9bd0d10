"""`greenroom doctor`: looks at a machine and says what would keep people from warm notebooks.

Each subject has a file with its look (I/O, always with a deadline) and its judgement (pure:
what was seen -> findings). `rounds` says which of them are due and in which order.

finding      one line: ok, warn or fail; what was seen; the command that fixes it
wanted       what to look at
rounds       what is looked at, with what this machine's settings allow
services     Postgres, RabbitMQ, Redis: versions, rights, schema
hub          settings of a hub that spoil warm starts; read by `hub_reading` in the hub's Python
node         the agent's settings and kernel, and its Docker engine
trials       throw-away containers, made as the agent makes its own
inside       what runs in them
mounts       a home that is mounted after the start appears in the container
network      neighbours do not reach each other; the hub's API is reached
storage      each pool's root, and who may write in a home made by somebody else
image        Jupyter's versions, what its import costs, slow extensions

`trials` and what follows run the agent's own recipe, slots and system calls, so that what is
tried here is what will be done: they need the extra `[node]`.
"""
