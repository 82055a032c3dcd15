"""Checkpoints of the ultralytics family, built from the package's own plans and saved by it.

Each model's folder holds weights.pt; YOLOE and YOLO-World have a file of phrases beside it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from natix_miner.experts.ultralytics.quiet import quiet_ultralytics, undisturbed

COCO = ("person", "bicycle", "car", "truck", "traffic light", "stop sign")
OBJECTS365 = ("Person", "Traffic cone", "Barrel/bucket", "Machinery Vehicle", "Truck", "Dog")
ROADWORK = ("None", "Roadwork")
PHRASES = ("traffic cone", "construction barrel", "excavator", "blue sky")

#: The side at which they say they were trained.
SIDE = 128
#: Depth, width and most channels, in place of the sizes n to x.
SMALL = (0.33, 0.03125, 256)
#: Length of YOLOE's embeddings (512 in the real ones).
EMBEDDING = 64
#: The last layers of boxes and of classes in the heads.
BOX_LAYERS = ("cv2.0.2", "cv2.1.2", "cv2.2.2", "dec_bbox_head.0.layers.2")
CLASS_LAYERS = ("cv3.0.2", "cv3.1.2", "cv3.2.2", "dec_score_head.0", "enc_score_head", "linear")

Plan = dict[str, Any]


def _built(plan: str, names: Sequence[str], change: Callable[[Plan], None] | None = None) -> Any:
    """A model of the package's plan `plan`, made small by SMALL and `change`; stirred."""
    import torch
    import yaml

    package = quiet_ultralytics("tiny")
    whole = Path(package.__file__).parent / "cfg" / "models" / f"{plan}.yaml"
    content: Plan = yaml.safe_load(whole.read_text())
    content |= {"nc": len(names), "scales": {"n": list(SMALL)}}
    for layer in content["backbone"] + content["head"]:
        if layer[2] == "C3k2":
            layer[3] = [layer[3][0], False]  # without the blocks inside of blocks
    if change is not None:
        change(content)
    kind = package.RTDETR if "rtdetr" in plan else package.YOLO
    with undisturbed(), tempfile.TemporaryDirectory() as folder:
        # The package tells the kind of model by the name of its plan.
        file = Path(folder) / whole.name.replace("yolo26", "yolo26n").replace("yolo11", "yolo11n")
        file.write_text(yaml.safe_dump(content))
        torch.manual_seed(5)
        # What YOLOE holds in place of embeddings while it is built; it takes their number for 80.
        package.nn.tasks.YOLOEModel.pe = torch.zeros(1, len(names), EMBEDDING)
        model = kind(str(file))
        model.model.names = dict(enumerate(names))
        _stir(model)
        del package.nn.tasks.YOLOEModel.pe
    return model


def _stir(model: Any) -> None:
    """Weights that say something: a fresh model sees next to nothing, the same in every place.

    The normalisation is set by pictures; the last layers of the heads, which the package starts
    near zero, are drawn anew, so that classes and boxes differ from place to place.
    """
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(11)
    # As rough as photographs: set by other pictures, the normalisation would level or blow them up.
    pictures = sum(
        nn.functional.interpolate(
            torch.rand((8, 3, side, side), generator=generator) / 2,
            size=(SIDE, SIDE),
            mode="bilinear",
        )
        for side in (6, 40)
    )
    network = model.model.float().eval()
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 1.0
                part.train()
        network(pictures)
        network.eval()
        for name, part in network.named_parameters():
            if name.endswith(("logit_scale", "cv4.0.bias", "cv4.1.bias", "cv4.2.bias")):
                part.fill_(-1.5 if name.endswith("logit_scale") else -2.0)
        for name, part in network.model[-1].named_modules():
            boxes, classes = name.endswith(BOX_LAYERS), name.endswith(CLASS_LAYERS)
            if isinstance(part, nn.Conv2d | nn.Linear) and (boxes or classes):
                spread = (0.2 if boxes else 1.0) / part.weight[0].numel() ** 0.5
                part.weight.copy_(torch.randn(part.weight.shape, generator=generator) * spread)
                part.bias.fill_(1.5 if boxes else -2.0)


def _saved(folder: Path, model: Any) -> None:
    model.ckpt = {"train_args": {"imgsz": SIDE, "task": model.task}}
    model.save(folder / "weights.pt")


def yolo26(folder: Path, names: Sequence[str] = OBJECTS365) -> None:
    """YOLO26 detect: no suppression of overlapping boxes needed."""
    _saved(folder, _built("26/yolo26", names))


def yolo11(folder: Path, names: Sequence[str] = COCO) -> None:
    """YOLO11 detect, with suppression, and labels that know no roadwork."""
    _saved(folder, _built("11/yolo11", names))


def yolo11_segment(folder: Path) -> None:
    """YOLO11 segment: a mask for every box."""
    _saved(folder, _built("11/yolo11-seg", OBJECTS365, _few_masks))


def _few_masks(plan: Plan) -> None:
    plan["head"][-1][-1] = ["nc", 8, 256]


def yolo26_classify(folder: Path) -> None:
    """YOLO26 classify: roadwork or none."""
    _saved(folder, _built("26/yolo26-cls", ROADWORK))


def rt_detr(folder: Path) -> None:
    """RT-DETR-L with an eighth of its channels, one decoder layer and forty queries."""
    _saved(folder, _built("rt-detr/rtdetr-l", OBJECTS365, _narrow))


def _narrow(plan: Plan) -> None:
    plan["scales"] = {"l": [0.33, 0.125, 1024]}
    for layer in plan["backbone"]:
        counted = {"HGStem": 2, "HGBlock": 2, "DWConv": 1}[layer[2]]
        layer[3][:counted] = [width // 8 for width in layer[3][:counted]]
    plan["head"][1][3] = [64, 4]  # AIFI: width of its feed-forward layer, heads
    plan["head"][-1][3] = ["nc", 32, 40, 4, 4, 1, 64]


def yoloe(folder: Path) -> None:
    """YOLOE-26 segment, told nothing: it wants phrases."""
    _saved(folder, _built("26/yoloe-26-seg", COCO, _short_embeddings))
    _phrases(folder, EMBEDDING)


def yoloe_prompt_free(folder: Path) -> None:
    """YOLOE-26 detect with a vocabulary of its own built in."""
    import torch

    model = _built("26/yoloe-26", COCO, _short_embeddings)
    rows = torch.nn.functional.normalize(_drawn(len(OBJECTS365), EMBEDDING), dim=-1)
    head = model.model.model[-1]
    model.model.set_classes(list(OBJECTS365), rows[None])
    head.fuse(rows[None])
    vocabulary = torch.nn.ModuleList(part[-1] for part in head.one2one_cv3)
    model.set_vocab(vocabulary, list(OBJECTS365))
    _saved(folder, model)


def _short_embeddings(plan: Plan) -> None:
    last = plan["head"][-1]
    last[3] = ["nc", *([8, 256] if "Segment" in last[2] else []), EMBEDDING, True]


def yolo_world(folder: Path) -> None:
    """YOLOv8-World v2, told the labels of COCO."""
    model = _built("v8/yolov8-worldv2", [str(number) for number in range(80)])
    model.model.txt_feats = _drawn(len(COCO), 512)[None]
    model.model.model[-1].nc = len(COCO)
    model.model.names = dict(enumerate(COCO))
    _saved(folder, model)
    _phrases(folder, 512)


def _drawn(rows: int, length: int) -> Any:
    import torch

    return torch.randn((rows, length), generator=torch.Generator().manual_seed(3))


def _phrases(folder: Path, length: int) -> None:
    import torch
    from safetensors.torch import save_file

    rows = torch.nn.functional.normalize(_drawn(len(PHRASES), length), dim=-1)
    metadata = {"phrases": json.dumps(PHRASES)}
    save_file({"embeddings": rows}, folder / "phrases.safetensors", metadata)


MODELS = {
    "ultralytics-yolo26": yolo26,
    "ultralytics-yolo11": yolo11,
    "ultralytics-segment": yolo11_segment,
    "ultralytics-classify": yolo26_classify,
    "ultralytics-rt-detr": rt_detr,
    "ultralytics-yoloe": yoloe,
    "ultralytics-yoloe-prompt-free": yoloe_prompt_free,
    "ultralytics-world": yolo_world,
}

EXPERTS = {
    "yolo26": (
        "ultralytics-yolo26",
        {"type": "ultralytics", "file": "{model}/weights.pt", "threshold": 0.9},
    ),
    "yolo26-classify": (
        "ultralytics-classify",
        {"type": "ultralytics", "file": "{model}/weights.pt", "task": "classify"},
    ),
}
