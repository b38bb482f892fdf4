"""Loads a shape into DuckDB and keeps it live: python arrow_duckdb.py 'http://localhost:3000/v1/shape?table=issues'"""

import sys

import duckdb
from arrow_messages import messages

db = duckdb.connect()  # Or a file.
for table in messages(sys.argv[1]):
    if table is None:
        db.execute("DROP TABLE IF EXISTS issues")
        continue
    db.register("messages", table)
    db.begin()
    db.execute("CREATE TABLE IF NOT EXISTS issues AS SELECT key, value FROM messages LIMIT 0")
    db.execute("DELETE FROM issues WHERE key IN (SELECT key FROM messages)")
    # Rows are always whole, so the last message of a key says all.
    db.execute("""
        INSERT INTO issues
        SELECT key, value FROM (
          FROM messages WHERE operation IS NOT NULL
          QUALIFY row_number() OVER (PARTITION BY key ORDER BY lsn DESC NULLS LAST, op_position DESC) = 1
        ) WHERE operation <> 'delete'
    """)
    db.commit()
    [[count]] = db.execute("SELECT count(*) FROM issues").fetchall()
    print(f"{count} rows")
    print(db.sql("SELECT value.* FROM issues"), flush=True)
