"""Keys and secrets at rest: owner-only files, and a sealed text opens only in its own place."""

import base64
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Invalid, Setup
from shared.security.envelope import SecretBox, open_box, rotate_master
from shared.security.keys import SigningKeys, read_private, write_private

BOX = SecretBox([b"k" * 32])


@given(st.text(max_size=200), st.text(max_size=50))
def test_what_is_sealed_opens_in_its_place(plain: str, place: str) -> None:
    assert BOX.open(BOX.seal(plain, bound_to=place), bound_to=place) == plain


def test_a_sealed_text_does_not_open_elsewhere() -> None:
    sealed = BOX.seal("secret", bound_to="cameras.1.password")
    with pytest.raises(Invalid):
        BOX.open(sealed, bound_to="cameras.2.password")


def test_sealing_twice_gives_two_texts_and_neither_shows_the_plain_one() -> None:
    first, second = (BOX.seal("canary", bound_to="x") for _ in range(2))
    assert first != second
    assert "canary" not in first


@pytest.mark.parametrize("position", [3, 20, 60, -1])
def test_a_changed_text_does_not_open(position: int) -> None:
    sealed = BOX.seal("secret", bound_to="x")
    at = position % len(sealed)
    for letter in {"A", "B", "C", "D"} - {sealed[at]}:
        with pytest.raises(Invalid, match="does not open"):
            BOX.open(sealed[:at] + letter + sealed[at + 1 :], bound_to="x")


@pytest.mark.parametrize("text", ["", "plain", "v1.a.b", "v2.a.b.c", "v1.x.?.?", "...."])
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    with pytest.raises(Invalid):
        BOX.open(text, bound_to="x")


def test_a_master_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    sealed = open_box(tmp_path, None).seal("s", bound_to="x")
    assert (tmp_path / "master.key").stat().st_mode & 0o777 == 0o600
    assert open_box(tmp_path, None).open(sealed, bound_to="x") == "s"


def test_rotation_seals_anew_and_still_opens_the_old(tmp_path: Path) -> None:
    old = open_box(tmp_path, None).seal("s", bound_to="x")
    box = rotate_master(tmp_path)
    assert box.stale(old)
    fresh = box.reseal(old, bound_to="x")
    assert not box.stale(fresh)
    assert box.open(old, bound_to="x") == box.open(fresh, bound_to="x") == "s"


def test_a_given_master_key_is_used(tmp_path: Path) -> None:
    given_key = base64.urlsafe_b64encode(b"m" * 32).decode()
    sealed = open_box(tmp_path, given_key).seal("s", bound_to="x")
    assert SecretBox([b"m" * 32]).open(sealed, bound_to="x") == "s"
    assert not (tmp_path / "master.key").exists()


@pytest.mark.parametrize("text", ["", "short", "!!!"])
def test_a_bad_master_key_names_the_setting(tmp_path: Path, text: str) -> None:
    with pytest.raises(Setup, match="VANTAGE_MASTER_KEY"):
        open_box(tmp_path, text)


def test_a_pseudonym_stays_the_same_and_outlives_a_rotation(tmp_path: Path) -> None:
    old = open_box(tmp_path, None)
    (first,) = old.pseudonyms("192.0.2.7", purpose="a")
    assert old.pseudonyms("192.0.2.7", purpose="a") == [first]
    others = [
        old.pseudonyms(text, purpose=p)[0] for text, p in (("192.0.2.8", "a"), ("192.0.2.7", "b"))
    ]
    assert first not in others
    assert open_box(tmp_path / "elsewhere", None).pseudonyms("192.0.2.7", purpose="a") != [first]
    new = rotate_master(tmp_path).pseudonyms("192.0.2.7", purpose="a")
    assert new[1] == first != new[0]


def test_a_secret_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"x")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(Setup, match="chmod 600"):
        read_private(path)


def test_signing_keys_are_files_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = SigningKeys.open(folder).active()[0]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert SigningKeys.open(folder).active()[0] == first


def test_processes_that_start_together_agree_on_their_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: SigningKeys.open(tmp_path / "keys"), range(4)))
        boxes = list(pool.map(lambda _: open_box(tmp_path / "box", None), range(4)))
    assert len({keys.active()[0] for keys in opened}) == 1
    sealed = boxes[0].seal("s", bound_to="x")
    assert {box.open(sealed, bound_to="x") for box in boxes} == {"s"}


def test_a_signing_key_is_due_after_its_days(tmp_path: Path) -> None:
    keys = SigningKeys.open(tmp_path)
    made = int((tmp_path / "signing-000001.pem").stat().st_mtime * 1_000_000)
    day = 24 * 3600 * 1_000_000
    assert not keys.due(now=made + 89 * day, days=90)
    assert keys.due(now=made + 91 * day, days=90)


def test_of_processes_that_find_a_key_due_one_rotates_and_all_sign_with_the_new_one(
    tmp_path: Path,
) -> None:
    processes = [SigningKeys.open(tmp_path) for _ in range(3)]
    old = processes[0].active()[0]
    os.utime(tmp_path / "signing-000001.pem", (1, 1))  # a key is as old as its file
    now = time.time_ns() // 1000
    assert [keys.rotate_if_due(now=now, days=90) for keys in processes] == [True, False, False]
    assert len({keys.active()[0] for keys in processes}) == 1
    assert processes[0].active()[0] != old
    assert all(keys.public(old) for keys in processes)


def test_a_broken_signing_key_is_named(tmp_path: Path) -> None:
    write_private(tmp_path / "signing-000001.pem", b"no key")
    with pytest.raises(Setup, match="signing-000001"):
        SigningKeys.open(tmp_path)
