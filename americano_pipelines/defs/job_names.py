"""Name the jobs, the assets of analyses and their config fields; import nothing, so that the API can name them too."""

NIGHTLY, DEEP_CHECK, ANALYSES = "nightly_sync", "deep_check", "analyse_protocols"
GROUP_ANALYSES = "analyse_groups"
# The first part of the key of an analysis.
PREFIX = "analysis"
# Fields of its config beside the parameters: the app's row, and the name of its MLflow run.
ROW_FIELD, NAME_FIELD = "analysis_run_id", "run_name"
