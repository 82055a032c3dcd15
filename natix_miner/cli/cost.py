"""`natix-miner cost`: what an answer costs, and what a day has to bring in."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from natix_miner.watching.costing import Cost, Load


def cost(
    price_per_hour: Annotated[
        float, typer.Option(min=0.0, help="What this machine costs per hour.")
    ],
    currency: Annotated[str, typer.Option(help="Word for the currency; changes no figure.")] = "",
    provider: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PRICE", help="Another machine's price per hour; repeatable."),
    ] = None,
    providers: Annotated[
        Path | None, typer.Option(help="YAML file of such prices, `name: price` a line.")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="Journal to measure queries and busy time in.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Measure from this time (UTC); the first query's.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="Measure up to this time (UTC); the last query's end.")
    ] = None,
    queries_per_day: Annotated[
        float | None, typer.Option(min=0.0, help="Assume so many queries instead of a journal.")
    ] = None,
    seconds_per_query: Annotated[
        float | None, typer.Option(min=0.0, help="Assume that each keeps the machine so long.")
    ] = None,
    tao_price: Annotated[
        float | None, typer.Option(help="What one TAO is worth in the currency.")
    ] = None,
    alpha_price: Annotated[
        float | None, typer.Option(help="What one alpha of the subnet is worth in TAO.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Tell what a query and a day cost on machines of given prices.

    Also how busy the machine was, what it could have answered, and with --tao-price what a day has
    to bring in to pay for it.

    Queries and busy time are measured in a journal (also while a miner writes it), or assumed.
    Other providers are worked out for the very same load and speed, though another machine may be
    faster or slower. No price is built in and none is looked up; docs/cost.md has the formulas.

    Exit code 0: worked out. 2: options contradict each other, or the journal cannot be used.

    Example: natix-miner cost --price-per-hour 0.4 --journal out/journal/journal.sqlite3
    """
    from natix_miner.errors import ConfigurationError
    from natix_miner.watching.costing import assumed, cost_of
    from natix_miner.watching.prices import prices_of

    if (journal is None) == (queries_per_day is None or seconds_per_query is None):
        raise ConfigurationError(
            "say what was asked: --journal, or both --queries-per-day and --seconds-per-query"
        )
    if alpha_price is not None and tao_price is None:
        raise ConfigurationError("--alpha-price is in TAO and needs --tao-price too")
    for option, value in (("--tao-price", tao_price), ("--alpha-price", alpha_price)):
        if value is not None and not value > 0:
            raise ConfigurationError(f"{option} must be above 0, not {value}")
    prices = {"this machine": price_per_hour} | prices_of(provider or (), providers)
    load = (
        assumed(queries_per_day or 0.0, seconds_per_query or 0.0)
        if journal is None
        else _measured(journal, since, until)
    )
    costs = [
        cost_of(name, price, load, tao_price=tao_price, alpha_price=alpha_price)
        for name, price in prices.items()
    ]
    if as_json:
        import json

        document = {
            "currency": currency,
            "load": _document(load),
            "costs": [asdict(one) for one in costs],
        }
        typer.echo(json.dumps(document, indent=2))
        return
    _show(load, costs, currency)


def _measured(path: Path, since: datetime | None, until: datetime | None) -> Load:
    from natix_miner.journal import Filter, Journal
    from natix_miner.watching.costing import load_of

    begin, end = (None if t is None else t.replace(tzinfo=UTC).timestamp() for t in (since, until))
    with Journal(path) as journal:
        times = [
            (entry.received_at, (entry.total_ms or 0.0) / 1000.0)
            for entry in journal.entries(Filter(since=begin, until=end))
        ]
    begin = min((t for t, _ in times), default=0.0) if begin is None else begin
    end = max((t + s for t, s in times), default=0.0) if end is None else end
    return load_of(times, begin, end)


def _document(load: Load) -> dict[str, Any]:
    return {
        **asdict(load),
        "busy_share": load.busy_share,
        "queries_per_day": load.queries_per_day,
        "busy_seconds_per_query": load.busy_seconds_per_query,
        "possible_per_day": load.possible_per_day,
    }


def _show(load: Load, costs: list[Cost], currency: str) -> None:
    from natix_miner.cli.tables import show_table

    each, possible = load.busy_seconds_per_query, load.possible_per_day
    rows = [
        ("queries", f"{load.queries:g} in {load.wall_seconds / 3600:.2f} h"),
        ("queries a day", f"{load.queries_per_day:.0f}"),
        ("busy", f"{load.busy_share:.2%} of the time"),
        ("busy seconds a query", "-" if each is None else f"{each:.4f}"),
        ("could have answered a day", "-" if possible is None else f"{possible:.0f}"),
        ("the figures are", "measured" if load.measured else "assumed"),
    ]
    show_table(("load", "is"), rows, title="load")
    if load.busy_share > 1.0:
        typer.echo("one machine is not enough for this load: costs are those of one machine")
    typer.echo("")
    money = f" {currency}" if currency else ""
    heads = ["provider", "an hour", "a day", "a query", "a query if never idle"]
    columns = [
        [c.name, _n(c.price_per_hour), _n(c.per_day), _n(c.per_query), _n(c.per_busy_query)]
        for c in costs
    ]
    for head, values in (
        ("break-even TAO a day", [c.break_even_tao for c in costs]),
        ("break-even alpha a day", [c.break_even_alpha for c in costs]),
        ("alpha a tempo", [c.break_even_alpha_per_tempo for c in costs]),
    ):
        if any(value is not None for value in values):
            heads.append(head)
            for row, value in zip(columns, values, strict=True):
                row.append(_n(value))
    show_table(heads, columns, title=f"cost{money and f' in{money}'}")


def _n(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if value < 1 else f"{value:.2f}"
