"""The service: jobs over HTTP, workers that train, pages to watch them."""
