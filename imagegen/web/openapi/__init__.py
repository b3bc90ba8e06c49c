"""The OpenAPI 3.1 document, and the page made from it."""
