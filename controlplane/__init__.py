"""What hub, workers and the command line share.

model       what is: phases and legal moves, pool, notebook, lease, node       pure
messages    what was seen, what is asked, what is ordered                       pure
decide      snapshot and now -> plan: refill, lease, liveness                   pure
apply       the one place where a plan becomes side effects
clients     the only code that imports a driver
spawner     JupyterHub's door
cli         the operator's door
"""
