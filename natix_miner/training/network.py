"""The embedded network: scores local patches of a picture and pools them into one logit.

Fully convolutional and dense. A patch score sees about 120 pixels around it, so the whole
scene cannot vouch for a single score. Knows nothing of pictures' sources or calibration.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MEAN = (0.45, 0.45, 0.44)
DEVIATION = (0.27, 0.27, 0.28)
STRIDE = 8
DARKEST = 40.0  # added to R + G + B so that near-black pixels have no tint


def leaky(features: Tensor) -> Tensor:
    """ReLU that lets a tenth through: with a plain one all patch scores died at one value."""
    return nn.functional.leaky_relu(features, 0.1)


class Step(nn.Module):
    """Convolution without bias, batch norm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return leaky(self.norm(self.conv(features)))


class Residual(nn.Module):
    """Two steps around a shortcut; the second one 3 x 3 or 1 x 1."""

    def __init__(self, width: int, second: int = 3) -> None:
        super().__init__()
        self.one = Step(width, width)
        self.conv = nn.Conv2d(width, width, second, 1, second // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, features: Tensor) -> Tensor:
        """Keep the shape."""
        return leaky(features + self.norm(self.conv(self.one(features))))


class PatchNetwork(nn.Module):
    """RGB uint8 or float 0-255 (N, 3, H, W), H and W at least 32, to picture and patch logits."""

    normal: Tensor
    shift: Tensor
    opponents: Tensor
    light: Tensor
    floor: Tensor

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.width = width
        # as 1 x 1 convolutions: one pass each over the pixels, where single sums cost more
        mean, deviation = torch.tensor(MEAN), torch.tensor(DEVIATION)
        opponents = torch.tensor([[8.0, -8.0, 0.0], [0.0, 8.0, -8.0]])
        self.register_buffer("normal", torch.diag(1 / (255 * deviation))[:, :, None, None], False)
        self.register_buffer("shift", -mean / deviation, False)
        self.register_buffer("opponents", opponents[:, :, None, None], False)
        self.register_buffer("light", torch.ones(1, 3, 1, 1), False)
        self.register_buffer("floor", torch.full((1,), DARKEST), False)
        self.stem = nn.Sequential(Step(3 + 2, width // 2, 3, 2), Step(width // 2, width, 3, 2))
        self.early = Step(width, width)
        self.fine = nn.Sequential(Step(width, 2 * width, 3, 2), Residual(2 * width))
        self.coarse = nn.Sequential(Step(2 * width, 4 * width, 3, 2), Residual(4 * width, 1))
        self.lateral = nn.Conv2d(2 * width, 2 * width, 1)
        self.down = nn.Conv2d(4 * width, 2 * width, 1)
        self.fuse = Step(2 * width, 2 * width)
        self.score = nn.Conv2d(2 * width, 1, 1)
        self.sharpness = nn.Parameter(torch.tensor(0.0))
        nn.init.constant_(self.score.bias, -2.0)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``logit`` (N,) and ``patch_logits`` (N, ceil(H / 8), ceil(W / 8)).

        The picture's logit is the mean of the patch logits weighted by the softmax of
        themselves (a smooth maximum, Boltzmann operator), with a learned sharpness. Beside RGB
        the network sees red-green and green-blue relative to brightness, which shade hardly moves.
        """
        colour = pixels.float()
        conv = nn.functional.conv2d
        tints = conv(colour, self.opponents) / conv(colour, self.light, self.floor)
        features = torch.cat([conv(colour, self.normal, self.shift), tints], 1)
        fine = self.fine(self.early(self.stem(features)))
        coarse = self.down(self.coarse(fine))
        coarse = nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        coarse = coarse[:, :, : fine.shape[2], : fine.shape[3]]
        patches = self.score(self.fuse(leaky(self.lateral(fine) + coarse))).float()[:, 0]
        flat = patches.flatten(1)
        weights = torch.softmax(flat * torch.exp(self.sharpness.float()), 1)
        return (weights * flat).sum(1), patches


def fused(network: PatchNetwork) -> PatchNetwork:
    """A copy in evaluation mode with the batch norms folded into the convolutions."""
    import copy

    from torch.nn.utils.fusion import fuse_conv_bn_eval

    copied = copy.deepcopy(network).float().eval()
    for module in copied.modules():
        if isinstance(module, Step | Residual):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
    return copied
