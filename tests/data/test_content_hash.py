"""The hash of content against a slow twin in hashlib, and what it decides."""

import hashlib

import numpy as np

from simclr_keras.data.content_hash import fingerprint_of, hash_of, hashes_of, is_held_out, ranks


def _twin(content, shape=()):
    person = b",".join(str(size).encode() for size in shape).ljust(16, b"\0")
    digits = hashlib.blake2b(content, digest_size=8, person=person).hexdigest()
    return sum(int(digits[2 * i : 2 * i + 2], 16) * 256**i for i in range(8))


def test_hash_equals_twin():
    for content in (b"", b"a", b"x" * 10_000):
        assert hash_of(content) == _twin(content)
    assert hash_of(b"abc", (1, 1, 3)) == _twin(b"abc", (1, 1, 3)) != hash_of(b"abc", (3, 1, 1))
    assert hashes_of([b"a", b"b"]).tolist() == [_twin(b"a"), _twin(b"b")]


def test_hash_is_never_the_mark_of_an_unknown_file(monkeypatch):
    class Zero:
        def digest(self):
            return bytes(8)

    monkeypatch.setattr(hashlib, "blake2b", lambda *_, **__: Zero())
    assert hash_of(b"a") == 1


def test_held_out_equals_twin():
    hashes = hashes_of(str(number).encode() for number in range(500))
    for fraction in (1e-9, 0.1, 0.3, 0.5, 1 - 2**-53):
        expected = [_twin(str(number).encode()) / 2**64 < fraction for number in range(500)]
        assert is_held_out(hashes, fraction).tolist() == expected
    assert np.all(is_held_out(hashes, 0.3) >= is_held_out(hashes, 0.1)), (
        "a larger share contains a smaller one"
    )


def test_held_out_share_of_many_images():
    hashes = hashes_of(number.to_bytes(4, "little") for number in range(20_000))
    for fraction in (0.1, 0.3):
        sigma = np.sqrt(fraction * (1 - fraction) / 20_000)
        assert abs(is_held_out(hashes, fraction).mean() - fraction) < 4 * sigma


def test_ranks_equal_twin_and_depend_on_the_seed():
    hashes = hashes_of([b"a", b"b", b"c"])
    twin = [
        _twin(seed.to_bytes(8, "little") + int(h).to_bytes(8, "little")) for seed in (0, 7) for h in hashes
    ]
    assert [*ranks(hashes, 0).tolist(), *ranks(hashes, 7).tolist()] == twin
    assert len(set(twin)) == 6


def test_fingerprint_depends_on_content_labels_and_order():
    hashes, labels = hashes_of([b"a", b"b"]), np.array([0, 1])
    fingerprints = [
        fingerprint_of(hashes, None),
        fingerprint_of(hashes, labels),
        fingerprint_of(hashes[::-1], labels),
        fingerprint_of(hashes, labels[::-1]),
        fingerprint_of(hashes[:1], labels[:1]),
    ]
    assert len(set(fingerprints)) == 5
    assert fingerprint_of(hashes.copy(), labels.astype(np.int32)) == fingerprints[1]
