<%! import textwrap %>\
"""${textwrap.fill(message.replace("\\", "/").replace('"""', '"'), 100)}

Revision ID: ${up_revision}
Revises: ${down_revision or "nothing"}
Create Date: ${create_date.date()}
"""

import sqlalchemy as sa
from alembic import op
% if imports:
${imports}
% endif

revision = "${up_revision}"
down_revision = ${'"%s"' % down_revision if isinstance(down_revision, str) else repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
