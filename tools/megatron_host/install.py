"""Makes the Python of a checkout of Transformer Engine importable without what is compiled of it."""

import dataclasses
import glob
import importlib.util
import os
import re
import sys
import types

from megatron_host import extension


def _declared(te_path):
    """Names of the functions that the compiled extension has."""
    csrc = os.path.join(te_path, "transformer_engine/pytorch/csrc/extensions")
    text = "".join(open(path).read() for path in glob.glob(csrc + "/*.cpp"))
    return set(re.findall(r'm\.def\(\s*"(\w+)"', text))


def _module(te_path):
    module = types.ModuleType("transformer_engine_torch")
    for name, value in vars(extension).items():
        if not name.startswith("_") and not isinstance(value, types.ModuleType):
            setattr(module, name, value)
    for name in ("NVTE_QKV_Layout", "NVTE_Bias_Type", "NVTE_Mask_Type", "NVTE_Softmax_Type",
                 "NVTE_QKV_Format", "CommOverlapType", "CommOverlapAlgo", "Float8BlockScaleTensorFormat",
                 "CommGemmOverlapAlgoConfig"):
        setattr(module, name, extension.any_names(name))
    for name in ("CommOverlap", "CommOverlapP2P", "CommOverlapHelper"):
        setattr(module, name, type(name, (), {}))

    def missing(name):
        if name.startswith("__"):
            raise AttributeError(name)

        def fail(*_, **__):
            raise NotImplementedError(f"transformer_engine_torch.{name} has no stand-in")

        return fail

    for name in _declared(te_path) - set(vars(module)):
        setattr(module, name, missing(name))
    module.__getattr__ = missing
    return module


def _lenient_dataclass(**choices):
    """A dataclass that, as pydantic's, takes no notice of keywords that are no fields."""

    def wrap(cls):
        made = dataclasses.dataclass(**choices)(cls)
        init = made.__init__
        names = {field.name for field in dataclasses.fields(made)}
        made.__init__ = lambda self, *args, **kwargs: init(
            self, *args, **{key: value for key, value in kwargs.items() if key in names})
        return made

    return wrap


def _stand_in_for_pydantic():
    """Transformer Engine's recipes are dataclasses that pydantic checks; where it is not there, unchecked."""
    if importlib.util.find_spec("pydantic") is None:
        sys.modules["pydantic"] = types.ModuleType("pydantic")
        sys.modules["pydantic.dataclasses"] = types.ModuleType("pydantic.dataclasses")
        sys.modules["pydantic.dataclasses"].dataclass = _lenient_dataclass


def _allow_mxfp8():
    """Its Python runs on any device, since nothing is computed."""
    import transformer_engine.pytorch.quantization as quantization

    quantization.check_mxfp8_support = lambda: (True, "")


def install(te_path, version="2.11.0"):
    """`import transformer_engine` finds the Python of a checkout, and what stands for compiled code."""
    _stand_in_for_pydantic()
    os.environ["NVTE_PROJECT_BUILDING"] = "1"  # no library is loaded
    package = types.ModuleType("transformer_engine")
    package.__path__ = [os.path.join(te_path, "transformer_engine")]
    package.__version__ = version
    sys.modules["transformer_engine"] = package
    sys.modules["transformer_engine_torch"] = _module(te_path)
    import transformer_engine.common as common

    common.load_framework_extension = lambda framework: None
    import transformer_engine.pytorch  # noqa: F401

    _allow_mxfp8()
    package.pytorch = sys.modules["transformer_engine.pytorch"]
    package.common = common
