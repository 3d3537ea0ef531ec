"""The service that the driver measures: `uvicorn app.http:app`."""
