"""What is asked about a GPU: whether torch can use it, what is said where it cannot, and what is set before it is used."""

import os
import warnings

import pytest
import torch
from pretended_gpu import kept_switches, pretended_gpu

from swdb.core.errors import BadInput
from swdb.nn import cuda
from swdb.nn.compute import Compute, choose_device, preferred_precision

OLD_DRIVER = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 12040). "
    "(Triggered internally at /pytorch/c10/cuda/CUDAFunctions.cpp:119.)"
)


@pytest.fixture
def old_driver(tmp_path, monkeypatch):
    """A machine with a GPU whose driver torch cannot use."""

    def is_available() -> bool:
        warnings.warn(OLD_DRIVER, UserWarning, stacklevel=2)
        return False

    monkeypatch.setattr(cuda, "NVIDIA", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_driver_that_torch_cannot_use_is_refused_where_nobody_chose(old_driver):
    with pytest.raises(BadInput) as caught:
        choose_device("auto")
    assert caught.value.subject == "--device auto"
    assert "driver on your system is too old (found version 12040)" in caught.value.found
    assert "Triggered" not in caught.value.found and "--device cpu" in caught.value.expected


def test_with_such_a_driver_the_processor_may_still_be_chosen(old_driver):
    assert choose_device("cpu") == torch.device("cpu")


def test_with_such_a_driver_a_gpu_is_refused_with_the_reason(old_driver):
    with kept_switches(), pytest.raises(BadInput) as caught:
        choose_device("cuda")
    assert caught.value.subject == "--device cuda" and "too old" in caught.value.found


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_gpus_that_are_hidden_on_purpose_trouble_nobody(old_driver, monkeypatch, hidden):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert cuda.trouble() == "" and choose_device("auto") == torch.device("cpu")


def test_a_driver_that_torch_says_nothing_about_is_named_by_versions(old_driver, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch.__version__ in cuda.trouble()


def test_without_a_driver_there_is_no_trouble(monkeypatch, tmp_path):
    monkeypatch.setattr(cuda, "NVIDIA", tmp_path / "none")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cuda.trouble() == "" and not cuda.cuda_works() and not cuda.has_bf16()


def test_the_first_use_of_a_gpu_makes_it_deterministic_and_fp32_whole(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with pretended_gpu():
        device = choose_device("auto")
        assert device.type == "cuda"
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert torch.backends.cudnn.deterministic and torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark and not torch.utils.deterministic.fill_uninitialized_memory
        assert torch.backends.cudnn.conv.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "ieee"
        described = Compute(device, "fp32").describe()
    assert described["name"] == "a pretended GPU" and described["cuda"] == torch.version.cuda
    assert (described["tf32"], described["deterministic"], described["capability"]) == (False, True, "9.0")
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_is_set_otherwise_is_said():
    with pretended_gpu():
        device = choose_device("cuda")
        torch.backends.cudnn.conv.fp32_precision = "tf32"
        torch.backends.cudnn.deterministic = False
        described = cuda.describe(device)
    assert (described["tf32"], described["deterministic"]) == (True, False)


def test_a_gpu_whose_kernels_do_not_start_is_refused(monkeypatch):
    def launched(*_, **__):
        raise torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device")

    with pretended_gpu():
        monkeypatch.setattr(torch.Tensor, "add_", launched)
        with pytest.raises(BadInput) as caught:
            choose_device("cuda")
    assert caught.value.subject == "--device cuda"


@pytest.mark.parametrize(("own", "precision"), [(True, "bf16"), (False, "fp32")])
def test_bf16_that_is_only_emulated_does_not_count(monkeypatch, own, precision):
    with pretended_gpu():
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: own or including_emulation
        )
        assert preferred_precision(torch.device("cuda")) == precision


def test_for_a_moment_any_order_is_allowed():
    with kept_switches():
        torch.use_deterministic_algorithms(True, warn_only=True)
        with cuda.any_order():
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
