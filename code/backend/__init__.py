"""The Django project: settings for each lane, routes and the ASGI door. It holds no rule of ours."""
