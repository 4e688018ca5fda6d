"""Reads a collection in DuckDB, out of the bucket itself, and joins it with a table.

Writes and searches go through Drumlin. For questions in SQL about the records, DuckDB reads the same Parquet objects
by a view, also where no Drumlin is installed: `drumlin view --collection notes --duckdb` prints the same text.

    python duckdb_view.py [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile

import duckdb

import drumlin


def main(folder: str) -> None:
    with drumlin.connect(folder) as db:
        notes = db.collection("notes", create=True)
        notes.upsert(
            ids=["fog", "river", "bread", "draft"],
            embeddings=[[0.9, 0.1], [0.7, 0.7], [0.0, 1.0], [0.5, 0.5]],
            documents=["The fog lifted.", "The river rose.", "Knead the dough.", "To be written."],
            metadatas=[{"author": author, "year": 2024} for author in (1, 1, 2, 2)],
        )
        notes.update(["river", "bread"], metadatas=[{"year": 2025}, {"year": 2025}])
        notes.delete("draft")
        view = notes.sql_view()

    # From here on only DuckDB reads the bucket. The view leaves out what was replaced and deleted.
    sql = duckdb.connect()
    sql.execute(view)
    sql.execute("CREATE TABLE authors AS SELECT * FROM (VALUES (1, 'Ada'), (2, 'Bela')) AS t(author, name)")
    answer = sql.execute(
        """
        SELECT name, count(*), min(year), max(year)
        FROM (SELECT (metadata->>'author')::INT AS author, (metadata->>'year')::INT AS year FROM notes)
        JOIN authors USING (author)
        GROUP BY name ORDER BY name
        """
    )
    for name, count, first, last in answer.fetchall():
        years = f"{first} to {last}" if first < last else str(last)
        print(f"{name:5} {count} {'note' if count == 1 else 'notes'}, {years}")
    nearest = "SELECT id FROM notes ORDER BY array_cosine_distance(embedding, [1, 0]::FLOAT[2]) LIMIT 2"
    print("nearest to [1, 0]:", ", ".join(id for (id,) in sql.execute(nearest).fetchall()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(temporary)
