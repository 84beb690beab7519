"""Give runs of an earlier release the tags under their present names.

That release wrote `americano/pid` where this one writes `.dagster/americano_pid`, which the pages of Dagster hide.
"""

import dagster as dg

from americano_pipelines.defs.run_tags import COMMAND_TAG, EARLIER, HIDDEN, PROTOCOL_NAME_TAG, REQUEST_TAG, RUN_TAG

_STILL_SO = {COMMAND_TAG, REQUEST_TAG, PROTOCOL_NAME_TAG}
_EARLIER_RUN_TAG = RUN_TAG.replace(HIDDEN, EARLIER)


def rename_earlier_tags(instance: dg.DagsterInstance) -> list[str]:
    """Add the present names of the tags of runs that have only the earlier ones; Dagster cannot remove a tag.

    One query where no run has earlier tags, else two.

    Returns:
        The ids of the runs.
    """
    earlier = _values(instance, _EARLIER_RUN_TAG)  # each run has it, with its own id
    renamed = []
    for run_id in sorted(earlier - _values(instance, RUN_TAG)) if earlier else ():
        run = instance.get_run_by_id(run_id)
        if run is None:
            continue  # it was deleted; another run, executed from it again, has a copy of its tags
        tags = {
            name.replace(EARLIER, HIDDEN, 1): value
            for name, value in run.tags.items()
            if name.startswith(EARLIER) and name not in _STILL_SO
        }
        # A tag that has its present name already is newer.
        instance.add_run_tags(run_id, {name: value for name, value in tags.items() if name not in run.tags})
        renamed.append(run_id)
    return renamed


def _values(instance: dg.DagsterInstance, tag: str) -> set[str]:
    return {value for _, values in instance.get_run_tags(tag_keys=[tag]) for value in values}
