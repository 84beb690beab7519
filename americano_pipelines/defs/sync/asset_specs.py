"""Generate the asset graph from contracts and models: keys, groups, kinds, owners, descriptions, freshness, checks.

https://docs.dagster.io/guides/build/assets/defining-assets
"""

from enum import StrEnum
from pathlib import Path
from typing import Any

import dagster as dg

from americano_pipelines.defs.jobs import EXPORTS, MIRRORS, sync_freshness
from americano_pipelines.defs.run_tags import DATA_VERSION_TAG, SKIPPED, STORAGE_KIND, TABLE_NAME, URI
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.sources.contracts import CONTRACTS, TableContract, contract_sha256
from americano_pipelines.warehouse.checks import ALL_CHECKS
from americano_pipelines.warehouse.research_models import MODELS, Model, code_sha256


class Owner(StrEnum):
    """The team that is responsible for an asset."""

    DATA = "team:data-engineering"
    RESEARCH = "team:research"


UPSTREAM_OF_TABLES = {Mode.PARQUET: "files", Mode.POSTGRES: "parquet", Mode.SCANNER: "postgres"}
"""Mode to the key prefix of the assets that the tables are built from."""


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
    """The external Parquet files (parquet mode)."""
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


def export_specs(settings: Settings) -> list[dg.AssetSpec]:
    """Our Parquet exports (postgres mode)."""
    freshness = sync_freshness(settings)
    return [
        dg.AssetSpec(
            key("parquet", contract.name),
            deps=[key("postgres", contract.name)],
            description=f"Export of the whole table at one instant. {contract.description}",
            group_name=EXPORTS,
            kinds={"parquet"},
            owners=[Owner.DATA.value],
            tags={"layer": "lake"},
            metadata={
                STORAGE_KIND: "parquet",
                URI: (settings.paths.lake / contract.name).absolute().as_uri(),
            },
            code_version=_short(contract_sha256()),
            freshness_policy=freshness,
        )
        for contract in CONTRACTS
    ]


def table_specs(settings: Settings) -> list[dg.AssetSpec]:
    """The published mirrors, views and rollups."""
    upstream = UPSTREAM_OF_TABLES[settings.mode]
    freshness = sync_freshness(settings)
    mirrors = [
        dg.AssetSpec(
            key("analytics", contract.name),
            deps=[key(upstream, contract.name)],
            description=f"Mirror of the source table. {_describe(contract)}",
            group_name=MIRRORS,
            kinds={"duckdb", "table"},
            owners=[Owner.DATA.value],
            tags={"layer": "warehouse"},
            metadata=_published_as(settings.paths.published, "analytics", contract.name),
            skippable=True,
            code_version=_short(contract_sha256()),
            freshness_policy=freshness,
        )
        for contract in CONTRACTS
    ]
    return mirrors + [_model_spec(settings.paths.published, model, freshness) for model in MODELS]


def check_specs() -> list[dg.AssetCheckSpec]:
    """The checks of the mirrors, all evaluated before a file is published."""
    return [
        dg.AssetCheckSpec(
            check.name,
            asset=key("analytics", check.table),
            description=check.description,
            blocking=check.blocking,
        )
        for check in ALL_CHECKS
    ]


ROWS_EQUAL = "rows_equal_source"
ROW_CHECKS = {contract.name: dg.AssetCheckKey(key("analytics", contract.name), ROWS_EQUAL) for contract in CONTRACTS}
"""The checks of the job `deep_check`, by table."""


def _model_spec(published: Path, model: Model, freshness: dg.FreshnessPolicy) -> dg.AssetSpec:
    return dg.AssetSpec(
        key("research", model.name),
        deps=[*(key("analytics", name) for name in model.tables), *(key("research", name) for name in model.models)],
        description=model.description,
        group_name="research",
        kinds={"duckdb", "table" if model.materialized else "view"},
        owners=[Owner.RESEARCH.value],
        tags={"layer": "research"},
        metadata=_published_as(published, "research", model.name),
        skippable=True,
        code_version=_short(code_sha256(model)),
        freshness_policy=freshness if model.materialized else None,
    )


def _published_as(published: Path, schema: str, name: str) -> dict[str, Any]:
    """Where a table is published, in the words of Dagster's catalog."""
    path = published.absolute()
    return {
        TABLE_NAME: f"{path.stem}.{schema}.{name}",
        STORAGE_KIND: "duckdb",
        URI: path.as_uri(),
    }


def _short(sha256: str) -> str:
    return sha256[:12]


def _describe(contract: TableContract) -> str:
    roles = "\n".join(f"- **{role.name}**: {role.description}" for role in contract.roles)
    return f"{contract.description}\n\nRoles its columns play:\n{roles}"


ABSENT = dg.DataVersion("absent")


def absent(prefix: str, name: str, reason: str) -> dg.MaterializeResult[None]:
    """The result for a table that the source does not have.

    An output that is left out makes Dagster skip every step downstream of it: one missing table would keep all others
    from being published, in a run that succeeds.
    """
    return dg.MaterializeResult(asset_key=key(prefix, name), metadata={SKIPPED: reason}, data_version=ABSENT)


def reported(asset_key: dg.AssetKey, metadata: dict[str, Any], state: str) -> dg.AssetMaterialization:
    """The event for an asset that was refreshed together with the selected ones."""
    return dg.AssetMaterialization(asset_key, metadata=metadata, tags={DATA_VERSION_TAG: state})
