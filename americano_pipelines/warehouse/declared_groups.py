"""Read which group of protocols the parameters of a phase declare, in `interventionParams.analysis.group`."""

from americano_pipelines.common.json_values import decode_json_text


def declared_group(parameters: object) -> str | None:
    """The group's key without spaces around it, None where none is declared.

    Args:
        parameters: what the phase records, as JSON, or as text of JSON.
    """
    recorded = decode_json_text(parameters)
    plan = decode_json_text(recorded.get("analysis")) if isinstance(recorded, dict) else None
    key = plan.get("group") if isinstance(plan, dict) else None
    return key.strip() or None if isinstance(key, str) else None
