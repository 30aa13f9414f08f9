// The API reference at /docs: Swagger UI, served by the service itself.

globalThis.SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true });
