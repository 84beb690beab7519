"""Name the run tags and metadata keys that programs read. Everything else in a run's metadata is for people."""

# The process that executes a run.
RUN_TAG = "americano/run"
HOST_TAG, PID_TAG, STARTED_TAG = "americano/host", "americano/pid", "americano/process_started"
# The file that this process holds locked, the Dagster home that the file is in, the start of the machine and the
# namespace that its process id counts in.
OWNER_TAG, HOME_TAG = "americano/owner", "americano/home"
BOOT_TAG, NAMESPACE_TAG = "americano/boot", "americano/pid_namespace"

# What launched a run: a command of ours, or a row of the app by its id.
COMMAND_TAG, REQUEST_TAG = "americano/command", "americano/request"

# Where the MLflow run of a Dagster run is, and the status that it has as far as Dagster's records show.
PLACE_TAG, EXPERIMENT_TAG = "americano/mlflow_place", "americano/mlflow_experiment"
STATUS_TAG = "americano/mlflow_status"
OPEN = "RUNNING"
# The app's rows of a run: `americano/row.<id>` for each, open until the row is known to show the true end.
# `americano/rows` is open while any of them may be, because runs are found by whole tags only.
ROW_TAG, ROWS_TAG = "americano/row.", "americano/rows"
# A row that the run never had is `missed`.
ROW_OPEN, ROW_RECONCILED, ROW_MISSED = "open", "settled", "missed"

# Dagster's own tags. By the first the pages of a job list its runs: without it they miss those that a shell started.
# The value is that of the code location in workspace.yaml.
REPOSITORY = {".dagster/repository": "__repository__@americano_pipelines"}
PARTITION_TAG, RUN_KEY_TAG, DATA_VERSION_TAG = "dagster/partition", "dagster/run_key", "dagster/data_version"
LAUNCHER_TAGS = ("dagster/schedule_name", "dagster/sensor_name", "dagster/backfill")

# Metadata of a failure: the class of its error.
ERROR_KIND = "americano/error_kind"
# Metadata of an analysis: the hash of its record.
RECORD_SHA256 = "americano/provenance_sha256"
# Metadata of a sync: seconds per stage, whether a new file was published, whether a table is as before, why one is
# skipped, files of the lake that were damaged or gone and were exported again.
SECONDS, NEW_SNAPSHOT, UNCHANGED = "americano/seconds", "americano/new_snapshot", "americano/unchanged"
SKIPPED, REPAIRED = "americano/skipped", "americano/repaired"
