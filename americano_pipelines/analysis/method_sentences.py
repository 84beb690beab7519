"""Write what the methods paragraphs of all randomization tests say alike: direction, sides of the test, interval."""

from americano_pipelines.analysis.declared_improvement import DeclaredImprovement
from americano_pipelines.statistics.verdict import percent


def better_in_words(declared: DeclaredImprovement) -> str:
    """Which way is better, or why that is not known."""
    return {"increase": "higher is better", "decrease": "lower is better", None: declared.undeclared}[declared.better]


def sides_in_words(direction: str) -> str:
    """Whether the test is one-sided, from the parameter `direction`."""
    if direction == "either":
        return "two-sided: p is twice the smaller of the two one-sided p values"
    return f"one-sided ({direction})"


def interval_sentence(alpha: float) -> str:
    """What the interval of the effect is, from the level of the test."""
    return (
        f"The two-sided {percent(1 - alpha)} interval of the effect holds the constant effects that the two-sided test "
        "does not reject."
    )
