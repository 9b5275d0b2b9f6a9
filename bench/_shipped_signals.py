"""Make the shipped supply series from the hourly CSV files they come from.

Run: python bench/_shipped_signals.py FOLDER [--check]. FOLDER holds us_grid_hourly_2022.csv,
eu_grid_hourly_2020.csv, de_lu_price_hourly_2024_2025.csv and pv_wind_typical_year_hourly.csv; their
origin, licence and transformation are in NOTICE. Numbers are kept as whole multiples of the last
decimal of the source, so nothing is lost. With --check nothing is written; the exit code is 1 when
what is shipped differs.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

TARGET = Path(__file__).parents[1] / "src" / "baseload" / "sources" / "data"
CARBON = ("ci_lifecycle_g_per_kwh", 10, pl.Int16)
PRICE = ("day_ahead_eur_per_mwh", 100, pl.Int32)
YEAR = {
    "pv": ("pv_ac_kw_per_kwdc", 10_000, pl.Int16),
    "wind": ("wind_cf_100m", 10_000, pl.Int16),
    "temperature": ("temp_air_c", 10, pl.Int16),
}


def scaled(table: pl.DataFrame, name: str, column: str, scale: int, dtype: type) -> pl.Series:
    """The column as whole multiples of 1/scale; refuses to lose a digit."""
    exact = table[column] * scale
    whole = exact.round(0)
    assert (exact - whole).abs().max() < 1e-6, f"{name}: more decimals than 1/{scale}"
    return whole.cast(dtype).alias(name)


def check_hours(table: pl.DataFrame, time: str, first: str, hours: int) -> None:
    """Refuse a table whose rows are not every hour from ``first``."""
    begin = datetime.fromisoformat(first)
    wanted = [(begin + timedelta(hours=hour)).isoformat() for hour in range(hours)]
    assert table[time].str.head(19).to_list() == wanted, f"hours from {first} are not complete"


def tables(folder: Path) -> dict[str, pl.DataFrame]:
    """The shipped tables by file name."""
    us = pl.read_csv(folder / "us_grid_hourly_2022.csv")
    eu = pl.read_csv(folder / "eu_grid_hourly_2020.csv")
    price = pl.read_csv(folder / "de_lu_price_hourly_2024_2025.csv")
    year = pl.read_csv(folder / "pv_wind_typical_year_hourly.csv")
    carbon = {"carbon_us_2022": [], "carbon_eu_2020": []}
    for region in sorted(us["region"].unique()):
        part = us.filter(pl.col("region") == region)
        check_hours(part, "timestamp_utc", "2022-01-01", 8760)
        carbon["carbon_us_2022"].append(scaled(part, region, *CARBON))
    for region in sorted(eu["region"].unique()):
        part = eu.filter(pl.col("region") == region)
        check_hours(part, "timestamp_source", "2020-01-01", 8784)
        carbon["carbon_eu_2020"].append(scaled(part, region, *CARBON))
    check_hours(price, "timestamp_utc", "2024-01-01", 17_544)
    typical = []
    for region in sorted(year["region"].unique()):
        part = year.filter(pl.col("region") == region)
        assert part["hour_of_year"].to_list() == list(range(8760))
        typical += [scaled(part, f"{what}/{region}", *how) for what, how in YEAR.items()]
    return {
        **{name: pl.DataFrame(columns) for name, columns in carbon.items()},
        "price_de_lu_2024_2025": pl.DataFrame([scaled(price, "DE-LU", *PRICE)]),
        "typical_year": pl.DataFrame(typical),
    }


def main() -> int:
    """Write or compare, and say so."""
    made = tables(Path(sys.argv[1]))
    same = True
    for name, table in made.items():
        path = TARGET / f"{name}.parquet"
        if "--check" in sys.argv:
            same &= pl.read_parquet(path).equals(table, null_equal=True)
        else:
            table.write_parquet(path, compression="zstd", compression_level=22)
            print(f"{path.name}: {table.height} rows, {path.stat().st_size} bytes")
    if "--check" in sys.argv:
        print("shipped series", "are reproduced" if same else "differ")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
