# Runs at warm time, before anybody's name is known: what it exports reaches every kernel.
export GREENROOM_DEMO_HOOK=before-notebook
