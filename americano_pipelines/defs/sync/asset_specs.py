"""The asset graph: keys, groups, kinds, owners and descriptions, generated from contracts and models.

https://docs.dagster.io/guides/build/assets/defining-assets
"""

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from typing import Any

import dagster as dg

from americano_pipelines.defs.run_tags import DATA_VERSION_TAG, SKIPPED
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.contracts import CONTRACTS, TableContract
from americano_pipelines.warehouse.checks import ALL_CHECKS
from americano_pipelines.warehouse.research_models import MODELS, Model


class Owner(StrEnum):
    """Who looks after an asset."""

    DATA = "team:data-engineering"
    RESEARCH = "team:research"


# The schedule runs daily; a run takes minutes. Past a day and two hours somebody should look.
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))

# Dagster has no public constant for it; an event with this tag carries its asset's data version.

UPSTREAM_OF_TABLES = {Mode.PARQUET: "files", Mode.POSTGRES: "parquet", Mode.SCANNER: "postgres"}
"""The key prefix of what the tables are built from, by mode."""


def key(*parts: str) -> dg.AssetKey:
    """An asset key from its parts."""
    return dg.AssetKey(list(parts))


def key_of(dotted: str, upstream: str) -> dg.AssetKey:
    """The key of `analytics.<table>`, `research.<model>` or `source.<table>` as a build names them."""
    schema, _, name = dotted.partition(".")
    return key(upstream if schema == "source" else schema, name)


def postgres_specs() -> list[dg.AssetSpec]:
    """The app's tables, which we only read."""
    return [
        dg.AssetSpec(
            key("postgres", contract.name),
            description=_describe(contract),
            group_name="source",
            kinds={"postgres"},
            owners=[Owner.DATA.value],
            tags={"layer": "source"},
        )
        for contract in CONTRACTS
    ]


def file_specs(settings: Settings) -> list[dg.AssetSpec]:
    """Exports made by others (parquet mode)."""
    return [
        dg.AssetSpec(
            key("files", contract.name),
            description=_describe(contract),
            group_name="source",
            kinds={"parquet"},
            owners=[Owner.DATA.value],
            tags={"layer": "source"},
            metadata={"path": dg.MetadataValue.path(str(settings.parquet_input(contract.name)))},
        )
        for contract in CONTRACTS
    ]


def export_specs() -> list[dg.AssetSpec]:
    """Our Parquet exports (postgres mode)."""
    return [
        dg.AssetSpec(
            key("parquet", contract.name),
            deps=[key("postgres", contract.name)],
            description=f"Export of the whole table at one instant. {contract.description}",
            group_name="parquet",
            kinds={"parquet"},
            owners=[Owner.DATA.value],
            tags={"layer": "lake"},
            freshness_policy=FRESHNESS,
        )
        for contract in CONTRACTS
    ]


def table_specs(mode: Mode) -> list[dg.AssetSpec]:
    """The published mirrors, views and rollups."""
    upstream = UPSTREAM_OF_TABLES[mode]
    mirrors = [
        dg.AssetSpec(
            key("analytics", contract.name),
            deps=[key(upstream, contract.name)],
            description=f"Mirror of the source table, in time order. {_describe(contract)}",
            group_name="analytics",
            kinds={"duckdb", "table"},
            owners=[Owner.DATA.value],
            tags={"layer": "warehouse"},
            skippable=True,
            freshness_policy=FRESHNESS,
        )
        for contract in CONTRACTS
    ]
    return mirrors + [_model_spec(model) for model in MODELS]


def check_specs(prefix: str = "analytics") -> list[dg.AssetCheckSpec]:
    """The checks of the mirrors, all evaluated before a file is published."""
    return [
        dg.AssetCheckSpec(
            check.name,
            asset=key(prefix, check.table),
            description=check.description,
            blocking=check.blocking,
        )
        for check in ALL_CHECKS
    ]


def keys(specs: Iterable[dg.AssetSpec]) -> set[dg.AssetKey]:
    """The keys of specs."""
    return {spec.key for spec in specs}


def _model_spec(model: Model) -> dg.AssetSpec:
    return dg.AssetSpec(
        key("research", model.name),
        deps=[*(key("analytics", name) for name in model.tables), *(key("research", name) for name in model.models)],
        description=model.description,
        group_name="research",
        kinds={"duckdb", "table" if model.materialized else "view"},
        owners=[Owner.RESEARCH.value],
        tags={"layer": "research"},
        skippable=True,
        freshness_policy=FRESHNESS if model.materialized else None,
    )


def _describe(contract: TableContract) -> str:
    roles = "\n".join(f"- **{role.name}**: {role.description}" for role in contract.roles)
    return f"{contract.description}\n\nRoles its columns play:\n{roles}"


ABSENT = dg.DataVersion("absent")


def absent(prefix: str, name: str, reason: str) -> dg.MaterializeResult[None]:
    """The result for a table that the source does not have.

    Not simply left out: Dagster skips every step downstream of an output that is left out, so one table that
    is not there would keep all the others from being published, in a run that calls itself a success.
    """
    return dg.MaterializeResult(asset_key=key(prefix, name), metadata={SKIPPED: reason}, data_version=ABSENT)


def reported(asset_key: dg.AssetKey, metadata: dict[str, Any], state: str) -> dg.AssetMaterialization:
    """The event for an asset that was refreshed together with the selected ones."""
    return dg.AssetMaterialization(asset_key, metadata=metadata, tags={DATA_VERSION_TAG: state})
