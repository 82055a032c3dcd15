"""The tokenizer: byte-level BPE of at most 1,024 tokens, answers and special tokens whole."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from natix_miner.training.tiny_vlm.questions import QUESTIONS

VOCABULARY = 1024
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
ANSWERS = ("yes", "no", "Yes", "No", "YES", "NO")
#: Plain sentences of the field, so that the words of a prompt become few tokens.
SENTENCES = (
    "You look at pictures of streets and say whether there is roadwork.",
    "You judge what others have seen: the detector found two cones with confidence 0.85.",
    "Look at the street in this picture and think about what stands on the road.",
    "Roadwork means cones, drums, barriers, barricades, fences, temporary signs, workers in",
    "orange or yellow vests, excavators, loaders, rollers, trucks and dug up ground or asphalt.",
    "A parked orange car, a bin, an advertising board or a permanent sign is not roadwork.",
    "The evidence of the other experts is listed below; the answer is one word, yes or no.",
    "The picture was taken by a camera behind the windscreen at night, in rain or in fog.",
    "Construction work closes the left lane; the arrow board sends the traffic to the right.",
    "Is the surface of the road being repaired? Are there people working next to the traffic?",
    "The user asks a question and the assistant answers with a single word.",
    "system user assistant Describe the scene, please. I see a wide empty street with houses.",
    "Probably, certainly, perhaps, nothing, something, everywhere, between, behind, before, after.",
    "A motorway, bridge, tunnel, crossing, roundabout, pavement, kerb, gutter, ditch and verge.",
    "Bicycles, buses, motorcycles, ambulances, taxis, vans, trailers, tractors and pedestrians.",
    "Concrete, gravel, sand, bricks, pipes, cables, scaffolding, cranes, shovels and helmets.",
    "Reflective stripes, flashing lights, hazard markers, detour arrows, speed limits, warnings.",
    "Morning, evening, sunshine, shadows, snow, puddles, clouds, blurred, dark, bright, distant.",
    "The probability is high because several independent experts agree; the margin is small.",
    "Zebra, quay, jumble, exit, mixture, fuzzy, vehicle, junction, equipment, kilometre, zone.",
    "First, second, third, left, middle, right, near, far, large, tiny, empty, crowded, closed.",
    "Buildings, balconies, chimneys, shutters, hedges, meadows, forests, rivers, harbours, rails.",
    "Because, although, however, therefore, instead, whenever, against, through, without, within.",
    "Electricity, water, drainage, telephone, asphalt paver, milling machine, welding, compressor.",
    "Please explain shortly what made you decide, which objects were visible and how sure you were"
    ".",
    "0 1 2 3 4 5 6 7 8 9 10 20 30 40 50 60 70 80 90 100 0.5 0.9 0.25 0.75 1.0",
)


def make_tokenizer() -> Tokenizer:
    """Train it; the same text gives the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=1,
        special_tokens=[AddedToken(word, special=True, normalized=False) for word in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    often = [answer for word in ANSWERS for answer in (word, f" {word}")] * 200
    tokenizer.train_from_iterator([*often, *list(QUESTIONS.values()) * 20, *SENTENCES], trainer)
    return tokenizer
