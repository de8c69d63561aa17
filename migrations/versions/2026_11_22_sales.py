"""Tables of the sales feature: imports, the pieces of their files, and the rows they hold.

Revision ID: 3f1c7a9be204
Revises:
Create Date: 2026-11-22
"""

import sqlalchemy as sa
from alembic import op

revision = "3f1c7a9be204"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sales_imports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("reason", sa.String(500), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("rows_total", sa.Integer(), nullable=True),
        sa.Column("rows_done", sa.Integer(), nullable=False),
        sa.Column("rows_rejected", sa.Integer(), nullable=False),
        sa.Column("errors", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_sales_imports"),
    )
    op.create_index("ix_sales_imports_created_at", "sales_imports", ["created_at"])
    op.create_index(
        "uq_sales_imports_sha256",
        "sales_imports",
        ["sha256"],
        unique=True,
        postgresql_where=sa.text("status <> 'failed'"),
        sqlite_where=sa.text("status <> 'failed'"),
    )
    op.create_table(
        "sales_import_chunks",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["sales_imports.id"],
            ondelete="CASCADE",
            name="fk_sales_import_chunks_import_id_sales_imports",
        ),
        sa.PrimaryKeyConstraint("import_id", "number", name="pk_sales_import_chunks"),
    )
    op.create_table(
        "sales_lines",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("invoice", sa.String(64), nullable=False),
        sa.Column("invoice_hash", sa.BigInteger(), nullable=False),
        sa.Column("stock_code", sa.String(64), nullable=False),
        sa.Column("description", sa.String(1000), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_price", sa.BigInteger(), nullable=False),
        sa.Column("revenue", sa.BigInteger(), nullable=False),
        sa.Column("invoiced_at", sa.DateTime(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("customer_id", sa.String(64), nullable=False),
        sa.Column("country", sa.String(100), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["sales_imports.id"],
            ondelete="CASCADE",
            name="fk_sales_lines_import_id_sales_imports",
        ),
        sa.PrimaryKeyConstraint("import_id", "line", name="pk_sales_lines"),
    )
    summed = ["invoice_hash", "import_id", "revenue", "quantity"]
    op.create_index("ix_sales_lines_by_day", "sales_lines", ["day", *summed])
    op.create_index("ix_sales_lines_by_country", "sales_lines", ["country", *summed, "day"])
    op.create_index("ix_sales_lines_by_product", "sales_lines", ["stock_code", *summed, "day"])


def downgrade() -> None:
    op.drop_table("sales_lines")
    op.drop_table("sales_import_chunks")
    op.drop_table("sales_imports")
