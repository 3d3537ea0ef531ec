"""The process adapter: a processor's source under uvicorn on this machine. Import from its modules."""
