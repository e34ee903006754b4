"""What Alembic runs to reach the database; ``upgrade`` hands it the engine."""

from alembic import context
from sqlalchemy.engine import Engine

engine: Engine = context.config.attributes["engine"]
with engine.connect() as connection:
    # Two programs that find the same new database wait for each other here.
    connection.exec_driver_sql(
        "BEGIN IMMEDIATE"
        if engine.dialect.name == "sqlite"
        else "SELECT pg_advisory_xact_lock(hashtext('archon-batch schema'))"
    )
    context.configure(connection=connection, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
