"""Placing servers on GPUs: what fits, what is refused and with which numbers, what would fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.catalogue import load_catalogue
from natix_miner.errors import PlanError
from natix_miner.profile import load_profile
from natix_miner.serving.feasible import refuse_infeasible
from natix_miner.serving.memory import GB
from natix_miner.serving.plan import Fault, Plan, refuse_impossible
from natix_miner.serving.remedies import plan_servers
from natix_miner.serving.settings import EngineArguments, ServerSettings

ROOT = Path(__file__).parents[2]
CATALOGUE = load_catalogue(ROOT / "models" / "catalogue.yaml")
SHORT = {
    "kv_cache_memory_bytes": 10**9,
    "max_model_len": 1024,
    "max_num_seqs": 16,
    "max_num_batched_tokens": 2048,
    "limit_mm_per_prompt": {"image": {"count": 1, "width": 512, "height": 512}, "video": 0},
    "mm_processor_kwargs": {"max_pixels": 262144},
}


def server(model: str, gpus: tuple[int, ...] = (0,), **arguments: object) -> ServerSettings:
    given_arguments = {**SHORT, "tensor_parallel_size": max(1, len(gpus)), **arguments}
    return ServerSettings(model=model, gpus=gpus, arguments=EngineArguments(**given_arguments))


def planned(servers: dict[str, ServerSettings], *gpus_gb: float, **options: object) -> Plan:
    return plan_servers(servers, gpus_gb, CATALOGUE, ROOT / "configs", **options)  # type: ignore[arg-type]


def fault_of(plan: Plan, name: str) -> Fault:
    (fault,) = [fault for fault in plan.faults if fault.server == name]
    return fault


@pytest.mark.parametrize(
    ("profile", "gpus", "detectors"),
    [
        ("gpu-24g", (24.0,), 5.0),
        ("gpu-80g", (80.0,), 8.0),
        ("dual-80g", (80.0, 80.0), 12.0),
        ("dual-80g-235b", (80.0, 80.0), 8.0),
    ],
)
def test_shipped_profiles_fit_with_a_margin_and_the_detectors_of_the_worked_table(
    profile, gpus, detectors
):
    servers = load_profile(ROOT / "configs" / f"{profile}.yaml").servers
    plan = planned(servers, *gpus, others_gb={0: detectors})
    assert plan.faults == ()
    assert all(card.left > 0.05 * card.total for card in plan.cards)
    refuse_impossible(plan)


@pytest.mark.parametrize(
    ("boxes", "detectors", "table"),
    [
        # Worked placements: what sits on each GPU, detectors on the first, the table's sums.
        ([["qwen3-vl-8b-fp8"]], 5.0, [19.3]),
        ([["qwen3-vl-8b-w4"]], 5.0, [15.3]),
        ([["qwen3-vl-8b-fp8", "qwen3-vl-32b-fp8"]], 8.0, [64.3]),
        ([["qwen3-vl-8b-fp8", "qwen3-vl-30b-a3b-fp8"]], 8.0, [58.6]),
        (
            [
                ["qwen3-vl-8b-fp8", "qwen3-vl-30b-a3b-fp8"],
                ["qwen3-vl-32b-fp8", "internvl3.5-38b-w4"],
            ],
            12.0,
            [62.6, 77.8],
        ),
        (
            [
                ["qwen3-vl-8b-fp8", "qwen3-vl-30b-a3b-fp8"],
                ["qwen3-vl-32b-w4", "internvl3.5-38b-fp8"],
            ],
            12.0,
            [62.6, 75.9],
        ),
    ],
)
def test_sums_per_gpu_are_those_of_the_worked_placements(boxes, detectors, table):
    """Each server's cache in the table is 1 to 4 GB and its overhead a range: 1 GB of tolerance."""

    def sums(cache_gb: int) -> list[float]:
        servers = {
            f"{gpu}-{model}": server(model, (gpu,), kv_cache_memory_bytes=cache_gb * 10**9)
            for gpu, models in enumerate(boxes)
            for model in models
        }
        plan = planned(servers, *[80.0] * len(boxes), others_gb={0: detectors})
        return [card.used / GB for card in plan.cards]

    for low, high, expected, models in zip(sums(1), sums(4), table, boxes, strict=True):
        assert low - len(models) <= expected <= high + len(models)


def test_plan_b_puts_235b_over_both_gpus_at_most_69_gb_each():
    plan = planned(
        {
            "giant": server(
                "qwen3-vl-235b-a22b-w4",
                (0, 1),
                mm_encoder_tp_mode="data",
                gpu_memory_utilization=0.84,
            ),
            "fast": server("qwen3-vl-4b-fp8", (1,), gpu_memory_utilization=0.11),
        },
        80.0,
        80.0,
        others_gb={0: 8.0},
    )
    assert plan.fits
    assert [card.used / GB for card in plan.cards] == [
        pytest.approx(77.0, abs=3.5),
        pytest.approx(76.6, abs=3.5),
    ]


# Published configurations: vLLM's recipe for Qwen3-VL-235B (eight cards of 80 GB for bf16; least
# memory FP8 282 GB, NVFP4 141), its announcement of Llama 4 (Scout bf16 and Maverick FP8 on eight
# H100) and recipes (Scout FP8 131 GB, NVFP4 65), deployments of Qwen3-VL-32B-FP8 on one H100, of
# Qwen3-VL-8B-FP8 on an L4 at 0.70, of Qwen3.8-27B-FP8 on an L40S. The others are one step below.
@pytest.mark.parametrize(
    ("model", "cards", "gb", "utilization", "fits"),
    [
        ("qwen3-vl-235b-a22b-bf16", 8, 80, 0.92, True),
        ("qwen3-vl-235b-a22b-bf16", 4, 80, 0.92, False),
        ("qwen3-vl-235b-a22b-fp8", 4, 80, 0.92, True),
        ("qwen3-vl-235b-a22b-fp8", 2, 80, 0.92, False),
        ("qwen3-vl-235b-a22b-nvfp4", 2, 80, 0.92, True),
        ("qwen3-vl-235b-a22b-nvfp4", 1, 80, 0.92, False),
        ("llama-4-scout-bf16", 8, 80, 0.92, True),
        ("llama-4-scout-bf16", 2, 80, 0.92, False),
        ("llama-4-scout-fp8", 2, 80, 0.92, True),
        ("llama-4-scout-fp8", 1, 80, 0.92, False),
        ("llama-4-scout-nvfp4", 1, 80, 0.92, True),
        ("llama-4-maverick-fp8", 8, 80, 0.92, True),
        ("llama-4-maverick-fp8", 4, 80, 0.92, False),
        ("qwen3-vl-32b-fp8", 1, 80, 0.92, True),
        ("qwen3-vl-32b-fp8", 1, 24, 0.92, False),
        ("qwen3-vl-8b-fp8", 1, 24, 0.70, True),
        ("qwen3.8-27b-fp8", 1, 48, 0.92, True),
        ("qwen3.8-27b-bf16", 1, 48, 0.92, False),
    ],
)
def test_published_configurations_fit_and_one_step_less_does_not(
    model, cards, gb, utilization, fits
):
    gpus = tuple(range(cards))
    settings = server(
        model, gpus, gpu_memory_utilization=utilization, kv_cache_memory_bytes=None, max_num_seqs=4
    )
    plan = planned({"it": settings}, *[float(gb)] * cards)
    assert plan.fits is fits
    if not fits:
        assert fault_of(plan, "it").certain


#: GB at 4.16 bit for every parameter, from a worked table in whole GB (Scout as 109 billion, which
#: counts 108.2), by server of the plans' own table.
FLOORS = {
    "precision-72b": 38,
    "precision-78b": 41,
    "giant": 123,
    "giant-thinking": 123,
    "maverick": 209,
    "scout": 57,
    "mixture": 16,
    "ovis": 18,
    "power": 17,
}
CLAIMS = {
    "precision-72b": 6.5,
    "precision-78b": 4.5,
    "giant": 15.0,
    "giant-thinking": 7.5,
    "maverick": 7.5,
    "scout": 5.0,
    "mixture": 3.5,
    "ovis": 5.0,
    "power": 4.5,
}


@pytest.fixture(scope="module")
def plans_own_table() -> dict[str, ServerSettings]:
    content = yaml.safe_load((Path(__file__).parent / "plans_own_table.yaml").read_text())
    return {name: ServerSettings.model_validate(part) for name, part in content.items()}


def test_the_plans_own_table_is_what_the_plans_claim(plans_own_table):
    shares = {n: s.arguments.gpu_memory_utilization * 80 for n, s in plans_own_table.items()}
    assert shares == CLAIMS


@pytest.mark.parametrize("name", FLOORS)
def test_every_row_of_the_plans_own_table_is_refused_with_the_right_numbers(plans_own_table, name):
    plan = planned({name: plans_own_table[name]}, 80.0, 80.0)
    fault = fault_of(plan, name)
    assert fault.certain
    told = re.search(r"(?:at least|below) (\d+\.\d) GB \(4\.16 bit\)", fault.message)
    assert float(told[1]) == pytest.approx(FLOORS[name], abs=0.9)
    if name.startswith("precision"):
        assert "does not exist" in fault.message
        assert fault.message.endswith(f"not {CLAIMS[name]:.1f} GB")
    elif name not in ("giant", "maverick"):  # those two exceed the whole GPU
        assert f"is {CLAIMS[name]:.1f} GB, but the weights" in fault.message
    with pytest.raises(PlanError, match=f"(?m)^{name}: "):
        refuse_impossible(plan)


def test_the_plans_own_table_as_a_whole(plans_own_table):
    plan = planned(plans_own_table, 80.0, 80.0)
    assert {fault.server for fault in plan.faults if fault.certain} == set(plans_own_table)
    with pytest.raises(PlanError) as raised:
        refuse_impossible(plan)
    assert all(f"\n{name}: " in str(raised.value) for name in plans_own_table)


def test_a_model_that_is_too_large_is_told_what_would_fit():
    plan = planned({"power": server("qwen3-vl-32b", (0,), gpu_memory_utilization=0.9)}, 48.0)
    fault = fault_of(plan, "power")
    assert "66.7 GB on GPU 0, which has 48.0 GB" in fault.message
    assert fault.remedies[0].startswith("qwen3-vl-32b-fp8, gpu_memory_utilization 0.8")
    assert any(remedy.startswith("qwen3-vl-32b-w4, ") for remedy in fault.remedies)
    with pytest.raises(PlanError, match="would fit: qwen3-vl-32b-fp8"):
        refuse_impossible(plan)


def test_both_gpus_are_suggested_where_one_is_too_small():
    plan = planned({"power": server("qwen3-vl-32b-fp8", (0,))}, 24.0, 24.0)
    fault = fault_of(plan, "power")
    assert re.match(r"tensor_parallel_size 2 on gpus \[0, 1\], .*GB each", fault.remedies[0])


def test_a_successor_is_suggested_where_no_checkpoint_is_small_enough():
    plan = planned({"giant": server("qwen3-vl-235b-a22b-w4", (0,))}, 80.0)
    remedies = fault_of(plan, "giant").remedies
    assert [remedy.split(",")[0] for remedy in remedies] == [
        "qwen3-vl-32b-fp8",
        "qwen3-vl-30b-a3b-fp8",
    ]


def test_a_larger_share_is_suggested_where_only_the_share_is_too_small():
    plan = planned({"fast": server("qwen3-vl-8b-fp8", gpu_memory_utilization=0.15)}, 80.0)
    fault = fault_of(plan, "fast")
    assert not fault.certain
    assert "gpu_memory_utilization 0.15 of 80.0 GB is 12.0 GB" in fault.message
    assert fault.remedies[0] == "gpu_memory_utilization 0.17 (13.1 GB on GPU 0)"
    share = float(fault.remedies[0].split()[1])
    assert planned({"fast": server("qwen3-vl-8b-fp8", gpu_memory_utilization=share)}, 80.0).fits


def test_what_would_fit_does_fit():
    plan = planned({"power": server("qwen3-vl-32b", (0,))}, 80.0, 80.0, others_gb={0: 30.0})
    for remedy in fault_of(plan, "power").remedies:
        found = re.fullmatch(
            r"(?:(?P<model>qwen[\w.-]+), )?(?:tensor_parallel_size (?P<parallel>\d) on gpus .*, )?"
            r"gpu_memory_utilization (?P<share>[\d.]+) .*",
            remedy,
        )
        again = server(
            found["model"] or "qwen3-vl-32b",
            tuple(range(int(found["parallel"] or 1))),
            gpu_memory_utilization=float(found["share"]),
        )
        assert planned({"power": again}, 80.0, 80.0, others_gb={0: 30.0}).fits, remedy


def test_two_servers_without_shares_cannot_both_have_the_default():
    servers = {"one": server("qwen3-vl-8b-fp8"), "two": server("qwen3-vl-4b-fp8")}
    plan = planned(servers, 80.0)
    fault = fault_of(plan, "two")
    assert "starts only when 73.6 GB of GPU 0 are free (vLLM's default of 0.92" in fault.message
    assert any("set both gpu_memory_utilization and kv_cache" in note for note in plan.notes)


def test_a_share_must_be_free_when_its_server_starts_whatever_it_needs():
    """vLLM looks at free memory against the share even where the cache's size is given."""
    servers = {
        "large": server("qwen3-vl-32b-fp8", gpu_memory_utilization=0.5),
        "small": server("qwen3-vl-4b-fp8", gpu_memory_utilization=0.6),
    }
    assert "starts only when 48.0 GB" in fault_of(planned(servers, 80.0), "small").message
    servers["small"] = server("qwen3-vl-4b-fp8", gpu_memory_utilization=0.12)
    assert planned(servers, 80.0).fits
    # The other way round nobody is in the way of the greedy one.
    servers = {
        "small": server("qwen3-vl-4b-fp8", gpu_memory_utilization=0.6),
        "large": server("qwen3-vl-32b-fp8", gpu_memory_utilization=0.5),
    }
    assert planned(servers, 80.0).fits


def test_detectors_take_their_part():
    settings = {"fast": server("qwen3-vl-8b-fp8", gpu_memory_utilization=0.6)}
    assert planned(settings, 24.0, others_gb={0: 9.0}).fits
    plan = planned(settings, 24.0, others_gb={0: 12.0})
    assert "starts only when 14.4 GB of GPU 0 are free" in fault_of(plan, "fast").message
    missing = planned({}, 24.0, others_gb={1: 3.0})
    assert "3.0 GB are wanted on GPU 1, which is not there" in missing.faults[0].message


def test_a_cache_that_holds_no_single_sequence_is_refused():
    small = {"fast": server("qwen3-vl-8b-fp8", kv_cache_memory_bytes=10**8)}
    fault = fault_of(planned(small, 80.0), "fast")
    assert "does not hold one sequence of 1024 tokens (0.2 GB)" in fault.message
    unset = {"fast": server("qwen3-vl-8b-fp8", max_model_len=None)}
    fault = fault_of(planned(unset, 80.0), "fast")
    assert "one sequence of 262144 tokens (38.7 GB); set max_model_len" in fault.message


def test_a_cache_smaller_than_what_may_be_in_flight_is_only_noted():
    plan = planned({"power": server("qwen3-vl-32b-fp8")}, 80.0)
    assert plan.fits
    assert any("holds fewer prompts than may be in flight" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (server("qwen3-vl-8b-fp8", (1,)), "wants GPU 1; there is 1 GPU"),
        (server("qwen3-vl-8b-fp8", (0, 0)), "names a GPU twice"),
        (server("qwen3-vl-8c"), "no model 'qwen3-vl-8c' in the catalogue; close to it"),
        (server("sam3"), "no server loads SAM 3"),
        (server("internvl4"), "InternVL4 does not exist"),
        (server("../models/nothing-here"), "no model in"),
        (server("qwen3.5-2b"), "neither bytes nor parameters of qwen3.5-2b-bf16"),
    ],
)
def test_what_cannot_be_placed_at_all_is_certain(settings, said):
    fault = fault_of(planned({"it": settings}, 80.0), "it")
    assert said in fault.message
    assert fault.certain


def test_online_fp8_of_a_sixteen_bit_checkpoint_counts_as_fp8():
    plan = planned({"it": server("qwen3-vl-32b-bf16", quantization="fp8")}, 80.0)
    assert plan.cards[0].shares[0].need.weights / GB == pytest.approx(35.5, abs=0.1)


def test_servers_of_others_and_on_the_cpu_take_no_gpu():
    remote = ServerSettings(model="theirs", base_url="http://127.0.0.1:9")
    tiny = server("qwen3-vl-2b", ())
    plan = planned({"theirs": remote, "tiny": tiny}, ram_gb=16.0)
    assert plan.fits
    assert plan.elsewhere == ("theirs",)
    (share,) = plan.in_memory
    assert share.bytes / GB == pytest.approx(4.3 + 1.0 + 1.7, abs=0.1)
    assert any("only roughly" in note for note in plan.notes)
    fault = fault_of(planned({"tiny": tiny}, ram_gb=5.0), "tiny")
    assert not fault.certain
    assert "want about 7.0 GB of 5.0 GB" in fault.message
    assert fault_of(planned({"tiny": tiny}, ram_gb=4.0), "tiny").certain


def test_what_the_catalogue_warns_of_is_noted():
    plan = planned(
        {
            "second": server("internvl3.5-38b-w4", gpu_memory_utilization=0.45),
            "new": server("qwen3.8-27b-fp8", (1,), gpu_memory_utilization=0.6),
        },
        80.0,
        80.0,
    )
    assert plan.fits
    assert set(plan.notes) >= {
        "second: internvl3.5-38b-w4 is not pinned to a revision",
        "second: internvl3.5-38b-w4 loads with `trust_remote_code: true` only",
        "new: Qwen3.8-27B thinks unless it is told not to",
    }


KEYS = ("qwen3-vl-4b-fp8", "qwen3-vl-8b-fp8", "qwen3-vl-32b-w4", "qwen3-vl-30b-a3b-fp8")


@given(
    models=st.lists(st.sampled_from(KEYS), min_size=1, max_size=5),
    share=st.floats(0.05, 1.0),
    total=st.floats(10.0, 160.0),
)
def test_what_fits_never_takes_more_than_there_is(models, share, total):
    servers = {
        f"{number}": server(model, gpu_memory_utilization=share)
        for number, model in enumerate(models)
    }
    plan = planned(servers, total)
    (card,) = plan.cards
    assert card.used + card.left == pytest.approx(card.total)
    if plan.fits:
        assert card.left >= -0.05 * GB * len(models)
        assert all(part.need.total <= share * card.total + 0.05 * GB for part in card.shares)
    if any(fault.certain for fault in plan.faults):
        with pytest.raises(PlanError):
            refuse_impossible(plan)
    else:
        refuse_impossible(plan)


def test_before_a_start_only_what_is_certain_is_refused(tmp_path):
    def checked(name: str, *gpus_gb: float, catalogue: Path | None = None) -> Plan:
        profile = load_profile(ROOT / "configs" / f"{name}.yaml")
        return refuse_infeasible(
            profile.servers,
            profile.experts,
            catalogue=catalogue or profile.path(profile.catalogue),
            folder=profile.folder,
            gpus=lambda: gpus_gb,
        )

    assert checked("dual-80g", 80.0, 80.0).fits
    # 0.6 of 22 GB hold the weights and the cache; that they do not hold the rest is an estimate.
    tight = checked("gpu-24g", 22.0)
    assert [fault.certain for fault in tight.faults] == [False]
    with pytest.raises(PlanError, match=r"precision: wants GPU 1; there is 1 GPU"):
        checked("dual-80g", 80.0)
    with pytest.raises(PlanError, match=r"fast: wants GPU 0; there are no GPUs"):
        checked("gpu-24g")
    with pytest.raises(PlanError, match=r"power: the weights of qwen3-vl-32b-fp8 alone"):
        checked("gpu-80g", 24.0)
    # Folders need no catalogue.
    assert checked("embedded-vlm", catalogue=tmp_path / "none.yaml").fits
