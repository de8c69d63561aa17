"""`/docs`: Swagger UI from a package. A CDN's script would run where the browser has the API key."""

import secrets

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles

from src.kit.web.security import PAGE_POLICY


def install(app: FastAPI, url: str) -> None:
    """Serve the page, and below it the files of Swagger UI; call it after adding routes that may win.

    Args:
        app: the application, created with `docs_url=None`.
        url: the page's path.
    """
    app.mount(f"{url}/files", StaticFiles(packages=[("fastapi_swagger", "resources")]), name="docs_files")

    @app.get(url, include_in_schema=False)
    def docs(request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        page = get_swagger_ui_html(
            openapi_url=request.scope.get("root_path", "") + app.openapi_url,
            title=app.title,
            swagger_js_url=request.url_for("docs_files", path="swagger-ui-bundle.js").path,
            swagger_css_url=request.url_for("docs_files", path="swagger-ui.css").path,
            swagger_favicon_url="data:,",
            # The badge is an image from another site, which would learn the address of the schema.
            swagger_ui_parameters={"validatorUrl": None} | (app.swagger_ui_parameters or {}),
        )
        html = bytes(page.body).decode()
        for tag in ("<script", "<link"):
            html = html.replace(tag, f'{tag} nonce="{nonce}"')
        headers = {"Content-Security-Policy": PAGE_POLICY.format(nonce=nonce)}
        return Response(html, media_type="text/html", headers=headers)
