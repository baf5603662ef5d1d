"""REST under /api/v1: each route reads the request, makes one call, shapes the answer."""
