"""Passwords: Argon2id behind a gate, so that a flood of sign-ins cannot take the machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.errors import Invalid, TooMany

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")
SHORTEST = 8
LONGEST = 256
WAITING = 16  # so many may wait for a turn; more are turned away


class Passwords:
    """Hashes and checks passwords, `hashers` at the same time, off the event loop."""

    def __init__(self, hashers: int) -> None:
        # The OWASP minimum for Argon2id: dear enough to guess, cheap enough for a small machine beside its cameras.
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._turns = asyncio.Semaphore(hashers)
        self._waiting = 0
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The Argon2id hash of a new password.

        Raises:
            Invalid: it is too short or too long.
        """
        if not SHORTEST <= len(password) <= LONGEST:
            raise Invalid(
                f"password: use {SHORTEST} to {LONGEST} characters (got {len(password)})",
                field="password",
            )
        return await self._in_turn(lambda: self._hasher.hash(password))

    async def fits(self, stored: str | None, password: str) -> bool:
        """Whether the password is the one of the hash; as slow for nobody's (None or empty) as for anybody's."""
        if not stored:
            if self._nobody is None:
                self._nobody = await self._in_turn(lambda: self._hasher.hash("nobody"))
            await self._in_turn(lambda: self._check(self._nobody or "", password))
            return False
        return await self._in_turn(lambda: self._check(stored, password))

    def _check(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password[:LONGEST])
        except (VerificationError, InvalidHashError):
            return False

    async def _in_turn(self, work: Callable[[], Answer]) -> Answer:
        if self._waiting >= WAITING:
            raise TooMany("too many sign-ins at once; try again", retry_after=2)
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
