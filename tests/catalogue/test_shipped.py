"""The shipped catalogue against what there is without a hub: architectures, published sizes."""

from __future__ import annotations

from functools import partial

import pytest

#: Every model that the plans name, by the key of its row.
NAMED_BY_THE_PLANS = (
    "florence-2-large",
    "dinov3-vit-h-plus",
    "roadtoken",
    "adpretrain-adapters",
    "mvtec-ad-2-tokens",
    "yolo-master",
    "yolo26-x",
    "yolo11-x",
    "yolov13-x",
    "rf-detr-large",
    "rt-detr-v3-r50",
    "d-fine-x-obj365",
    "grounding-dino-1.6-pro",
    "sam3",
    "sam3-agent",
    "sam3-pe-fusion",
    "adfnet",
    "dinov3-heads",
    "auxiliary-validator",
    "weather-classifier",
    "anomaly-ov",
    "anomalyclip",
    "da3-metric-large",
    "3d-grounding",
    "object-size-validator",
    "sam3-large",
    "reinadnet",
    "cotracker3",
    "optical-flow-validator",
    "domainseg-weather",
    "cerberus-clip",
    "qwen3-vl-4b",
    "molmo2-4b",
    "molmo2-8b",
    "phi-4-multimodal",
    "qwen3-vl-8b-thinking",
    "qwen3-vl-32b",
    "llama-4-maverick",
    "llama-4-scout",
    "qwen3-vl-30b-a3b-thinking",
    "ovis2-34b",
    "moe-llava",
    "k2-gad-healing",
    "eagle-3-draft",
    "evermemos-diffusion",
    "qwen3-vl-72b",
    "internvl3.5-78b",
    "qwen3-vl-235b-a22b",
    "deepseek-r1-distill-qwen-70b",
    "process-reward-ensemble",
)

DO_NOT_EXIST = {
    "roadtoken",
    "adpretrain-adapters",
    "mvtec-ad-2-tokens",
    "sam3-agent",
    "sam3-pe-fusion",
    "optical-flow-validator",
    "domainseg-weather",
    "evermemos-diffusion",
    "adfnet",
    "dinov3-heads",
    "auxiliary-validator",
    "anomaly-ov",
    "3d-grounding",
    "object-size-validator",
    "sam3-large",
    "reinadnet",
    "cerberus-clip",
    "grounding-dino-1.6-pro",
    "k2-gad-healing",
    "qwen3-vl-72b",
    "internvl3.5-78b",
    "deepseek-r1-distill-qwen-70b",
    "process-reward-ensemble",
}


#: What experts/families must hold; `depth` is no family but a section of the detectors'.
FAMILIES = {
    "image-classifier",
    "backbone-head",
    "zero-shot",
    "ultralytics",
    "transformers-detector",
    "open-vocabulary",
    "florence",
    "sam3",
    "memory",
    "conditions",
    "colour-shape",
    "embedded-network",
    "vlm",
    "vlm-judge",
}

#: Checkpoints of detectors and their like, by key: the repository that the documents name.
REPOSITORIES = {
    "d-fine-s-obj365": "ustc-community/dfine-small-obj365",
    "d-fine-l-obj365": "ustc-community/dfine-large-obj365",
    "d-fine-x-obj365": "ustc-community/dfine-xlarge-obj365",
    "d-fine-x-coco": "ustc-community/dfine-xlarge-coco",
    "rt-detr-v2-r50": "PekingU/rtdetr_v2_r50vd",
    "rf-detr-base": "Roboflow/rf-detr-base",
    "deimv2-x": "Intellindust/DEIMv2_DINOv3_X_COCO",
    "llmdet-large": "iSEE-Laboratory/llmdet_large",
    "mm-grounding-dino": "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det",
    "grounding-dino-base": "IDEA-Research/grounding-dino-base",
    "owlv2-base": "google/owlv2-base-patch16-ensemble",
    "sam3": "facebook/sam3",
    "siglip2-base": "google/siglip2-base-patch16-224",
    "clip-vit-b-32": "openai/clip-vit-base-patch32",
    "depth-anything-v2-small": "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf",
    "depth-anything-v2-base": "depth-anything/Depth-Anything-V2-Metric-Outdoor-Base-hf",
    "depth-anything-v2-large": "depth-anything/Depth-Anything-V2-Metric-Outdoor-Large-hf",
    "da3-metric-large": "depth-anything/DA3METRIC-LARGE",
    "weather-classifier": "prithivMLmods/Weather-Image-Classification",
}


def test_every_model_that_the_plans_name_has_its_row(shipped):
    named = {key for key, model in shipped.models.items() if model.in_plans}
    assert named == set(NAMED_BY_THE_PLANS)
    assert {key for key, model in shipped.models.items() if model.plan_claim_gb} <= named
    absent = {key for key in NAMED_BY_THE_PLANS if not shipped.models[key].exists}
    assert absent == DO_NOT_EXIST


def test_every_row_says_who_loads_it_or_why_nobody_does(shipped):
    for key, model in shipped.models.items():
        if model.exists and model.adapter is None:
            assert model.note, f"{key}: no adapter and no reason"
        if not model.exists and not model.done_by:
            assert model.note, f"{key}: nobody does its job, and no reason"


def test_the_experts_that_rows_name_are_families(shipped):
    from natix_miner.experts.family import families

    assert set(families()) == FAMILIES
    for key, model in shipped.models.items():
        assert model.adapter in FAMILIES | {"depth", None}, key
        assert set(model.done_by) <= FAMILIES, key


def test_a_family_that_loads_weights_has_rows(shipped):
    used = {model.adapter for model in shipped.models.values()}
    ours = {"colour-shape", "embedded-network", "memory"}  # their files are made here
    assert used - {None} == (FAMILIES | {"depth"}) - ours


@pytest.mark.parametrize(("key", "repository"), REPOSITORIES.items())
def test_detectors_have_real_repositories(shipped, key, repository):
    entry = shipped.entry(key)
    assert entry.checkpoint.repository == repository
    assert entry.model.adapter


@pytest.mark.parametrize("key", ["yolo26-x", "yolo11-x", "yolov13-x", "yolo-master", "yoloe-26-x"])
def test_what_lies_on_no_hub_is_a_file_under_agpl(shipped, key):
    model = shipped.models[key]
    assert (model.adapter, model.licence.name, model.checkpoints) == ("ultralytics", "AGPL-3.0", ())
    assert model.must_accept
    assert model.asset is not None
    assert model.asset.file.endswith(".pt")
    assert shipped.size_of(key) == (model.asset.gigabytes, model.asset.size)


def test_what_a_server_can_load_can_be_fetched_and_planned(shipped):
    for key, model in shipped.models.items():
        if model.loads_with.vllm:
            assert model.checkpoints, key
        if model.shape:
            assert model.parameters, key


def test_gated_and_non_commercial_models_have_to_be_accepted(shipped):
    for key in ("sam3", "llama-4-scout", "cotracker3", "yolo26-x", "natix-roadwork", "eupe-vit-b"):
        assert shipped.models[key].must_accept, key
    for key in (
        "qwen3-vl-8b",
        "rf-detr-large",
        "llmdet-large",
        "depth-anything-v2-small",
        "adfnet",
    ):
        assert not shipped.models[key].must_accept, key


@pytest.mark.parametrize(
    ("key", "size"),
    [
        # Bytes of the weight files that public repositories record for these checkpoints.
        ("qwen3-vl-8b-fp8", 10_605_560_594),
        ("qwen3-vl-32b-fp8", 35_516_966_184),
        ("qwen3.6-35b-a3b-fp8", 37_492_937_842),
        ("qwen3.6-27b-bf16", 55_560_000_000),
        # Given in GiB on pages: 9.87, 7.04, 51.7, 28.7.
        ("qwen3-vl-8b-fp8", 9.87 * 2**30),
        ("qwen3-vl-8b-nvfp4", 7.04 * 2**30),
        ("qwen3.8-27b-bf16", 51.7 * 2**30),
        ("qwen3.8-27b-fp8", 28.7 * 2**30),
    ],
)
def test_sizes_agree_with_published_checkpoints(shipped, key, size):
    entry = shipped.entry(key)
    assert entry.gigabytes == pytest.approx(size / 1e9, rel=0.01)
    # Counted parameters leave out the extra prediction head of the Qwen3.5 family: 1.5 to 3 %.
    assert entry.model.gigabytes_as(entry.checkpoint.format) == pytest.approx(size / 1e9, rel=0.03)


@pytest.mark.parametrize(
    ("key", "bytes_per_token"),
    [
        # Worked table: layers x heads x head size x 2 x 2 bytes.
        ("qwen3-vl-4b", 147_456),
        ("qwen3-vl-8b", 147_456),
        ("qwen3-vl-32b", 262_144),
        ("qwen3-vl-30b-a3b", 98_304),
        ("qwen3-vl-235b-a22b", 192_512),
        ("internvl3.5-38b", 262_144),
        # 16 of 64 layers keep keys and values, 4 heads of 256.
        ("qwen3.8-27b", 65_536),
    ],
)
def test_cache_per_token(shipped, key, bytes_per_token):
    shape = shipped.models[key].shape
    assert 2 * shape.cache_elements_per_token() == bytes_per_token


def _qwen3_vl(shape, vision, **text):
    from transformers import Qwen3VLConfig, Qwen3VLMoeConfig

    experts = "num_experts" in text
    tied = shape.hidden < 4096 and not experts
    common = {
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": tied,
        **({} if experts else {"intermediate_size": shape.intermediate}),
        **text,
    }
    return (Qwen3VLMoeConfig if experts else Qwen3VLConfig)(
        text_config=common,
        vision_config={**vision, "out_hidden_size": shape.hidden},
        tie_word_embeddings=tied,
    )


def _qwen3_5(shape, vision, **text):
    from transformers import Qwen3_5Config, Qwen3_5MoeConfig

    common = {
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocabulary,
        "linear_num_key_heads": 16,
        **text,
    }
    if "num_experts" not in text:
        common["intermediate_size"] = shape.intermediate
    kind = Qwen3_5MoeConfig if "num_experts" in text else Qwen3_5Config
    return kind(text_config=common, vision_config={**vision, "out_hidden_size": shape.hidden})


def _internvl(shape, _vision, **text):
    from transformers import InternVLConfig

    return InternVLConfig(
        text_config={
            "model_type": "qwen3",
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "intermediate_size": shape.intermediate,
            "num_key_value_heads": shape.kv_heads,
            "head_dim": shape.head_dim,
            "vocab_size": shape.vocabulary,
            "tie_word_embeddings": False,
            **text,
        },
        vision_config={
            "hidden_size": shape.vision_hidden,
            "num_hidden_layers": 45,
            "intermediate_size": 4 * shape.vision_hidden,
            "num_attention_heads": 25,
            "image_size": [448, 448],
            "patch_size": [14, 14],
        },
        tie_word_embeddings=False,
    )


LARGE_TOWER = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16}
SMALL_TOWER = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16}
ARCHITECTURES = {
    "qwen3-vl-2b": partial(_qwen3_vl, vision=SMALL_TOWER, num_attention_heads=16),
    "qwen3-vl-4b": partial(_qwen3_vl, vision=SMALL_TOWER, num_attention_heads=32),
    "qwen3-vl-8b": partial(_qwen3_vl, vision=LARGE_TOWER, num_attention_heads=32),
    "qwen3-vl-32b": partial(_qwen3_vl, vision=LARGE_TOWER, num_attention_heads=64),
    "qwen3-vl-30b-a3b": partial(
        _qwen3_vl,
        vision=LARGE_TOWER,
        num_attention_heads=32,
        num_experts=128,
        moe_intermediate_size=768,
    ),
    "qwen3-vl-235b-a22b": partial(
        _qwen3_vl,
        vision=LARGE_TOWER,
        num_attention_heads=64,
        num_experts=128,
        moe_intermediate_size=1536,
    ),
    "qwen3.5-9b": partial(
        _qwen3_5, vision=LARGE_TOWER, num_attention_heads=16, linear_num_value_heads=32
    ),
    "qwen3.8-27b": partial(
        _qwen3_5, vision=LARGE_TOWER, num_attention_heads=24, linear_num_value_heads=48
    ),
    "qwen3.6-35b-a3b": partial(
        _qwen3_5,
        vision=LARGE_TOWER,
        num_attention_heads=16,
        linear_num_value_heads=32,
        num_experts=256,
        moe_intermediate_size=512,
        shared_expert_intermediate_size=512,
    ),
    "internvl3.5-38b": partial(_internvl, _vision=None, num_attention_heads=64),
}


@pytest.mark.parametrize("key", ARCHITECTURES)
def test_parameters_are_those_of_the_architecture_as_transformers_builds_it(shipped, key):
    """Built without memory, from the shape in the catalogue: counts are independent of its own."""
    import torch
    from transformers import AutoModelForImageTextToText

    model = shipped.models[key]
    with torch.device("meta"):
        built = AutoModelForImageTextToText.from_config(ARCHITECTURES[key](model.shape))
    counted = {"total": 0, "vision": 0, "embeddings": 0}
    for name, parameter in built.named_parameters():
        counted["total"] += parameter.numel()
        if "visual" in name or "vision" in name:
            counted["vision"] += parameter.numel()
        elif "embed_tokens" in name or "lm_head" in name:
            counted["embeddings"] += parameter.numel()
    given = model.parameters
    assert given.total == pytest.approx(counted["total"] / 1e9, rel=0.002)
    assert given.vision == pytest.approx(counted["vision"] / 1e9, rel=0.02)
    assert given.embeddings == pytest.approx(counted["embeddings"] / 1e9, rel=0.01)


def _siglip2():
    from transformers import SiglipConfig, SiglipModel

    return SiglipModel, SiglipConfig(
        text_config={"vocab_size": 256_000}, vision_config={"image_size": 224, "patch_size": 16}
    )


def _clip():
    from transformers import CLIPConfig, CLIPModel

    return CLIPModel, CLIPConfig()


def _owlv2():
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    return Owlv2ForObjectDetection, Owlv2Config(vision_config={"image_size": 960})


def _grounding_dino_base():
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

    tower = SwinConfig(
        embed_dim=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=12,
        image_size=384,
        out_features=["stage2", "stage3", "stage4"],
    )
    return GroundingDinoForObjectDetection, GroundingDinoConfig(backbone_config=tower)


def _llmdet_large():
    from transformers import MMGroundingDinoConfig, MMGroundingDinoForObjectDetection, SwinConfig

    tower = SwinConfig(
        embed_dim=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
        image_size=384,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = MMGroundingDinoConfig(backbone_config=tower, num_feature_levels=5)
    return MMGroundingDinoForObjectDetection, config


@pytest.mark.parametrize(
    ("key", "architecture"),
    [
        ("siglip2-base", _siglip2),
        ("clip-vit-b-32", _clip),
        ("owlv2-base", _owlv2),
        ("grounding-dino-base", _grounding_dino_base),
        ("llmdet-large", _llmdet_large),
    ],
)
def test_parameters_of_what_runs_in_the_miner_are_those_of_the_architecture(
    shipped, key, architecture
):
    import torch

    kind, config = architecture()
    with torch.device("meta"):
        built = kind(config)
    counted = sum(parameter.numel() for parameter in built.parameters())
    assert shipped.models[key].parameters.total == pytest.approx(counted / 1e9, rel=0.005)


@pytest.mark.parametrize(
    ("key", "size"),
    [
        ("d-fine-s-obj365", 41.5e6),  # of its COCO sibling
        ("depth-anything-v2-small", 99.2e6),
        ("depth-anything-v2-base", 390e6),
        ("depth-anything-v2-large", 1.34e9),
        ("llmdet-large", 1.28 * 2**30),
    ],
)
def test_sizes_in_fp32_agree_with_published_files(shipped, key, size):
    entry = shipped.entry(key)
    assert entry.gigabytes == pytest.approx(size / 1e9, rel=0.01)
    assert entry.model.gigabytes_as("fp32") == pytest.approx(size / 1e9, rel=0.01)
