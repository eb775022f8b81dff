"""The papers' experiments, a folder for each family; ``python -m experiments.<family> <experiment> --help``.

An experiment is a frozen dataclass, whose fields are its protocol and the flags of its command, and ``run(config)``:
``_run.Run`` makes the folder ``runs/<family>-<experiment>/<name>`` and writes table and result at the end,
``_grid.fill`` scores the cells of a table, ``_training`` minimizes over minibatches and evaluates in batches,
``_images`` loads and splits images, ``_pictures`` saves figures. ``__main__`` of the family lists the commands, the
Makefile has a target for each, and what one experiment alone needs lies in its family's folder.
"""
