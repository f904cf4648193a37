"""Runs what `pipeline ddl` printed on the engines that PyPI has, and prints what they say of it as JSON.

Standard input: {"spark": […], "hive": […], "clickhouse": […], "trino": […], "athena": […], "queries": […]}, each
engine's statements in order, and the queries that follow them on the engines that read.
"""

import json
import sys
import tempfile

asked = json.load(sys.stdin)
folder = tempfile.mkdtemp()


def spark() -> dict:
    """Spark, and the Hive of its own, whose DDL is Athena's."""
    from pyspark.sql import SparkSession

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
    answers = {"spark": session.version}
    for engine in ("spark", "hive"):
        for statement in asked[engine]:
            session.sql(statement)
        answers[engine + "Answers"] = [
            [[str(value) for value in row] for row in session.sql(query).collect()]
            for query in asked["queries"]
        ]
        session.sql("DROP DATABASE billing CASCADE")
    session.stop()
    return answers


def clickhouse() -> dict:
    import chdb
    from chdb.session import Session

    session = Session(folder + "/clickhouse")
    for statement in asked["clickhouse"]:
        session.query(statement)
    answers = [
        json.loads(session.query(query, "JSONCompactStrings").data() or "{}")["data"]
        for query in asked["queries"]
    ]
    version = session.query("SELECT version()").data().strip().strip('"')
    return {"clickhouse": version, "clickhouseAnswers": answers}


def parsed() -> dict:
    """Statements by SQLGlot's parsers; a statement that one only takes as a text of no meaning is told."""
    import sqlglot

    opaque = [
        statement
        for engine in ("trino", "athena", "spark", "clickhouse", "duckdb")
        for statement in asked[engine]
        for tree in [sqlglot.parse_one(statement, dialect=engine)]
        if isinstance(tree, sqlglot.exp.Command)
    ]
    return {"sqlglot": sqlglot.__version__, "opaque": opaque}


print(json.dumps({**parsed(), **clickhouse(), **spark()}))
