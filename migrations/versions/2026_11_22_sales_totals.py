"""Totals of the sales feature, counted from the imports that have finished.

Stop the workers of older code first, as `make prod` does: an import that they finish later is not counted in.

Revision ID: 8d2e5b60c417
Revises: 3f1c7a9be204
Create Date: 2026-11-22
"""

import sqlalchemy as sa
from alembic import op

revision = "8d2e5b60c417"
down_revision = "3f1c7a9be204"
branch_labels = None
depends_on = None

KEYS = {"day": "CAST(day AS VARCHAR)", "country": "country", "product": "stock_code"}

TOTALS = """
    INSERT INTO sales_totals (kind, key, day, revenue, units, orders)
    SELECT '{kind}', key, day, sum(revenue), sum(units), count(*)
    FROM (
        SELECT {key} AS key, day, invoice, sum(revenue) AS revenue, sum(quantity) AS units
        FROM sales_lines JOIN sales_imports ON id = import_id
        WHERE status = 'finished'
        GROUP BY {key}, day, invoice
    ) AS cells
    GROUP BY key, day
"""
INVOICE_DAYS = """
    INSERT INTO sales_invoice_days (invoice, day)
    SELECT DISTINCT invoice, day
    FROM sales_lines JOIN sales_imports ON id = import_id
    WHERE status = 'finished'
"""
REPEATS = """
    INSERT INTO sales_repeats (kind, key, invoice, day)
    SELECT '{kind}', key, invoice, day
    FROM (
        SELECT key, invoice, day, count(*) OVER (PARTITION BY key, invoice) AS days
        FROM (
            SELECT DISTINCT {key} AS key, invoice, day
            FROM sales_lines JOIN sales_imports ON id = import_id
            WHERE status = 'finished'
        ) AS cells
    ) AS counted
    WHERE days > 1
"""


def upgrade() -> None:
    op.create_table(
        "sales_totals",
        sa.Column("kind", sa.String(7), nullable=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("revenue", sa.BigInteger(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("orders", sa.Integer(), nullable=False),
        sa.CheckConstraint("abs(revenue) <= 9000000000000000000", name="ck_sales_totals_revenue_is_exact"),
        sa.PrimaryKeyConstraint("kind", "key", "day", name="pk_sales_totals"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sales_invoice_days",
        sa.Column("invoice", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("invoice", "day", name="pk_sales_invoice_days"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sales_repeats",
        sa.Column("kind", sa.String(7), nullable=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("invoice", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", "invoice", "day", name="pk_sales_repeats"),
        sqlite_with_rowid=False,
    )
    op.drop_index("ix_sales_lines_day", "sales_lines")
    op.create_index("ix_sales_lines_invoice_day_stock_code", "sales_lines", ["invoice", "day", "stock_code"])
    for kind, key in KEYS.items():
        op.execute(TOTALS.format(kind=kind, key=key))
        op.execute(REPEATS.format(kind=kind, key=key))
    op.execute(INVOICE_DAYS)


def downgrade() -> None:
    op.drop_index("ix_sales_lines_invoice_day_stock_code", "sales_lines")
    op.create_index("ix_sales_lines_day", "sales_lines", ["day"])
    op.drop_table("sales_repeats")
    op.drop_table("sales_invoice_days")
    op.drop_table("sales_totals")
