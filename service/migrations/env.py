"""Run by Alembic. The connection comes from service.store.engine.migrate, inside the one transaction of the upgrade."""

from alembic import context

from service.store.columns import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
