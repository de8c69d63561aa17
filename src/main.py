"""The API: its name, and its features."""

from src.kit.web.app import create_app
from src.sales import page as sales_page
from src.sales import routes as sales_routes

app = create_app(
    title="Sales Dashboard",
    version="0.1.0",
    description="Upload what was sold, see what it adds up to.",
    routers=[
        sales_routes.router,
        sales_page.router,
    ],
)
