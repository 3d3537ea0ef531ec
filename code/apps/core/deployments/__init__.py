"""Processors on Modal: what a deployment is, how it is made, proved and operated.

What calls a deployed processor is `adapters.modal`; both know an app by its
name alone (`adapters.modal.naming`).
"""
