"""Sums of every table of a staging area by one reader or engine, printed as JSON: its version, and what each way to read gave.

Argument: the reader. Standard input: {"tables": {table: [columns of money]}, "recipes": {reader: {name: Python}},
"statements": {engine: […]}, "queries": […]}. Reads below `staging` of the current folder; the engines run their statements
of `pipeline ddl`, and then the queries. An answer is, for each table, rows of month, organization, count and sums.
"""

import csv
import json
import sys
import tempfile
from decimal import Decimal
from glob import glob

asked = json.load(sys.stdin)
tables = asked["tables"].items()
folder = tempfile.mkdtemp()
opaque = []
found = {}


def month_of(day):
    return str(day)[:7]


def recipes(reader, figures):
    """Runs those of docs/reading.md, and tells what they found: figures by name."""
    for name, text in asked["recipes"][reader].items():
        scope = {}
        exec(text, scope)
        found[name] = {figure: plain(value) for figure, value in figures(scope).items()}


def own_rows():
    with open("customer.csv", newline="", encoding="utf-8") as file:
        return len(list(csv.reader(file))) - 1


def plain(value):
    return None if value is None else format(value, "f") if isinstance(value, Decimal) else str(value)


def with_pandas():
    import pandas as pd

    recipes(
        "pandas",
        lambda its: {
            "total": its["by_month"].to_numpy().sum(),
            "mover": its["movers"].index[0][0],
            "moved": its["movers"].iloc[0],
            "own": own_rows(),
        },
    )

    def sums(read):
        for table, amounts in tables:
            rows = read(table, amounts)
            groups = rows.groupby([rows["BillingPeriod"].map(month_of), "Organization"])
            yield [
                [*key, len(group), *(group[name].dropna().sum() if group[name].notna().any() else None for name in amounts)]
                for key, group in groups
            ]

    def from_csv(table, amounts):
        files = sorted(glob(f"staging/csv/{table}/*/*.csv"))
        rows = pd.concat(pd.read_csv(file, dtype=str, keep_default_na=False) for file in files)
        for name in amounts:
            rows[name] = rows[name].map(lambda text: None if text == "N/A" else Decimal(text))
        return rows

    return pd.__version__, {
        "read_parquet of each table's folder": sums(lambda table, _: pd.read_parquet(f"staging/parquet/{table}")),
        "read_csv of each table's files": sums(from_csv),
    }


def with_pyarrow():
    import pyarrow as pa
    import pyarrow.parquet as pq

    recipes("pyarrow", lambda its: {"large": its["large"].num_rows})

    def sums():
        for table, amounts in tables:
            rows = pq.read_table(f"staging/parquet/{table}")
            month = pa.array(month_of(day) for day in rows["BillingPeriod"].to_pylist())
            rows = rows.append_column("m", month)
            groups = rows.group_by(["m", "Organization"], use_threads=False)
            found = groups.aggregate([([], "count_all"), *((name, "sum") for name in amounts)])
            yield [
                [row["m"], row["Organization"], row["count_all"], *(row[f"{name}_sum"] for name in amounts)]
                for row in found.to_pylist()
            ]

    return pa.__version__, {"parquet.read_table of each table's folder": sums()}


def with_polars():
    import polars as pl

    recipes(
        "polars",
        lambda its: {
            "total": sum(its["by_month"].select("2026-09", "2026-10").sum().row(0)),
            "mover": its["movers"]["Reference"][0],
            "moved": its["movers"]["change"][0],
            "own": own_rows(),
        },
    )

    def sums(read):
        for table, amounts in tables:
            rows = read(table, amounts).with_columns(pl.col("BillingPeriod").cast(pl.String).str.slice(0, 7))
            # A sum of nothing is 0 here.
            found = rows.group_by("BillingPeriod", "Organization").agg(
                pl.len(),
                *(pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name) for name in amounts),
            )
            yield found.rows()

    def from_csv(table, amounts):
        rows = pl.read_csv(f"staging/csv/{table}/*/*.csv", infer_schema=False).fill_null("")
        return rows.with_columns(
            pl.when(pl.col(name) != "N/A").then(pl.col(name)).cast(pl.Decimal(38, 18)) for name in amounts
        )

    return pl.__version__, {
        "read_parquet of each table's files": sums(
            lambda table, _: pl.read_parquet(f"staging/parquet/{table}/*/*.parquet")
        ),
        "read_csv of each table's files": sums(from_csv),
    }


def with_spark():
    """Spark, and the Hive of its own, whose DDL is Athena's."""
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "Asia/Tokyo")
        .config("spark.sql.warehouse.dir", f"{folder}/warehouse")
        .config("spark.driver.extraJavaOptions", f"-Dderby.system.home={folder}")
        .enableHiveSupport()
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")

    def sums():
        for table, amounts in tables:
            rows = session.read.parquet(f"staging/parquet/{table}")
            month = F.date_format("BillingPeriod", "yyyy-MM").alias("m")
            found = rows.groupBy(month, "Organization").agg(F.count("*"), *(F.sum(name) for name in amounts))
            yield [list(row) for row in found.collect()]

    def by_statements(statements):
        for statement in statements:
            session.sql(statement)
        answers = [[list(row) for row in session.sql(query).collect()] for query in asked["queries"]]
        session.sql("DROP DATABASE billing CASCADE")
        return answers

    return session.version, {
        "read.parquet of each table's folder": sums(),
        "`pipeline ddl --engine spark`": by_statements(asked["statements"]["spark"]),
        "`pipeline ddl --engine athena`, in the Hive of Spark": by_statements(asked["statements"]["hive"]),
    }


def with_clickhouse():
    from chdb.session import Session

    session = Session(folder + "/clickhouse")
    for statement in asked["statements"]["clickhouse"]:
        session.query(statement)
    version = session.query("SELECT version()").data().strip().strip('"')
    exact = " SETTINGS output_format_json_quote_decimals = 1"
    answers = [
        json.loads(session.query(query + exact, "JSONCompact").data() or "{}")["data"] for query in asked["queries"]
    ]
    return version, {"`pipeline ddl --engine clickhouse`": answers}


def with_sqlglot():
    """Statements by its parsers; those that one only takes as a text of no meaning are told."""
    import sqlglot

    for engine in ("trino", "athena", "spark", "clickhouse", "duckdb"):
        for statement in asked["statements"][engine]:
            if isinstance(sqlglot.parse_one(statement, dialect=engine), sqlglot.exp.Command):
                opaque.append(statement)
    return sqlglot.__version__, {}


version, answers = globals()[f"with_{sys.argv[1]}"]()


print(
    json.dumps(
        {
            "version": version,
            "opaque": opaque,
            "recipes": found,
            "answers": {
                name: [sorted(([plain(value) for value in row] for row in rows), key=lambda row: row[:2]) for rows in answer]
                for name, answer in answers.items()
            },
        }
    )
)
