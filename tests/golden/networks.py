"""Writes what the networks of `sigmawatch models convert` give for weights and pictures that a formula makes.

    python tests/golden/networks.py          (needs torch, torchvision and timm; the files are kept, so only to change them)

torchvision's and timm's networks are theirs; Hara's are written here from the published architecture (Hara, Kataoka
& Satoh, CVPR 2018) with plain modules of torch. src/features/nets/parity.rs makes the same weights and pictures.
"""

import pathlib

import numpy as np
import timm
import torch
import torchvision
from torch import nn

# Expectations are computed in 64 bits: what differs is ours.
FOLDER = pathlib.Path(__file__).parent / "networks"
EVERY = 8  # of the numbers of a vector are kept: one of so many


def mixed(name: str, count: int) -> np.ndarray:
    """32 bits for every index: FNV-1a of the name, a step for the index, and the end of MurmurHash3."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = (seed ^ byte) * 0x01000193 & 0xFFFFFFFF
    h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9) + np.uint32(seed)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    return h ^ h >> np.uint32(16)


def numbers(name: str, shape) -> torch.Tensor:
    """The tensor `name`: uniform, of a size that keeps activations in bounds."""
    h = mixed(name, int(np.prod(shape)))
    u = ((h >> np.uint32(8)).astype(np.float32) - np.float32(8388608)) / np.float32(8388608)
    if name.endswith("running_mean"):
        u = u * np.float32(0.25)
    elif name.endswith("running_var"):
        u = u * np.float32(0.5) + np.float32(1)
    elif "token" in name or "pos_embed" in name:
        u = u * np.float32(0.5)
    elif len(shape) >= 2:
        u = u * np.float32(np.sqrt(3.0 / np.prod(shape[1:])))
    elif name.endswith("weight"):
        u = u * np.float32(0.25) + np.float32(1)
    else:
        u = u * np.float32(0.25)
    return torch.from_numpy(u.reshape(shape))


def filled(network: nn.Module) -> nn.Module:
    state = network.state_dict()
    for name, tensor in state.items():
        if not name.endswith("num_batches_tracked"):
            state[name] = numbers(name, tuple(tensor.shape))
    network.load_state_dict(state)
    return network.eval().double()


def pictures(side: int) -> torch.Tensor:
    """Sixteen frames [16, side, side, 3] of noise that becomes brighter, 0 to 255."""
    noise = (mixed("frames", 16 * side * side * 3) >> np.uint32(24)).reshape(16, -1)
    brighter = noise * np.arange(1, 17, dtype=np.uint32)[:, None] >> np.uint32(4)
    return torch.from_numpy(brighter.astype(np.float64)).reshape(16, side, side, 3)


# ---- Hara's networks -------------------------------------------------------------------------------


class Basic(nn.Module):
    expansion = 1

    def __init__(self, inputs, planes, stride, downsample):
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = nn.Conv3d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(planes)
        self.downsample = downsample

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Grouped(nn.Module):
    expansion = 2

    def __init__(self, inputs, planes, stride, downsample):
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = nn.Conv3d(planes, planes, 3, stride, 1, groups=32, bias=False)
        self.bn2 = nn.BatchNorm3d(planes)
        self.conv3 = nn.Conv3d(planes, 2 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(2 * planes)
        self.downsample = downsample

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(torch.relu(self.bn2(self.conv2(y)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Hara(nn.Module):
    def __init__(self, block, depths, planes):
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, 7, (1, 2, 2), 3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.pool = nn.MaxPool3d(3, 2, 1)
        inputs = 64
        for layer, depth in enumerate(depths):
            blocks = []
            for number in range(depth):
                stride = 2 if layer > 0 and number == 0 else 1
                outputs = planes * block.expansion
                downsample = None
                if stride != 1 or inputs != outputs:
                    conv = nn.Conv3d(inputs, outputs, 1, stride, bias=False)
                    downsample = nn.Sequential(conv, nn.BatchNorm3d(outputs))
                blocks.append(block(inputs, planes, stride, downsample))
                inputs = outputs
            setattr(self, f"layer{layer + 1}", nn.Sequential(*blocks))
            planes *= 2

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


# ---- What each network gives -----------------------------------------------------------------------


def video(last_map, scale) -> tuple[torch.Tensor, torch.Tensor]:
    """The whole frame [dims], and the regions [regions, dims]."""
    mean, deviation = (torch.tensor(of, dtype=torch.float64).reshape(3, 1, 1, 1) for of in scale)
    x = (pictures(112).permute(3, 0, 1, 2) / 255 - mean) / deviation
    y = last_map(x[None])[0]
    return y.mean((1, 2, 3)), y.mean(1).flatten(1).t()


def transformer(tokens, scale, side=224) -> tuple[torch.Tensor, torch.Tensor]:
    mean, deviation = (torch.tensor(of, dtype=torch.float64).reshape(3, 1, 1) for of in scale)
    x = (pictures(side)[::5].permute(0, 3, 1, 2) / 255 - mean) / deviation
    y = tokens(x)
    grid = side // 16
    squares = y[:, 1:].reshape(4, grid // 2, 2, grid // 2, 2, 768).mean((2, 4)).flatten(1, 2)
    pooled = [torch.cat([part.mean(0), part.std(0, unbiased=False)], -1) for part in (y[:, 0], squares)]
    return pooled[0], pooled[1]


def torchvision_tokens(network):
    def tokens(x):
        x = network._process_input(x)
        return network.encoder(torch.cat([network.class_token.expand(len(x), -1, -1), x], 1))

    return tokens


IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HALF = [0.5] * 3, [0.5] * 3


def main() -> None:
    FOLDER.mkdir(exist_ok=True)

    r3d = filled(torchvision.models.video.r3d_18())
    up_to_layer4 = nn.Sequential(r3d.stem, r3d.layer1, r3d.layer2, r3d.layer3, r3d.layer4)
    tv_video = [0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989]
    hara = [0.4345, 0.4051, 0.3775], [0.2768, 0.2713, 0.2737]
    hara_2017 = [mean / 255 for mean in (110.64, 103.16, 96.29)], [1 / 255] * 3
    vit = filled(torchvision.models.vit_b_16())
    timm_vit = filled(timm.create_model("vit_base_patch16_224", depth=2))
    small = filled(timm.create_model("vit_base_patch16_224", depth=2, img_size=96, num_classes=0))
    hybrid = filled(timm.create_model("vit_base_r50_s16_224", depth=2))
    cases = {
        "r3d18-torchvision": lambda: video(up_to_layer4, tv_video),
        "r3d18-hara": lambda: video(filled(Hara(Basic, [2, 2, 2, 2], 64)), hara),
        "resnext101-hara": lambda: video(filled(Hara(Grouped, [3, 4, 23, 3], 128)), hara_2017),
        "vit-b16-torchvision": lambda: transformer(torchvision_tokens(vit), IMAGENET),
        "vit-b16-timm": lambda: transformer(timm_vit.forward_features, HALF),
        "vit-b16-timm-96": lambda: transformer(small.forward_features, HALF, side=96),
        "r50-vit-b16-timm": lambda: transformer(hybrid.forward_features, HALF),
    }
    for name, case in cases.items():
        with torch.inference_mode():
            whole, regions = case()
        kept = torch.stack([whole, regions[0], regions[len(regions) // 2], regions[-1]])[:, ::EVERY]
        kept.numpy().astype("<f4").tofile(FOLDER / f"{name}.f32")
        print(f"{name}: {len(regions)} regions of {len(whole)}, largest {kept.abs().max():.3g}")


if __name__ == "__main__":
    main()
