"""Augmentation: levels are what they claim to be, and every draw depends on the seed alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from auricle.pipelines import codecs
from auricle.pipelines.augment import (
    AugmentConfig,
    Augmenter,
    generator,
    mask_features,
    warp_frequencies,
    warp_matrices,
)
from auricle.pipelines.rooms import (
    draw_microphone,
    make_microphones,
    make_rooms,
    prepare_room,
    simulate_room,
)

STREAMS, SAMPLES = 4, 8000
QUIET = AugmentConfig(
    noise_part=1.0,
    snr_low_db=7.0,
    snr_high_db=7.0,
    room_part=0.0,
    microphone_part=0.0,
    gain_low_db=0.0,
    gain_high_db=0.0,
    clip_part=0.0,
    change_part=1.0,
)


def noise(seed: int) -> torch.Tensor:
    return 0.05 * torch.randn(STREAMS, SAMPLES, generator=generator(seed))


def full(config: AugmentConfig) -> Augmenter:
    return Augmenter(config, make_rooms((), 3, 1), make_microphones(3, 1), SAMPLES, seed=5)


def test_noise_has_the_drawn_ratio() -> None:
    augmenter, state = full(QUIET), full(QUIET).initial_state(STREAMS)
    speech, hiss = noise(1), noise(2)
    _, state = augmenter(speech, hiss, state, 0)  # the gain of the noise glides up here
    audio, state = augmenter(speech, hiss, state, 1)
    added = audio - speech
    ratio = 10 * torch.log10(speech.square().mean(1) / added.square().mean(1))
    assert torch.allclose(ratio, torch.full((STREAMS,), 7.0), atol=0.3)


def test_same_seed_and_step_give_the_same_audio() -> None:
    config = AugmentConfig(simulated_rooms=3, change_part=1.0)
    one, two = full(config), full(config)
    first, state = one(noise(1), noise(2), one.initial_state(STREAMS), 3)
    second, _ = two(noise(1), noise(2), two.initial_state(STREAMS), 3)
    other, _ = two(noise(1), noise(2), two.initial_state(STREAMS), 4)
    assert torch.equal(first, second)
    assert not torch.allclose(first, other)
    assert state.ringing.shape == (STREAMS, one.ringing)


def test_filters_ring_over_into_the_next_segment() -> None:
    """Two segments filtered one after the other equal one of twice the length."""
    rooms, microphones = make_rooms((), 1, 1), make_microphones(1, 1)
    config = AugmentConfig(noise_part=0, room_part=1, microphone_part=1, change_part=0, clip_part=0)
    short = Augmenter(config, rooms, microphones, SAMPLES, seed=5)
    long = Augmenter(config, rooms, microphones, 2 * SAMPLES, seed=5)
    index = torch.ones(STREAMS, dtype=torch.long)
    speech = 0.1 * torch.cat([noise(1), noise(2)], 1)
    silence = torch.zeros_like(speech)
    state = short.initial_state(STREAMS)._replace(room=index, microphone=index)
    first, state = short(speech[:, :SAMPLES], silence[:, :SAMPLES], state, 0)
    second, _ = short(speech[:, SAMPLES:], silence[:, SAMPLES:], state, 1)
    whole, _ = long(speech, silence, long.initial_state(STREAMS)._replace(room=index, microphone=index), 0)
    assert torch.allclose(torch.cat([first, second], 1), whole, atol=1e-5)


def test_gain_and_clipping_stay_in_range() -> None:
    loud = AugmentConfig(gain_low_db=30, gain_high_db=30, clip_part=1.0, change_part=1.0, room_part=0)
    augmenter = full(loud)
    audio, _ = augmenter(noise(1) * 10, noise(2), augmenter.initial_state(STREAMS), 0)
    assert audio.abs().max() <= 1.0
    at_limit = (audio.abs() == audio.abs().amax(1, keepdim=True)).sum(1)
    assert (at_limit > 100).all()


@pytest.mark.parametrize("seed", range(3))
def test_rooms_start_with_the_direct_sound_and_keep_the_level(seed: int) -> None:
    for response in (simulate_room(np.random.default_rng(seed)), prepare_room(np.r_[np.zeros(500), 1, 0.5])):
        assert np.sum(response**2) == pytest.approx(1, abs=1e-3)
        assert np.argmax(np.abs(response) > 0.3 * np.abs(response).max()) < 160


def test_a_telephone_passes_only_its_band() -> None:
    response = np.abs(np.fft.rfft(draw_microphone(np.random.default_rng(1), telephone=True), 1600))
    hertz = np.arange(len(response)) * 10
    band = response[(hertz > 600) & (hertz < 2500)].mean()
    assert response[hertz < 80].max() < 0.1 * band
    assert response[hertz > 5000].max() < 0.1 * band


def test_warping_moves_a_peak_and_can_do_nothing() -> None:
    matrices = warp_matrices(80, 40, 7600, 0.12)
    assert torch.allclose(matrices[8], torch.eye(80), atol=1e-5)
    peak = torch.zeros(1, 3, 80)
    peak[..., 40] = 1.0
    places = [int((peak @ matrix)[0, 0].argmax()) for matrix in matrices]
    assert places == sorted(places, reverse=True)
    assert places[0] > 40 > places[-1]
    assert torch.equal(warp_frequencies(peak, matrices, 0.0, generator(1)), peak @ matrices[8])


def test_masks_are_narrow() -> None:
    features = torch.randn(50, 320, 80, generator=generator(1))
    masked = mask_features(features, 1.0, generator(2))
    changed = masked != features
    assert 0.02 < changed.float().mean() < 0.3
    assert torch.equal(mask_features(features, 0.0, generator(2)), features)


def buzz() -> np.ndarray:
    time = np.arange(32_000) / 16_000
    tones = [np.sin(2 * np.pi * pitch * time) for pitch in (200, 900, 2100, 6500)]
    return (0.05 * np.sum(tones, 0) * np.sin(2 * np.pi * 2 * time) ** 2).astype(np.float32)


@pytest.mark.parametrize("name", codecs.available())
def test_a_codec_changes_the_sound_but_not_its_time(name: str) -> None:
    sent = buzz()
    heard = codecs.code(sent, name, 0.3)
    assert heard.shape == sent.shape and heard.dtype == np.float32
    assert np.corrcoef(heard, sent)[0, 1] > 0.8
    likeness = np.correlate(heard[8000:24_000], sent[8100:23_900], "valid")
    assert abs(int(likeness.argmax()) - 100) <= 1
    assert np.abs(heard - sent).max() > 1e-4
    treble = np.abs(np.fft.rfft(np.stack([sent, heard])))[:, 10_000:]
    if name in codecs.NARROW:
        assert treble[1].max() < 0.05 * treble[0].max()


def test_telephone_codecs_are_there() -> None:
    assert {"mu-law", "a-law"} <= set(codecs.available())
    assert len(codecs.code(np.zeros(100, np.float32), "mu-law", 0.0)) == 100


def test_codecs_are_drawn_by_seed_and_disturb_no_other_draw() -> None:
    speech, hiss = torch.from_numpy(buzz()[:SAMPLES]).repeat(STREAMS, 1), noise(2)
    config = replace(QUIET, room_part=0.5, clip_part=0.3)
    plain = full(config)(speech, hiss, full(config).initial_state(STREAMS), 3)[0]
    some = full(replace(config, codec_part=0.5))
    coded = [some(speech, hiss, some.initial_state(STREAMS), 3)[0] for _ in range(2)]
    assert torch.equal(*coded)
    touched = [not torch.equal(one, other) for one, other in zip(coded[0], plain, strict=True)]
    assert any(touched) and not all(touched)
    every = full(replace(config, codec_part=1.0))
    assert all((every(speech, hiss, every.initial_state(STREAMS), 3)[0] != plain).any(1))
