"""Networks of other libraries, and of the user: each source is a function from a name to the network and what is known of it."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from semrsm_bench.activations.images import Cover
from semrsm_bench.core.method import require_extra

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


class Loaded(NamedTuple):
    """A network, and the fields of `Model` that its library knows; or a whole `Model`, and nothing."""

    network: Any
    facts: dict[str, Any]


@dataclass(frozen=True)
class ProcessorFit:
    """The way into the frame that an image processor of transformers takes: its own code, up to the pixels.

    Scale and mean come later, for all networks in one place. What it pads afterwards with zeros is padded with the mean colour
    here, which becomes zero to half a grey level.
    """

    processor: Any

    def __call__(self, image: Picture) -> NDArray[np.uint8]:
        """Pixels (H, W, 3) of an RGB picture."""
        pads = getattr(self.processor, "do_pad", None)
        later = {"do_rescale": False, "do_normalize": False, **({"do_pad": False} if pads else {})}
        made = self.processor(images=image, return_tensors="np", **later)["pixel_values"][0]
        pixels = np.asarray(made, dtype=np.uint8).transpose(1, 2, 0)
        if not pads:
            return pixels
        size = self.processor.pad_size
        frame = np.empty((size["height"], size["width"], 3), dtype=np.uint8)
        frame[:] = np.rint(255 * np.array(self.processor.image_mean))
        frame[: pixels.shape[0], : pixels.shape[1]] = pixels
        return frame

    def __str__(self) -> str:
        said = self.processor.to_dict()
        names = ("do_resize", "size", "resample", "crop_pct", "do_center_crop", "crop_size", "do_pad", "pad_size")
        shown = ", ".join(f"{name} {said[name]}" for name in names if said.get(name) not in (None, False))
        return f"{said['image_processor_type']} of transformers ({shown})"


def _transformers(name: str) -> Loaded:
    """A vision model, or the vision tower of one of pictures and texts, from a folder or the Hub."""
    require_extra(f"hf:{name}", "hf", "transformers", "PIL")
    import transformers

    folder = Path(name).expanduser()
    place = str(folder) if folder.is_dir() else name
    try:
        with _quiet(transformers):
            # Code that comes with a model is never run; the library would ask on a terminal.
            how = {"trust_remote_code": False}
            config = transformers.AutoConfig.from_pretrained(place, **how)
            # backend="pil": the other one needs torchvision, and scales pictures a little differently. With this one a cache does
            # not depend on whether torchvision is installed.
            processor = transformers.AutoImageProcessor.from_pretrained(place, backend="pil", **how)
            classifies = any(kind.endswith("ForImageClassification") for kind in config.architectures or ())
            maker = transformers.AutoModelForImageClassification if classifies else transformers.AutoModel
            # Weights of half precision are widened: not every layer has a version for them on a CPU.
            # Those of another shape are said below.
            how |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
            whole, report = maker.from_pretrained(place, dtype="float32", **how)
    except (OSError, ValueError, ImportError, RuntimeError, LookupError, SafetensorError) as error:
        # The library's words are of many lines, and the first one says it.
        said = str(error).strip().split("\n")[0]
        needs = "config.json, preprocessor_config.json and the weights, as save_pretrained of the model and of its image processor"
        where = (
            f"{place} needs {needs} write them"
            if folder.is_dir()
            else "it is no folder here, nor a model of the Hub that can be had"
        )
        raise FileNotFoundError(f"hf:{name}: {said} ({where})") from None
    towers = () if classifies else ("vision_model", "vision_encoder")
    tower = next((kind for kind in towers if hasattr(whole, kind)), "")
    network = getattr(whole, tower) if tower else whole
    # A pooler on top is not in every file, and no layer depends on it.
    prefix = f"{tower}." if tower else ""
    absent = sorted(key for key in report["missing_keys"] if key.startswith(prefix) and "pooler" not in key)
    if absent or report["mismatched_keys"]:
        found, expected = sorted(report["unexpected_keys"]), absent or [str(key) for key in report["mismatched_keys"]]
        raise ValueError(
            f"hf:{name}: the weights are of another network than {type(whole).__name__}, which config.json says: "
            f"{len(expected)} tensors are missing or of another shape ({', '.join(expected[:3])}, ...), and "
            f"{len(found)} unknown ({', '.join(found[:3])}, ...): take both from one save_pretrained"
        )
    if network.main_input_name != "pixel_values":
        raise ValueError(f"hf:{name}: {type(network).__name__} takes {network.main_input_name}, not pictures")
    return Loaded(network, {**_processed(processor), "drop_tokens": special_tokens(network)})


def special_tokens(network: Any) -> int | None:
    """Tokens that a network of transformers or timm has in front of its patches; None of a network of another kind."""
    if not hasattr(network, "config"):
        return getattr(network, "num_prefix_tokens", None)
    found = [(key.split(".")[-1], value) for key, value in network.named_parameters()]
    single = sum(name in ("cls_token", "class_embedding", "distillation_token") for name, _ in found)
    return single + sum(int(value.shape[-2]) for name, value in found if name == "register_tokens")


def _processed(processor: Any) -> dict[str, Any]:
    """Fields of `Model` that an image processor says."""
    from PIL import Image

    fit = ProcessorFit(processor)
    scale = 255 * processor.rescale_factor if processor.do_rescale else 255.0
    zeros, ones = (0.0,) * 3, (1.0,) * 3
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else (zeros, ones)
    side = fit(Image.new("RGB", (64, 64))).shape[0]
    return {"size": side, "fit": fit, "mean": tuple(m / scale for m in mean), "std": tuple(s / scale for s in std)}


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No bars and reports of its own meanwhile: what matters in them is said as an error."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _torchvision(name: str) -> Loaded:
    """A network with its default weights."""
    models = _imported("torchvision", name).models
    if name not in models.list_models():
        raise ValueError(f"torchvision has no model {name!r}; torchvision.models.list_models() names them")
    weights = models.get_model_weights(name).DEFAULT
    told = weights.transforms()
    try:
        (side,), (short,) = told.crop_size, told.resize_size
    except (AttributeError, ValueError):
        raise ValueError(f"torchvision:{name} does not classify pictures: give it by module:MODULE:FUNCTION") from None
    fit = Cover((side, side), short, told.interpolation.value)
    facts = {"size": side, "fit": fit, "mean": tuple(told.mean), "std": tuple(told.std)}
    return Loaded(models.get_model(name, weights=weights), facts)


def _timm(name: str) -> Loaded:
    """A network with its default weights, or those of a tag: NAME.TAG."""
    timm = _imported("timm", name)
    if not timm.is_model(name):
        raise ValueError(f"timm has no model {name!r}; timm.list_models() names them")
    network = timm.create_model(name, pretrained=True)
    told = timm.data.resolve_model_data_config(network)
    _, height, width = told["input_size"]
    fit = Cover((height, width), int(min(height, width) / told["crop_pct"]), told["interpolation"])
    facts: dict[str, Any] = {"size": width, "fit": fit, "mean": tuple(told["mean"]), "std": tuple(told["std"])}
    return Loaded(network, {**facts, "drop_tokens": special_tokens(network)})


def _imported(library: str, name: str) -> Any:
    require_extra(f"{library}:{name}", "timm", library, "PIL")
    try:
        return importlib.import_module(library)
    except (
        ImportError,
        RuntimeError,
        OSError,
    ) as error:  # a torchvision built for another torch fails in all these ways
        advice = "install the one that was built for the torch here"
        raise ImportError(
            f"{library}:{name}: {library} is installed and cannot be imported ({error}): {advice}"
        ) from None


def _module(name: str) -> Loaded:
    """What a function of the user's returns: a module, or a `Model`."""
    package, colon, function = name.partition(":")
    if not colon:
        raise ValueError(f"module:{name} does not name a function; it is module:PACKAGE.MODULE:FUNCTION")
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does: the file may lie where the command is called
    try:
        found = getattr(importlib.import_module(package), function)
    except (ImportError, AttributeError) as error:
        raise ImportError(f"module:{name}: {error}") from None
    finally:
        sys.path.pop(0)
    wanted = "needed is a function that is called without arguments and returns a torch module"
    if not callable(found) or (hasattr(found, "named_modules") and not isinstance(found, type)):
        raise ValueError(f"module:{name} is of type {type(found).__name__}; {wanted}")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise ValueError(f"module:{name} needs arguments ({error}); {wanted}: write one that gives them") from None
    return Loaded(found(), {"size": 0, "mean": (), "std": ()})  # nothing is known of its preprocessing


LIBRARIES: dict[str, Callable[[str], Loaded]] = {
    "hf": _transformers,
    "timm": _timm,
    "torchvision": _torchvision,
    "module": _module,
}
