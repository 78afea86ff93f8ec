"""What hooked layers return, in every layout that networks use, against the maps they were made of."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import semrsm_bench as sb
from semrsm_bench.activations.models import Model
from semrsm_bench.activations.outputs import LayoutError, grid_of
from semrsm_bench.activations.reader import LayerReader, describe_layers

SIDE = 32


class Form(nn.Module):
    """Maps (N, C, H, W) in another form."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, maps):
        return self.form(maps)


class Network(nn.Module):
    """A convolution whose maps the submodule ``layer`` gives in some form; with ``fixed`` it takes pictures of one size alone."""

    def __init__(self, form, channels=6, patch=8, fixed=False):
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.Conv2d(3, channels, patch, patch)
        self.layer = Form(form)
        self.fixed = fixed

    def forward(self, x):
        if self.fixed and x.shape[2:] != (SIDE, SIDE):
            raise ValueError("another size")
        self.layer(self.maps(x))
        return


def pictures(count=3, height=SIDE, width=SIDE):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def read(network, x, **told):
    """The layer's activations, after a check against the maps; and its words."""
    with LayerReader(Model("net", network, ("layer",), **told), ("layer",)) as reader:
        found = reader(x)
    with torch.no_grad():
        maps = network.maps(x)
    np.testing.assert_allclose(found.layers["layer"], maps.flatten(2).numpy(), rtol=1e-5, atol=1e-6)
    assert found.grids["layer"] == tuple(maps.shape[2:])
    np.testing.assert_array_equal(found["layer"], found.layers["layer"].reshape(maps.shape))
    return found.read_as["layer"]


def tokens(special=0):
    return lambda maps: torch.cat(
        [torch.full((len(maps), special, maps.shape[1]), 9.0), maps.flatten(2).transpose(1, 2)], dim=1
    )


FORMS = {
    "maps (N, C, H, W)": lambda maps: maps,
    "maps (N, H, W, C)": lambda maps: maps.permute(0, 2, 3, 1),
    "tokens (N, T, D), none left out": tokens(),
    "tokens (N, T, D), 1 left out": tokens(1),
    "(T, N, D), since axis 1 of (16, 3, 6) is that of the 3 pictures; none left out": lambda m: tokens()(m).transpose(
        0, 1
    ),
    "(T, N, D), since axis 1 of (17, 3, 6) is that of the 3 pictures; 1 left out": lambda m: tokens(1)(m).transpose(
        0, 1
    ),
}


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("words", FORMS)
@pytest.mark.filterwarnings("error")
def test_every_layout_is_found_by_what_the_shapes_prove(words, fixed):
    # Which of the tokens is the one too many no shape proves: what was taken for it is said, unless the user has said it.
    told = {"drop_tokens": 1} if "1 left out" in words else {}
    assert read(Network(FORMS[words], fixed=fixed), pictures(), **told) == words
    if told:
        with pytest.warns(
            UserWarning, match="17 tokens; the first is left out, taken for a class token: --drop-tokens 1"
        ):
            assert read(Network(FORMS[words], fixed=fixed), pictures()) == words


def test_registers_that_make_a_larger_square_with_the_patches_are_found_by_wider_pictures():
    with pytest.raises(
        LayoutError, match=r"returns 25 tokens: .* these are no patches: --drop-tokens 9 leaves them out"
    ):
        read(Network(tokens(9)), pictures())
    assert read(Network(tokens(9)), pictures(), drop_tokens=9) == "tokens (N, T, D), 9 left out"


def test_complex_numbers_and_numbers_that_are_not_finite_are_refused_by_their_layer():
    with pytest.raises(LayoutError, match=r"layer 'layer' returns complex numbers \(3, 6, 4, 4\): give their absolute"):
        read(Network(torch.fft.fft2), pictures())
    x = torch.rand(200, 3, SIDE, SIDE)
    x[130] = 1e30
    spoiled = nn.Sequential(nn.Conv2d(3, 6, 8, 8), Squares())
    with pytest.raises(
        ValueError, match="layer '1' of Sequential gives NaN or infinite numbers, first for picture 130"
    ):
        sb.extract(spoiled, x, ["1"])


class Squares(nn.Module):
    def forward(self, x):
        return x * x


def test_layers_under_two_names_of_scripts_and_without_submodules():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = self.again = nn.Conv2d(3, 6, 8, 8)

        def forward(self, x):
            return self.again(x)

    x = pictures()
    found = sb.extract(Named(), x, ["maps", "again"])
    np.testing.assert_array_equal(found["maps"], found["again"])
    with pytest.raises(ValueError, match=r"Conv2d is one Conv2d without submodules: put it into torch.nn.Sequential"):
        sb.extract(nn.Conv2d(3, 6, 8), x, ["*"])
    traced = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 6, 8, 8), nn.ReLU()), x)
    with pytest.raises(ValueError, match="scripted or traced network take no hooks; give the network itself"):
        sb.extract(traced, x, ["1"])


def test_a_layer_that_runs_for_some_pictures_alone():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps, self.more, self.passes = nn.Conv2d(3, 6, 8, 8), nn.ReLU(), 0

        def forward(self, x):
            self.passes += 1
            return self.more(self.maps(x)) if self.passes == 1 else self.maps(x)

    with pytest.raises(ValueError, match="'more' of Sometimes did not run for some of the pictures 32 and later"):
        sb.extract(Sometimes(), torch.rand(140, 3, 64, 64), ["more"])


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_network_of_other_than_colour_pictures_gets_them_as_they_are(channels):
    x = torch.rand(5, channels, SIDE, SIDE)
    network = nn.Sequential(nn.Conv2d(channels, 6, 8, 8))
    with torch.no_grad():
        np.testing.assert_allclose(sb.extract(network, x, ["0"])["0"], network(x).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", [lambda maps: maps, lambda maps: maps.permute(0, 2, 3, 1)])
def test_as_many_channels_as_rows_are_told_apart_by_wider_pictures_or_by_the_user(form):
    # (3, 4, 4, 4): every axis could be the channels.
    words = read(Network(form, channels=4), pictures())
    fixed = Network(form, channels=4, fixed=True)
    with pytest.raises(
        LayoutError, match=r"layer 'layer' returns \(3, 4, 4, 4\): this may be .* --layout channels_first or"
    ):
        read(fixed, pictures())
    layout = "channels_first" if "C, H, W" in words else "channels_last"
    assert read(fixed, pictures(), layout=layout) == words
    other = "channels_last" if "C, H, W" in words else "channels_first"
    with pytest.raises(AssertionError):  # what the user says is taken, right or wrong
        read(fixed, pictures(), layout=other)


@pytest.mark.parametrize("first", [False, True])
def test_as_many_tokens_as_pictures_are_told_apart_by_one_picture_fewer(first):
    form = (lambda m: tokens()(m).transpose(0, 1)) if first else tokens()
    assert read(Network(form, fixed=True), pictures(16)).startswith("(T, N, D)") == first


def test_one_picture_alone_is_read_as_many_are():
    for words, form in FORMS.items():
        assert read(Network(form), pictures(1), drop_tokens=int("1 left out" in words))[:5] == words[:5]


@pytest.mark.parametrize("special", [2, 5])
def test_register_tokens_are_never_taken_for_positions_in_silence(special):
    network = Network(tokens(special))
    wanted = rf"returns {16 + special} tokens: .*register tokens\?\); --drop-tokens {special} leaves 16, which do; .*0 keeps all"
    with pytest.raises(LayoutError, match=wanted):
        read(network, pictures())
    assert read(network, pictures(), drop_tokens=special) == f"tokens (N, T, D), {special} left out"
    with pytest.raises(LayoutError, match="cannot drop 99 of them"):
        read(network, pictures(), drop_tokens=99)
    with LayerReader(Model("net", network, ("layer",), drop_tokens=0), ("layer",)) as reader:
        found = reader(pictures())
    assert found["layer"].shape == (3, 6, 16 + special)
    assert found.grids == {"layer": None}


@pytest.mark.parametrize("special", [1, 5])
def test_a_layer_without_the_tokens_that_the_network_has_keeps_its_patches(special):
    network = Network(tokens())
    model = Model("net", network, ("layer",), drop_tokens=special)
    words = f"16 tokens, which make a grid; without the first {special} they do not: all are kept"
    with LayerReader(model, ("layer",)) as reader, pytest.warns(UserWarning, match=words):
        found = reader(pictures())
    assert found["layer"].shape == (3, 6, 4, 4)
    assert found.read_as == {"layer": "tokens (N, T, D), none left out"}


def test_flat_maps_are_told_from_tokens_or_the_user_says_which():
    def flat(maps):
        return maps.flatten(2)

    assert read(Network(flat), pictures()) == "flat maps (N, C, S)"
    with pytest.raises(LayoutError, match=r"\(3, 6, 16\): 6 tokens make no grid, 16 positions would; say which"):
        read(Network(flat, fixed=True), pictures())
    assert read(Network(flat, fixed=True), pictures(), layout="channels_first") == "flat maps (N, C, S)"
    # 9 channels might be 3 x 3 tokens: it takes the other width to tell, else the usual meaning is taken, and said.
    assert read(Network(flat, channels=9), pictures()) == "flat maps (N, C, S)"
    assert read(Network(tokens(), channels=9), pictures()) == "tokens (N, T, D), none left out"
    with pytest.warns(
        UserWarning, match=r"\(3, 16, 9\), read as tokens \(N, T, D\); it may be \(N, C, S\): .*channels_first"
    ):
        assert read(Network(tokens(), channels=9, fixed=True), pictures()) == "tokens (N, T, D), none left out"


def test_windows_of_a_picture_are_no_pictures():
    for form, words in (
        (lambda m: tokens()(m).reshape(-1, 4, 6), r"\(12, 4, 6\): no axis is that of the 3 pictures"),
        (lambda m: m.permute(0, 2, 3, 1).reshape(-1, 2, 2, 6), r"\(12, 2, 2, 6\): the first axis is not that of the 3"),
    ):
        with pytest.raises(LayoutError, match=words + ".* Name the block around it"):
            read(Network(form), pictures())


@pytest.mark.filterwarnings("error")
def test_a_tuple_is_read_where_one_of_it_can_be_meant():
    hidden = tokens(1)
    for form in (
        lambda m: (hidden(m),),
        lambda m: [hidden(m), None, (2, 2)],
        lambda m: {"pooler_output": m.mean((2, 3)), "last_hidden_state": hidden(m), "hidden_states": (hidden(m),) * 3},
    ):
        assert read(Network(form), pictures(), drop_tokens=1) == "tokens (N, T, D), 1 left out"
    with pytest.raises(LayoutError, match=r"returns 3 tensors, several of shape \(3, 17, 6\): name the submodule"):
        read(Network(lambda m: (hidden(m),) * 3), pictures())
    with pytest.warns(UserWarning, match=r"the first tensor \(3, 17, 6\) is taken, not \(3, 2, 17, 17\)"):
        read(Network(lambda m: (hidden(m), torch.zeros(3, 2, 17, 17))), pictures(), drop_tokens=1)
    for form, what in (
        (lambda m: m.mean((2, 3)), r"\(3, 6\)"),
        (lambda m: None, "NoneType"),
        (lambda m: "text", "str"),
    ):
        with pytest.raises(LayoutError, match=f"layer 'layer' returns {what}: needed are maps"):
            read(Network(form), pictures())


@pytest.mark.parametrize("words", FORMS)
def test_pictures_that_are_no_squares(words):
    x = pictures(3, 16, 48)  # 2 x 6 patches
    assert read(Network(FORMS[words]), x, drop_tokens=int("1 left out" in words))[:5] == words[:5]
    assert [grid_of(count, (16, 48)) for count in (3, 12, 27, 13, 0)] == [(1, 3), (2, 6), (3, 9), None, None]
    assert grid_of(49, (224, 224)) == (7, 7)


def test_layers_that_run_twice_or_never():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.spare, self.maps = nn.ReLU(inplace=True), nn.Identity(), nn.Conv2d(3, 6, 8, 8)

        def forward(self, x):
            return self.relu(self.relu(self.maps(x)) - 0.3).mean((2, 3))

    network, x = Shared(), pictures()
    with pytest.warns(UserWarning, match="layer 'relu' ran 2 times in one pass, and the last output is kept"):
        found = sb.extract(network, x, ["maps", "relu"])
    with torch.no_grad():
        maps = network.maps(x)
    # The ReLU works in place on what the hook before it saw.
    np.testing.assert_allclose(found["maps"], maps, rtol=1e-5)
    assert (found["maps"] < 0).any()
    np.testing.assert_allclose(found["relu"], (maps.relu() - 0.3).relu(), rtol=1e-5)
    np.testing.assert_allclose(found.logits, found["relu"].mean((2, 3)), rtol=1e-5)
    with pytest.raises(ValueError, match="layer 'spare' of Shared never ran: name another one"):
        sb.extract(network, x, ["maps", "spare"])


class Blocks(nn.Module):
    """Twelve blocks of maps, an attribute that is no block, and logits."""

    def __init__(self, count=12):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 6, 8, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Dropout(0.5)) for _ in range(count)
        )

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))


def test_extract_gives_named_layers_in_the_order_of_the_network():
    network, x = Blocks().train(), pictures(4)
    found = sb.extract(network, x, ["blocks.*", "stem"])
    assert list(found) == [*(f"blocks.{i}" for i in range(12)), "stem"]
    assert list(sb.extract(network, x, ["blocks.[0-2]", "blocks.1?.0"])) == [
        *("blocks.0", "blocks.1", "blocks.2"),
        *("blocks.10.0", "blocks.11.0"),
    ]
    # Trained on, dropout and all: it was in eval mode meanwhile alone, and its statistics are as they were.
    assert network.training
    assert network.blocks[3][2].training
    assert network.blocks[0][1].num_batches_tracked == 0
    again = sb.extract(network.eval(), x, ["blocks.11"])
    np.testing.assert_array_equal(found["blocks.11"], again["blocks.11"])
    assert not network.training
    with torch.no_grad():
        np.testing.assert_allclose(found.logits, network(x), rtol=1e-4, atol=1e-6)
    rsm = sb.compute_rsm(found["blocks.11"], matching="translation")
    assert rsm.shape == (4, 4)


@pytest.mark.parametrize("convert", [np.asarray, torch.Tensor.double, torch.Tensor.half, torch.Tensor.requires_grad_])
def test_extract_takes_inputs_of_every_kind(convert):
    network, x = Blocks(2), pictures(4)
    found = sb.extract(network, convert(x.clone()), ["stem"])["stem"]
    np.testing.assert_allclose(found, network.stem(x).detach(), atol=2e-3)
    half = sb.extract(Blocks(2).half(), x, ["stem"])["stem"]
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, found, atol=2e-2)


def test_extract_of_pixels_and_files_uses_the_preprocessing_that_is_said(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    pixels.setflags(write=False)
    for i, picture in enumerate(pixels):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    network, how = Blocks(2), {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}
    inputs = (pixels.transpose(0, 3, 1, 2) / 255 - np.reshape(how["mean"], (3, 1, 1))) / np.reshape(
        how["std"], (3, 1, 1)
    )
    expected = sb.extract(network, inputs, ["stem"])["stem"]
    np.testing.assert_allclose(sb.extract(network, pixels, ["stem"], **how)["stem"], expected, atol=1e-5)
    found = sb.extract(network, tmp_path, ["stem"], size=SIDE, **how)
    assert found.ids == ("a/0.png", "a/2.png", "b/1.png")
    assert found.labels.tolist() == [0, 0, 1]
    np.testing.assert_allclose(found["stem"], expected[[0, 2, 1]], atol=1e-5)
    assert found.pictures == "3 pictures read"
    (tmp_path / "b" / "1.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"1 of 3 pictures are left out; .*1\.png: not a readable image"):
        fewer = sb.extract(network, tmp_path, ["stem"], size=SIDE, **how)
    assert (fewer.ids, fewer.labels.tolist()) == (("a/0.png", "a/2.png"), [0, 0])
    np.testing.assert_allclose(fewer["stem"], expected[[0, 2]], atol=1e-5)
    with pytest.warns(UserWarning, match="1 of 1"), pytest.raises(ValueError, match="no picture is left"):
        sb.extract(network, tmp_path / "b", ["stem"], size=SIDE, **how)
    one = sb.extract(network, [tmp_path / "a" / "2.png"], ["stem"], size=SIDE, **how)
    np.testing.assert_allclose(one["stem"], expected[2:], atol=1e-5)
    with pytest.raises(ValueError, match="Blocks says no preprocessing of its own: give size, mean, std "):
        sb.extract(network, tmp_path, ["stem"])
    with pytest.raises(ValueError, match="Blocks says no preprocessing of its own: give std "):
        sb.extract(network, pixels, ["stem"], mean=how["mean"])


def test_ids_that_are_given_travel_to_rsms():
    torch.manual_seed(0)
    network, pixels = nn.Conv2d(3, 4, 3), torch.rand(5, 3, 8, 8)
    net = nn.Sequential(network)
    found = sb.extract(net, pixels, ["0"], ids="abcde")
    assert found["0"].ids == sb.compute_rsm(found["0"], matching="identity").ids == tuple("abcde")
    turned = sb.extract(net, pixels.flip(0), ["0"], ids="edcba")
    with pytest.raises(ValueError, match="in another order"):
        sb.metrics.cka(*(sb.compute_rsm(f["0"], matching="identity") for f in (found, turned)), estimator="debiased")
    with pytest.raises(ValueError, match="there are 2 ids for 5 samples"):
        sb.extract(net, pixels, ["0"], ids="ab")
    with pytest.raises(TypeError, match="model must be a torch module"):
        sb.extract(lambda x: x, pixels, ["0"])


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((3, 32, 32, 3)), r"images are \(N, C, H, W\) floats.* got \(3, 32, 32, 3\) float64"),
        (np.zeros((3, 32, 32)), r"got \(3, 32, 32\)"),
        (np.zeros((0, 3, 32, 32)), r"got \(0, 3, 32, 32\)"),
        (np.zeros((2, 3, 32, 32), dtype=int), "int64"),
        (np.full((2, 3, 32, 32), np.nan), "not finite"),
        (np.zeros((2, 3, 4, 4)), r"Blocks fails on an input \(2, 3, 4, 4\): .*[Kk]ernel size"),
        ([[1, 2], [3]], "images is not a rectangular array"),
        (np.array([["a", None]]), "got"),
    ],
)
def test_extract_says_what_is_wrong_with_images(images, words):
    with pytest.raises(ValueError, match=words):
        sb.extract(Blocks(2), images, ["stem"])


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], r"name layers with --layers, such as --layers 'blocks\.\*'; at the top are stem, blocks"),
        (["blocks.9"], "has no submodule 'blocks.9'; `semrsm-bench data layers MODEL` lists all"),
        (["block.*"], r"has no submodule 'block\.\*'; `semrsm-bench data"),
        (["model.blocks.*"], r"has no submodule 'model\.blocks\.\*'; it has blocks\.\*$"),
        (["layer.0"], r"no submodule 'layer\.0'; it has blocks\.0, blocks\.0\.0, blocks\.1\.0"),
    ],
)
def test_layers_that_are_not_there(layers, words):
    with pytest.raises(ValueError, match=words):
        sb.extract(Blocks(2), pictures(), layers)


def test_what_each_submodule_returns_is_listed():
    class Odd(Network):
        def __init__(self):
            super().__init__(tokens(5))
            self.spare = nn.Identity()

    model = Model("net", Odd(), (), SIDE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = describe_layers(model)
    assert [(row["layer"], row["module"], row["returns"], row["grid"]) for row in rows] == [
        ("maps", "Conv2d", "(1, 6, 4, 4)", (4, 4)),
        ("layer", "Form", "21 tokens", None),
        ("spare", "Identity", "", None),
    ]
    assert "register tokens" in rows[1]["read as"]
    assert [row["read as"] for row in (rows[0], rows[2])] == ["maps (N, C, H, W)", "never runs in a pass"]
    (row,) = describe_layers(Model("net", Odd(), (), SIDE, drop_tokens=5), ["la*"])
    assert (row["returns"], row["read as"], row["grid"]) == ("(1, 21, 6)", "tokens (N, T, D), 5 left out", (4, 4))
