"""Arrays whose layout was not said: what looks like another one warns and says what settles it; ordinary data does not."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import semrsm_bench as sb
from semrsm_bench.activations.layouts import LayoutWarning
from semrsm_bench.rsm.sources import as_source
from tests.command_line import call

RNG = np.random.default_rng(0)


def shaped(*shape):
    """An array of that shape which takes no memory, but for its one number."""
    return np.broadcast_to(np.float32(1), shape)


LAST, FIRST = 'say layout="channels_last"', 'layout="channels_first" if it is right'
DOUBTFUL = {
    "NHWC": ((12, 14, 14, 512), f"read as 14 channels on a grid of 14 x 512, but looks like .*{LAST}, or {FIRST}"),
    "NHWC, not square": ((12, 14, 7, 512), LAST),
    "NHWC, few": ((12, 4, 4, 64), LAST),
    "pictures": ((12, 224, 224, 3), LAST),
    "pictures, not square": ((12, 240, 320, 3), LAST),
    "ViT-B/16": (
        (12, 197, 768),
        f"read as 12 images of 197 channels at 768 positions, .* 14 x 14 patches and 1 more .*{LAST}",
    ),
    "ViT-L/14": ((12, 257, 1024), "16 x 16 patches and 1 more"),
    "four registers": ((12, 201, 384), "14 x 14 patches and 5 more"),
    "DINOv2 with registers": ((12, 1374, 1024), "37 x 37 patches and 5 more"),
    "distilled": ((12, 198, 192), "14 x 14 patches and 2 more"),
    "CIFAR": ((12, 65, 192), "8 x 8 patches and 1 more"),
    "no class token": ((12, 196, 768), "14 x 14 patches as tokens"),
    "SigLIP": ((12, 256, 1152), "16 x 16 patches as tokens"),
    "DINOv3 at 448 pixels": ((6, 789, 384), "28 x 28 patches and 5 more as tokens"),
    "a wide one at 448 pixels": ((6, 785, 1024), "28 x 28 patches and 1 more as tokens"),
    "sequence first": ((197, 12, 768), r"in the first axis, .*z.transpose\(1, 0, 2\) with layout=.channels_last"),
    "CLIP, sequence first": ((257, 12, 1024), r"z.transpose\(1, 0, 2\)"),
    "costs": ((5, 40, 40), "a stack of square matrices, such as costs .*MatchingProblem.from_affinity"),
}


@pytest.mark.parametrize("what", DOUBTFUL)
def test_a_shape_that_speaks_against_channels_first_warns_until_the_layout_is_said(what):
    shape, words = DOUBTFUL[what]
    z = shaped(*shape)
    with pytest.warns(LayoutWarning, match=words) as caught:
        as_source(z)
    assert len(caught) == 1
    assert str(shape) in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_source(z, layout="channels_first").channels == shape[1]
        assert as_source(z, layout="channels_last", drop_tokens=None if len(shape) == 4 else 0).channels == shape[-1]


LAST_SHAPES = [
    *[(6, side**2 + k, d) for side in (7, 8, 14, 16, 24, 37) for k in (1, 5) for d in (192, 384, 768, 1024, 1152)],
    *[(6, side**2 + k, d) for side in (4, 6) for k in (1, 5) for d in (16, 24, 48, 192)],
    *[(6, 21, d) for d in (8, 10, 12, 20, 30)],
    *[(6, side**2 + 4, d) for side in (7, 8, 14, 16) for d in (192, 768)],
    *[(6, 49, 768), (6, 196, 384), (6, 784, 192), (6, 3136, 96), (6, 64, 192), (6, 256, 768), (6, 196, 1024)],
    *[(6, side, side, c) for side, c in ((56, 96), (28, 192), (14, 384), (7, 768), (64, 128), (112, 64), (112, 32))],
    *[(6, 30, 40, 512), (6, 15, 20, 32), (6, 12, 16, 64), (6, 24, 32, 96), (6, 24, 32, 256), (6, 7, 14, 512)],
    *[(197, 8, 768), (50, 32, 768), (257, 16, 1024), (201, 5, 384), (17, 6, 192)],
    *[(196, 4, 768), (256, 4, 768), (1369, 8, 384), (65, 12, 32), (65, 8, 48), (17, 6, 24)],
    *[(6, 30, 30), (6, 197, 197)],
]
FIRST_SHAPES = [
    (4, 64, 64, 48),
    (4, 48, 48, 32),
    (4, 64, 3072),
    (4, 64, 12288),
    (4, 256, 49),
    (4, 200, 256),
    (4, 104, 1024),
    (4, 64, 3136),
    (4, 512, 196),
    (4, 2048, 7, 7),
    (4, 96, 55, 55),
    (4, 64, 47, 156),
    (4, 256, 12, 24),
    (4, 30, 12),
    (4, 30, 16),
    (4, 50, 16),
    (4, 50, 64),
    (4, 20, 144),
    (4, 10, 10, 10),
    (4, 5, 9),
    (4, 10, 48),
    (4, 1, 64, 512),
    (4, 64, 1, 1000),
    (100, 64, 3072),
    (200, 64, 64),
    (200, 64, 1024),
    (50, 64, 1024),
    (17, 64, 192 // 3),
    (257, 3, 64),
    (4, 64, 64),
]


@pytest.mark.parametrize("shape", LAST_SHAPES)
def test_other_layouts_of_many_networks_are_noticed(shape):
    with pytest.warns(LayoutWarning):
        as_source(shaped(*shape))


@pytest.mark.parametrize("shape", FIRST_SHAPES)
def test_maps_of_many_networks_are_not_doubted(shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_source(shaped(*shape)).channels == shape[1]


@pytest.mark.parametrize("shape", [(50, 64, 768), (197, 64, 192), (197, 100, 768), (197, 50, 768), (64, 64, 768)])
def test_where_tokens_may_be_in_either_of_two_axes_both_are_named(shape):
    with pytest.warns(
        LayoutWarning, match=r'\(N, T, D\) or .* \(T, N, D\): say layout="channels_last" or give z.transpose'
    ):
        as_source(shaped(*shape))


@pytest.mark.parametrize("shape", [(6, 256, 576), (6, 256, 1024), (6, 576, 1024)])
def test_what_may_be_either_is_said_until_the_layout_is(shape):
    _, a, b = shape
    with pytest.warns(LayoutWarning, match=f"{a} channels at {b} positions, but may as well be .* patches as tokens"):
        as_source(shaped(*shape))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_source(shaped(*shape), layout="channels_first").size == b
        assert as_source(shaped(*shape), layout="channels_last").size == a
        assert as_source(shaped(*shape), grid=(b // 32, 32)).size == b


def test_similarities_that_look_like_activations_warn_by_their_symmetry():
    z = RNG.normal(size=(4, 16, 16))
    with pytest.warns(LayoutWarning, match="square matrices"):
        as_source(z + z.swapaxes(1, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_source(z)


# Widths of published convolutional networks; images of any number but that of tokens of a transformer in front.
WIDTHS = [
    3,
    8,
    16,
    24,
    32,
    40,
    48,
    64,
    80,
    96,
    112,
    128,
    160,
    192,
    200,
    256,
    320,
    384,
    480,
    512,
    672,
    768,
    960,
    1024,
    1280,
    2048,
]
COUNTS = st.integers(1, 2000).filter(lambda n: n not in (50, 51, 54, 145, 146, 149, 197, 198, 201, 257, 258, 261))


@given(COUNTS, st.sampled_from(WIDTHS), st.integers(1, 64), st.booleans())
def test_ordinary_maps_do_not_warn(n, channels, side, flat):
    z = shaped(n, channels, side * side) if flat else shaped(n, channels, side, side)
    if flat and channels == 256 and side in (24, 32):
        with pytest.warns(LayoutWarning, match="may as well be 16 x 16 patches as tokens"):
            assert as_source(z).size == side * side
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_source(z).size == side * side


@given(COUNTS, st.sampled_from(WIDTHS), st.integers(5, 64), st.integers(1, 4))
def test_maps_of_oblong_pictures_do_not_warn(n, channels, short, share):
    long = short + max(1, short * share // 4)
    if channels != short:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            as_source(shaped(n, channels, short, long))
            as_source(shaped(n, channels, short * long), grid=(short, long))


@pytest.mark.parametrize(
    ("tokens", "how", "words"),
    [
        (197, {}, "14 x 14 patches and 1 more, which is matched as a position .*: say drop_tokens=1, or drop_tokens=0"),
        (201, {}, "5 more, which are matched as positions like the others: say drop_tokens=5, or drop_tokens=0"),
        (261, {}, "16 x 16 patches and 5 more"),
        (26, {}, "5 x 5 patches and 1 more"),
        (21, {}, "4 x 4 patches and 5 more, .* say drop_tokens=5"),
        (41, {}, "6 x 6 patches and 5 more"),
    ],
)  # fmt: skip
def test_tokens_that_stay_in_the_matching_are_said_until_their_number_is(tokens, how, words):
    with pytest.warns(LayoutWarning, match=words):
        as_source(shaped(3, tokens, 8), layout="channels_last", **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for said in ({"drop_tokens": 0}, {"drop_tokens": 5}, {"drop_tokens": 1}):
            as_source(shaped(3, tokens, 8), layout="channels_last", **said)
        for square in (196, 49, 64, 12, 30):
            as_source(shaped(3, square, 8), layout="channels_last")


def test_tokens_in_front_are_left_out():
    tokens = RNG.normal(size=(4, 14, 6))
    how = {"matching": "scipy", "layout": "channels_last"}
    for drop in (0, 1, 5):
        expected = sb.compute_rsm(tokens[:, drop:], drop_tokens=0, **how)
        np.testing.assert_array_equal(sb.compute_rsm(tokens, drop_tokens=drop, **how), expected)
    on_grid = sb.compute_rsm(tokens, drop_tokens=5, layout="channels_last", matching="translation", grid=(3, 3))
    assert (on_grid >= sb.compute_rsm(tokens, drop_tokens=5, layout="channels_last", matching="identity") - 1e-9).all()


@pytest.mark.parametrize(
    ("z", "how", "words"),
    [
        (shaped(2, 5, 3), {"layout": "channels_last", "drop_tokens": 5}, "drop_tokens=5 leaves no token"),
        (shaped(2, 5, 3), {"drop_tokens": 1}, 'for tokens .N, T, D. with layout="channels_last"'),
        (shaped(2, 5, 3), {"drop_tokens": -1}, "drop_tokens: -1 is not at least 0"),
        (
            tuple(np.ones((3, 2, 5, 4))),
            {},
            r"tuple of 3 arrays of shape \(2, 5, 4\)\. If these are hidden states .* z\[-1\]",
        ),
        ([np.ones((2, 3, 4)), np.ones((2, 3, 5))], {}, "no rectangular array. If these are hidden states"),
        ({"last_hidden_state": np.ones((2, 3, 4))}, {}, r"a mapping with 'last_hidden_state': give one of them"),
        (np.ones((2, 3)), {}, r"features \(N, P\) have no positions"),
    ],
)
def test_what_is_no_array_of_images_says_what_it_is(z, how, words):
    with pytest.raises(ValueError, match=words):
        sb.compute_rsm(z, **how)


def test_a_list_of_states_warns_and_one_of_square_maps_does_not():
    states = [np.ones((2, 5, 4))] * 3
    with pytest.warns(LayoutWarning, match=r"z is a list of 3 arrays of shape \(2, 5, 4\), which was read as 3 images"):
        as_source(states)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_source(states, layout="channels_first")
        as_source([np.ones((2, 4, 4))] * 3)


def test_torch_states_are_named_as_arrays_are():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="tuple of 2 arrays"):
        sb.compute_rsm((torch.ones(2, 5, 4), torch.ones(2, 5, 4)))
    with pytest.warns(LayoutWarning, match="14 x 14 patches and 1 more"):
        as_source(torch.ones(2, 197, 48))


def test_the_command_line_warns_in_one_line_and_the_argument_settles_it(tmp_path, monkeypatch):
    np.save(tmp_path / "tokens.npy", RNG.normal(size=(3, 50, 32)))
    np.savez(tmp_path / "tokens.npz", block=RNG.normal(size=(3, 50, 32)))
    # A path below the current folder, of which a worker knows the whole: said once all the same.
    monkeypatch.chdir(tmp_path)
    for name in ("tokens.npy", "tokens.npz"):
        words = ("rsm", name, "--matching", "identity", "--quiet")
        error = call(*words)[1]
        assert error.startswith("warning: ")
        assert error.count("\n") == 1
        assert "7 x 7 patches and 1 more as tokens (N, T, D): say layout" in error
        assert "drop_tokens=1" in call(*words, "--layout", "channels_last")[1]
        assert not call(*words, "--layout", "channels_last", "--drop-tokens", "1")[1]
