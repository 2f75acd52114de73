"""Writes the small weight files in tests/golden/checkpoints, as PyTorch and safetensors write them.

    python tests/golden/checkpoints.py      (needs torch and safetensors; the files are kept, so only to change them)
"""

import collections
import os
import pathlib

import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent / "checkpoints"


def weights(prefix: str, strided: bool) -> collections.OrderedDict:
    """Tensors of every kind that a checkpoint holds; the numbers are small and exact in every float type."""
    base = torch.arange(24, dtype=torch.float32)
    tensors = {
        "plain": base[:6].reshape(2, 3).clone(),
        "half": torch.tensor([0.5, -2.0], dtype=torch.float16),
        "bfloat": torch.tensor([1.5, 3.0], dtype=torch.bfloat16),
        "double": torch.tensor([[0.25]], dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(7.0),
        "norm.num_batches_tracked": torch.tensor(3),
    }
    if strided:
        tensors["turned"] = base[:6].reshape(2, 3).t()
        tensors["part"] = base.reshape(2, 3, 4)[:, 1:, ::2]
        tensors["tail"] = base[20:]
        tensors["last"] = base[:16].reshape(1, 2, 2, 4).contiguous(memory_format=torch.channels_last)
        tensors["learned"] = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    return collections.OrderedDict((prefix + name, tensor) for name, tensor in tensors.items())


class Evil:
    """What a pickle can do: run a command when it is loaded."""

    def __reduce__(self):
        return os.system, ("touch it-ran",)


class Network(torch.nn.Module):
    """Saved whole, its class is part of the file."""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    torch.save(weights("", True), FOLDER / "weights.pth")
    torch.save(weights("", True), FOLDER / "legacy.pth", _use_new_zipfile_serialization=False)
    layer = torch.nn.BatchNorm1d(2)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    layer(torch.randn(4, 2, generator=torch.Generator().manual_seed(0))).sum().backward()
    optimizer.step()
    training = {"epoch": 3, "arch": "toy", "optimizer": optimizer.state_dict(), "best": 0.5}
    training["state_dict"] = weights("module.", True)
    training["bn"] = layer.state_dict()
    torch.save(training, FOLDER / "training.pth")
    torch.save(training, FOLDER / "training-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"weight": torch.ones(2), "hook": Evil()}, FOLDER / "evil.pth")
    torch.save({"hook": Evil()}, FOLDER / "evil-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(Network(), FOLDER / "network.pth")
    torch.save({"weight": torch.ones(1).expand(1000, 1000)}, FOLDER / "expanded.pth")
    save_file(dict(weights("", False)), FOLDER / "weights.safetensors")


if __name__ == "__main__":
    main()
