"""Loads a shape into Polars and keeps it live: python arrow_polars.py 'http://localhost:3000/v1/shape?table=issues'"""

import sys

import polars as pl
from arrow_messages import messages

rows = None
for table in messages(sys.argv[1]):
    if table is None:
        rows = None
        continue
    # Rows are always whole, so the last message of a key says all.
    changes = pl.from_arrow(table).filter(pl.col("operation").is_not_null())
    changes = changes.unique("key", keep="last", maintain_order=True)
    added = changes.filter(pl.col("operation") != "delete").select("key", "value")
    rows = added if rows is None else pl.concat([rows.join(changes, on="key", how="anti"), added])
    print(f"{len(rows)} rows", rows.select("value").unnest("value"), sep="\n", flush=True)
