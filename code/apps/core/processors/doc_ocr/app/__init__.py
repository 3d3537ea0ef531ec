"""The service that runs in the image: `uvicorn app.http:app`."""
