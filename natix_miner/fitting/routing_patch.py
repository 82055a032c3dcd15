"""Learned entry rules as a piece of a profile."""

from __future__ import annotations

from typing import Any

import yaml

from natix_miner.cascade.level import EntryRule
from natix_miner.fitting.routing_results import Routing
from natix_miner.fitting.votes import Votes
from natix_miner.profile import Profile


def profile_patch(routing: Routing, votes: Votes, profile: Profile | None = None) -> str:
    """The `levels:` of a profile with the chosen rules, as YAML text.

    With a profile, everything else of its levels stays as it is there; without one, the levels are
    those of the votes, by the names of their experts.
    """
    head = [
        "# Entry rules learned by natix-miner fit --routing: "
        f"{100 * routing.chosen.cost_share:.1f} % of the cost of all experts,",
        f"# held-out loss of reward {routing.chosen.reward_loss:+.4f}, on {routing.n} labelled "
        "queries. The thresholds",
        "# are on the scale of the consensus of the same run (--out): use them together.",
    ]
    if profile is not None:
        head.append(f"# In place of `levels:` of the profile {profile.name!r}.")
        levels = [
            _with_rule(
                level.model_dump(mode="json", exclude_defaults=True),
                routing.chosen.rules.get(level.name),
            )
            for level in profile.levels
        ]
    else:
        head.append(
            "# In place of `levels:` of the profile. Made without --profile: name its sections "
            "under `experts`,"
        )
        head.append("# and keep its `needs_seconds` and experts that have no vote.")
        levels = [
            _with_rule({"name": name, "experts": list(experts)}, routing.chosen.rules.get(name))
            for name, experts in votes.levels
            if experts
        ]
    text = yaml.safe_dump({"levels": levels}, sort_keys=False, default_flow_style=None, width=100)
    return "\n".join(head) + "\n" + text


def _with_rule(level: dict[str, Any], rule: EntryRule | None) -> dict[str, Any]:
    """A level as written in a profile; the first, and those without voters, have no rule here."""
    if rule is None:
        return level
    enter = {
        name: value
        for name, value in (
            ("unsure_below", rule.unsure_below),
            ("disagreement_above", rule.disagreement_above),
        )
        if value is not None
    }
    places = {key: place for place, key in enumerate(("name", "experts", "enter"))}
    changed = (
        {**level, "enter": enter} if enter else {k: v for k, v in level.items() if k != "enter"}
    )
    return dict(sorted(changed.items(), key=lambda item: places.get(item[0], len(places))))
