"""Dated list prices of a region, from a file that says where each figure comes from.

The file has for every region up to four groups, each with a `date`, a `source` and its figures:
`lambda` (x86, the first tier), `serverless` (SageMaker Serverless Inference), `data` (what an
endpoint takes for data in and out) and `instances` (real-time hosting). What AWS has not been seen
to publish is not in it: an estimate then goes without, and says so.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).with_name("prices.json")

REQUESTS = "usd_per_million_requests"
GB_SECONDS = "usd_per_million_gb_seconds"
KEPT = "kept_usd_per_million_gb_seconds"
KEPT_DURATION = "kept_duration_usd_per_million_gb_seconds"
GB = "usd_per_gb"
PER_HOUR = "usd_per_hour"

# The figures of each group. Those of `instances` are named by type, below PER_HOUR.
FIGURES = {
    "lambda": (REQUESTS, GB_SECONDS, KEPT, KEPT_DURATION),
    "serverless": (GB_SECONDS,),
    "data": (GB,),
    "instances": (),
}


class PricesError(Exception):
    """The file of prices cannot be used: why, in one line, with what to do."""


@dataclass(frozen=True)
class Prices:
    """What one region asks, US dollars. A group that the file has not is empty."""

    region: str
    on_lambda: Mapping[str, float]
    serverless: Mapping[str, float]
    data: Mapping[str, float]
    per_hour: Mapping[str, float]
    """Real-time hosting, by instance type."""
    dates: Mapping[str, str]
    """By group."""

    @property
    def title(self) -> str:
        """Whose prices, and of when."""
        said = sorted(set(self.dates.values()))
        if len(said) == 1:
            return f"list prices of {self.region}, {said[0]}"
        parts = ", ".join(f"{group} {date}" for group, date in self.dates.items())
        return f"list prices of {self.region}: {parts}"


def load(path: Path, region: str) -> Prices:
    """The region's prices. Raises PricesError, also where the file has none for the region."""
    regions = read(path)
    if region not in regions:
        raise PricesError(
            f"no prices for {region} in {path.name}, which has {', '.join(regions)}; "
            f"`python -m ops cost --refresh --region {region}` reads them from AWS, "
            "or --prices names another file"
        )
    groups = regions[region]
    figures = {name: _figures(groups.get(name, {}), name, path, region) for name in FIGURES}
    return Prices(
        region,
        on_lambda=figures["lambda"],
        serverless=figures["serverless"],
        data=figures["data"],
        per_hour=figures["instances"],
        dates={name: str(groups[name]["date"]) for name in FIGURES if name in groups},
    )


def read(path: Path) -> dict[str, Any]:
    """The regions of a file, as they are written. Raises PricesError."""
    try:
        found = json.loads(path.read_text())
        if found["currency"] != "USD" or not isinstance(found["regions"], dict):
            raise ValueError("it holds no prices in USD")
        regions: dict[str, Any] = found["regions"]
    except OSError as error:
        raise PricesError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise PricesError(f"{path} is no file of prices: {error}; compare {SHIPPED}") from None
    return regions


def write(path: Path, regions: Mapping[str, Any]) -> None:
    """Raises PricesError."""
    try:
        path.write_text(json.dumps({"currency": "USD", "regions": regions}, indent=2) + "\n")
    except OSError as error:
        raise PricesError(f"{path}: {error.strerror}") from None


def _figures(group: Any, name: str, path: Path, region: str) -> dict[str, float]:
    where = f"{path}: {region}, {name}"
    if not group:
        return {}
    if not isinstance(group, dict) or not {"date", "source"} <= group.keys():
        raise PricesError(f"{where}: a date and a source are missing")
    found = group.get(PER_HOUR) if name == "instances" else group
    figures = {}
    for key in FIGURES[name] or (found if isinstance(found, dict) else ()):
        value = found.get(key) if isinstance(found, dict) else None
        if (price := _price(value)) is None:
            raise PricesError(f"{where}: {key} is {value!r}, and not a price")
        figures[key] = price
    return figures


def _price(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None
