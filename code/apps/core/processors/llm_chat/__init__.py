"""`llm/chat@1`: one answer of a chat model."""
