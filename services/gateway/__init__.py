"""The gateway: the only public door. It knows people and programs, signs their tokens, and serves the sign-in page.

It owns users, sessions, sign-in links and clients. In a process of its own it passes calls on to the services.
"""
